"""The champion under watch, on the project's own streams of clients."""

import json
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pandas as pd
import pytest

from attrition import model, params, watch
from attrition.generator import stream
from attrition.home import REPOSITORY

DEMO = params.load(REPOSITORY / "params" / "demo.yaml")
CHANGE, ROWS = 16, 120
SETTINGS = watch.config(DEMO.rules, 1)


@cache
def history(drift="none", ticks=26, rows=ROWS):
    """Rows that count, a version a tick."""
    clients = stream(drift, seed=5, change=CHANGE, start=date(2026, 1, 5))
    frames = [clients.tick(k, rows).assign(_counted=k + 1, _version=k + 1) for k in range(ticks)]
    found = pd.concat(frames, ignore_index=True)
    found["churned"] = found["churned"].astype(float)
    return found.assign(_row=range(1, len(found) + 1), _key=found["client_id"], _model=None, _probability=np.nan)


@cache
def champion(drift="none"):
    """A model of the first six versions."""
    return model.fit(DEMO, history(drift)[lambda rows: rows["_counted"] <= 6])


def rows(drift="none", **changes):
    found = history(drift)
    later = found[found["_counted"] > 6].assign(**changes)
    return watch.rows_of(DEMO, champion(drift), watch.predicted(champion(drift), "0001", later))


def forward(seen, to=26, begun=None, claims=True):
    return watch.bring_forward(begun or begin(), seen, to, SETTINGS, DEMO.rules, claims=claims)


def begin():
    return watch.begin("0001", 6, SETTINGS, DEMO.rules)


def resume(kept, champion, version, rules=DEMO.rules):
    return watch.resume(kept, champion, version, watch.config(rules, 1), rules)


def same(one, other):
    assert len(one.looks) == len(other.looks) > 0
    for a, b in zip(one.looks, other.looks, strict=True):
        assert (a.version, a.n, a.alarm, a.change, a.best) == (b.version, b.n, b.alarm, b.change, b.best)
        assert a.share == pytest.approx(b.share, rel=1e-9)
        assert a.loss == pytest.approx(b.loss, rel=1e-12)
    assert one.reference == other.reference
    assert (one.version, one.since) == (other.version, other.since)


def test_it_says_nothing_until_its_reference_is_full():
    short = forward(rows(), to=7)
    assert (short.reference.n, short.reference.full, short.state, short.looks) == (120, False, None, ())
    full = forward(rows(), to=8)
    assert (full.reference.n, full.reference.full, full.reference.version, full.looks) == (240, True, 8, ())
    assert [look.version for look in forward(rows(), to=10).looks] == [9, 10]


def test_a_champion_that_has_learnt_from_few_has_a_reference_and_no_evidence():
    early = forward(rows(), claims=False)
    assert (early.reference.n, early.state, early.looks, early.harmed) == (240, None, (), False)


def test_without_a_change_it_holds_and_after_one_it_asks_for_a_refit():
    assert forward(rows()).alarm(after=0) is None
    changed = forward(rows("abrupt"))
    alarm = changed.alarm(after=0)
    assert CHANGE < alarm.version <= CHANGE + 6
    assert CHANGE - 2 <= alarm.change <= alarm.version
    assert alarm.share >= 1
    assert changed.alarm(after=alarm.version).version > alarm.version
    assert changed.alarm(after=26) is None
    assert changed.stale(alarm.change - 1)  # a model trained then knows nothing of it
    assert not changed.stale(alarm.version)  # one trained on the alarm does, also when the champion alarms again
    assert not forward(rows()).stale(0)


@pytest.mark.parametrize("drift", ["none", "abrupt"])
def test_brought_forward_tick_by_tick_through_the_book_it_says_what_it_says_when_replayed(drift):
    at_once, kept = forward(rows(drift)), begin()
    for version in range(7, 27):
        kept = forward(rows(drift), to=version, begun=kept)
        kept = resume(json.loads(json.dumps(kept.to_dict())), "0001", version)
    same(at_once, kept)


def test_it_needs_no_more_rows_than_it_says():
    kept = forward(rows(), to=20)
    known = history()
    later = known[known["_counted"] > kept.since]
    assert len(later) < len(known[known["_counted"] > 6])
    needed = watch.rows_of(DEMO, champion(), watch.predicted(champion(), "0001", later))
    again = watch.Watch.from_dict(kept.to_dict())
    same(forward(needed, begun=again), forward(rows()))


def test_the_order_of_rows_in_a_file_does_not_matter():
    sorted_by_label = history()[lambda each: each["_counted"] > 6].sort_values("churned")
    found = watch.rows_of(DEMO, champion(), watch.predicted(champion(), "0001", sorted_by_label))
    same(forward(found), forward(rows()))


def test_the_prediction_that_was_made_counts_and_those_of_an_earlier_model_do_not():
    later = history()[lambda each: each["_counted"] > 6].head(4)
    made = later.assign(_model=["0001", "0000", None, "0001"], _probability=[0.25, 0.5, np.nan, 0.75])
    found = watch.predicted(champion(), "0001", made)
    now = model.probabilities(champion(), later)
    assert found["_p"].tolist() == pytest.approx([0.25, now[2], 0.75], rel=1e-12)  # of other rows in one call


def test_a_model_has_not_seen_what_counted_later_or_was_held_back():
    frame = pd.DataFrame({"_key": ["a", "b", "c", "d"], "_counted": [2, 3, 2, 5]})
    assert watch.unseen(frame, data_version=2).tolist() == [False, True, False, True]
    mark = sorted(model.held_back_hash("ac"))[0]
    held = watch.unseen(frame, data_version=2, held_back=mark)
    assert held.sum() == 3
    assert held[[1, 3]].all()


def test_a_retired_watch_or_one_of_another_version_or_detector_is_not_gone_on_from():
    kept = forward(rows(), to=20).to_dict()
    assert resume(kept, "0001", 20) is not None
    assert resume(kept, "0002", 20) is None
    assert resume(kept, "0001", 19) is None
    assert resume(None, "0001", 20) is None
    other = DEMO.rules.model_copy(update={"tolerance": 0.5})
    assert resume(kept, "0001", 20, other) is None
    assert resume(kept | {"settings": "of another detector"}, "0001", 20) is None


def test_harm_lasts_until_the_loss_is_back_under_what_was_promised():
    calm = forward(rows())
    promised = calm.state.reference
    assert not calm.harmed
    harmed = replace(calm.looks[-1], version=27, loss=promised + 0.1, harm=True)
    better = replace(calm.looks[-1], version=28, loss=promised - 0.2)
    worse = replace(better, loss=promised + 0.01)
    assert replace(calm, looks=(*calm.looks, harmed)).harmed
    assert replace(calm, looks=(*calm.looks, harmed, worse)).harmed
    assert not replace(calm, looks=(*calm.looks, harmed, better)).harmed


def test_a_version_without_rows_that_count_is_no_tick():
    gap = rows()
    gap = gap.where(gap.version != 12)
    assert [look.version for look in forward(gap, to=14).looks] == [9, 10, 11, 13, 14]
    empty = gap.where(gap.version < 0)
    assert forward(empty).version == 26


def test_a_trial_without_clients_proves_nothing_and_a_clear_gain_does():
    bar = {"number": 2, "rate": 0.5, "gain": 0.004, "ticks": 3}
    nothing = watch.trial([], [], [], **bar)
    assert (nothing.n, nothing.gain, nothing.log10, nothing.proven, nothing.lost) == (0, None, 0.0, False, False)
    y = np.tile([0.0, 1.0], 200)
    good, bad = np.where(y > 0, 0.8, 0.2), np.full(400, 0.5)
    better = watch.trial(y, bad, good, **bar)
    assert better.proven
    assert better.ticks == 3
    assert better.low <= better.gain <= better.high
    assert better.gain == pytest.approx(0.25 - 0.04)
    worse = watch.trial(y, good, bad, **bar)
    assert worse.lost
    assert not worse.proven
    assert watch.trial(y, bad, good, **bar | {"number": 10}).needed > better.needed
    assert watch.trial(y, bad, good, **bar | {"gain": 0.4}).log10 < better.log10  # it must gain more than a tenth
