"""The champion judged from the store: what counts, what is kept, and that losing what is kept changes nothing."""

import json
from dataclasses import replace
from datetime import date

import msgspec
import numpy as np
import pandas as pd
import pytest

from attrition import candidates, model, monitoring, provenance, registry, watch
from attrition.generator import stream, write_drop
from attrition.home import REPOSITORY, Home
from attrition.stages import Stage
from attrition.store import evidence
from attrition.store.clients import SCORES, Clients, commit_rows, commit_scores
from attrition.store.engine import connect
from attrition.store.ingest import ingest

TRAINED, CHANGE, TICKS = 5, 12, 20


def arrive(stage, frame, tmp_path):
    """One more version of the store, with these clients."""
    version = Clients(stage.portfolio, stage.place.clients).version + 1
    drop = tmp_path / f"clients-{version:03d}.csv"
    write_drop(frame, drop)
    staging = tmp_path / f"staging-{version}"
    staging.mkdir()
    clients = Clients(stage.portfolio, stage.place.clients)
    done = ingest(stage.portfolio, clients, [drop], staging, run=f"20260101T0000{version:02d}Z-{version:04d}")
    stage.place.data.mkdir(parents=True, exist_ok=True)
    commit_rows(stage.place.clients, stage.portfolio, staging, done.to_dict())


def trained(stage, version, data_version):
    """A model of everything known at a data version but for what is held back."""
    train, _, mark = model.split(stage.portfolio, evidence.trainable(stage.clients(data_version)))
    pipeline = candidates.tried(stage.portfolio, train)[0].pipeline
    folder = stage.place.models / version
    folder.mkdir(parents=True)
    facts = provenance.facts(stage.portfolio, pipeline, train)
    numbers = {"rows": len(train), "known": len(train), "left": int(train["churned"].sum()), "held_back": mark}
    return registry.write(
        folder,
        pipeline,
        **{"version": version, "run": "20260101T000000Z-0001", "data_version": data_version, **numbers},
        trained_to=int(train["_row"].max()),
        **{"metrics": {}, "coefficients": [], "base": model.baseline(pipeline, train)},
        **facts,
    )


class Kept(Stage):
    """A stage whose book is what a test says that it keeps."""

    kept = None

    def watched(self):
        """What the test said."""
        return Kept.kept

    def model(self, version):
        """Without a book that says which hash was deployed."""
        return registry.load(self.place.models / version)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitoring")
    home = Home(folder / "home")
    place = home.place("demo")
    place.params.parent.mkdir(parents=True)
    place.params.write_bytes((REPOSITORY / "params" / "demo.yaml").read_bytes())
    stage = Kept.open(str(home.root), "demo", str(folder))
    clients = stream("abrupt", seed=11, change=CHANGE, start=date(2026, 1, 5))
    for tick in range(TICKS):
        arrive(stage, clients.tick(tick, 180, unlabelled=0.1), folder)
    assert trained(stage, "0001", TRAINED).rows > 400
    return stage


def judged(stage, to, since, kept=None, proven=False):
    Kept.kept = kept
    return monitoring.judge(stage, stage.clients(to), "0001", judged_version=since, deployed=(1, TRAINED, proven))


def test_tick_by_tick_from_what_the_book_keeps_or_begun_anew_it_says_the_same(stage):
    kept = None
    for version in range(TRAINED + 1, TICKS + 1):
        seen = judged(stage, version, version - 1, kept)
        kept = json.loads(json.dumps(seen.watch.to_dict()))
    lost = judged(stage, TICKS, TICKS - 1, kept=None)
    other = judged(stage, TICKS, TICKS - 1, kept={**kept, "champion": "0007"})
    for again in (lost.watch, other.watch):
        assert [look.version for look in again.looks] == [look.version for look in seen.watch.looks]
        for one, two in zip(again.looks, seen.watch.looks, strict=True):
            assert (one.alarm, one.n, one.best, one.change) == (two.alarm, two.n, two.best, two.change)
            assert one.share == pytest.approx(two.share, rel=1e-9)
        assert again.reference == seen.watch.reference
    assert seen.watch.alarm(after=0).version > CHANGE
    assert len(seen.new) == 162


def test_several_versions_at_once_are_judged_one_by_one(stage):
    once = judged(stage, 14, TRAINED)
    step = judged(stage, 13, TRAINED)
    then = judged(stage, 14, 13, kept=step.watch.to_dict())
    assert [look.version for look in once.watch.looks] == [look.version for look in then.watch.looks]
    assert once.watch.looks[-1].share == pytest.approx(then.watch.looks[-1].share, rel=1e-9)
    assert len(once.new) == 9 * 162


def test_the_reference_of_an_unproven_champion_begins_with_what_was_held_back(stage):
    manifest = registry.read_manifest(stage.place.models / "0001")
    held = TRAINED * 162 - manifest.known
    unproven = judged(stage, TRAINED + 1, TRAINED).watch
    assert (unproven.reference.n, unproven.reference.full) == (held, True)
    assert [look.version for look in unproven.looks] == [TRAINED + 1]
    proven = judged(stage, TRAINED + 1, TRAINED, proven=True).watch
    assert (proven.reference.n, proven.looks) == (162, ())  # those before promoted it: none of them


def test_at_scale_the_first_monitor_asks_only_for_what_the_model_has_not_seen(stage, monkeypatch):
    manifest = registry.read_manifest(stage.place.models / "0001")
    whole = judged(stage, TRAINED + 2, TRAINED)
    asked = []

    def counted(clients, **given):
        found = real(clients, **given)
        asked.append((given, found.rows))
        return found

    real = evidence.counted
    monkeypatch.setattr(evidence, "counted", counted)
    given = stage.portfolio
    large = given.model_copy(update={"model": given.model.model_copy(update={"scale_rows": 1})})
    few = judged(replace(stage, portfolio=large), TRAINED + 2, TRAINED)
    since, rows = asked[-1]
    everything = real(stage.clients(TRAINED + 2), after_version=since["after_version"], scores=stage.place.scores).rows
    assert (since["after_version"], len(everything)) == (0, 162 * (TRAINED + 2))
    assert 0 < len(rows) < len(everything) / 2  # or the filter leaves out nothing
    mine = everything[watch.unseen(everything, TRAINED, manifest.held_back)].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, mine)
    assert few.watch.to_dict() == whole.watch.to_dict()
    pd.testing.assert_frame_equal(few.new.reset_index(drop=True), whole.new.reset_index(drop=True))


def test_a_verdict_says_what_was_seen_and_names_the_change(stage):
    seen = judged(stage, CHANGE, CHANGE - 1)
    said = monitoring.standing(stage, stage.clients(CHANGE), seen, "0001")
    assert (said.n, said.alarm, said.learning) == (162, False, None)
    assert 0 <= said.share < 1
    assert said.grown  # twice as many are known
    later = monitoring.standing(stage, stage.clients(TICKS), judged(stage, TICKS, TICKS - 1), "0001")
    assert later.alarm
    assert CHANGE - 1 <= later.change <= CHANGE + 4


def test_a_newest_model_that_is_damaged_keeps_no_other_from_being_judged(stage):
    seen = judged(stage, CHANGE, CHANGE - 1)
    wanted = monitoring.standing(stage, stage.clients(CHANGE), seen, "0001")
    assert monitoring.standing(stage, stage.clients(CHANGE), seen, "0002") == wanted  # whose folder is gone


def test_a_challenger_is_judged_by_those_who_came_after_it_was_trained(stage):
    manifest = registry.read_manifest(stage.place.models / "0001")
    rows = monitoring.unseen_by(stage, stage.clients(8), [manifest])
    assert rows["_counted"].tolist() == [6] * 162 + [7] * 162 + [8] * 162
    assert monitoring.unseen_by(stage, stage.clients(TRAINED), [manifest]).empty


def test_by_another_horizon_nobody_says_what_a_model_has_not_seen(stage):
    """By it other rows count, and in other versions: those that it learnt from, and those that were judged, again."""
    manifest = registry.read_manifest(stage.place.models / "0001")
    assert manifest.asks == {"id": "client_id", "as_of": "as_of", "horizon": None}
    other = replace(stage, portfolio=stage.portfolio.model_copy(update={"horizon": 30}))
    learnt = evidence.counted(stage.clients(TRAINED), after_version=0).rows["_key"]
    again = evidence.counted(other.clients(CHANGE), after_version=TRAINED).rows["_key"]
    assert len(set(learnt) & set(again)) > 100
    with pytest.raises(registry.ModelRefused, match="in the portfolio's YAML horizon is 30, and was none when"):
        judged(other, CHANGE, TRAINED)
    assert monitoring.unseen_by(other, other.clients(CHANGE), [manifest]).empty
    of_before = msgspec.structs.replace(manifest, asks={})  # of a release that did not note it
    assert of_before.otherwise(other.portfolio) == ""


def test_a_client_whom_an_earlier_model_scored_is_shown_and_not_counted(stage, tmp_path):
    place = stage.place
    waiting = stage.clients(7).frame(after_version=6, labelled=False)
    assert len(waiting) == 18
    scores = pd.DataFrame(
        {
            "_row": waiting["_row"],
            "id": waiting["client_id"],
            "as_of": waiting["as_of"],
            "data_version": 7,
            "model_version": ["0000"] * 9 + ["0001"] * 9,
            "probability": 0.125,
            "run": "20260101T000000Z-0001",
        }
    )
    with connect() as connection:
        connection.register("made", scores)
        columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in SCORES.items())
        connection.execute(f"COPY (SELECT {columns} FROM made) TO '{tmp_path / 'scores.parquet'}' (FORMAT parquet)")
    commit_scores(place.scores, tmp_path / "scores.parquet", 1, "20260101T000000Z-0001")
    outcomes = waiting[["client_id", "as_of"]].assign(churned=np.arange(18) % 2)
    arrive(stage, outcomes, tmp_path)
    seen = judged(stage, TICKS + 1, TICKS)
    assert seen.left_out == {monitoring.EARLIER: 9}
    assert len(seen.new) == 9
    assert (seen.new["_p"] == 0.125).all()  # the prediction that was made, not the one that would be made now


def test_without_outcomes_it_says_what_to_expect(stage):
    seen = judged(stage, 8, 7)
    arrived = stage.clients(8).frame(after_version=7)
    said = monitoring.without_outcome(stage, seen, arrived)
    assert said["n"] == 18
    assert 0 < said["low"] < said["value"] < said["high"] < 1
    assert monitoring.without_outcome(stage, seen, arrived[arrived["churned"].notna()]) is None


def test_features_are_held_against_those_known_at_deployment(stage):
    known = monitoring.known_then(stage.clients(8), TRAINED)
    assert len(known) == 180 * TRAINED
    found = monitoring.changes(stage.clients(8).frame(after_version=7), known, stage.portfolio)
    assert {entry["feature"] for entry in found} == set(stage.portfolio.features)
    assert monitoring.changes(known.head(0), known, stage.portfolio) == []


def test_a_refit_names_the_terms_that_it_would_move(stage):
    seen = judged(stage, TICKS, TICKS - 1)
    labels = model.terms(seen.pipeline, stage.portfolio)
    assert len(labels) == model.encoded(seen.pipeline, seen.new).shape[1]
    moved = monitoring.changed_terms(seen, labels)
    # Satisfaction kept clients before the change and drives them away after it; what it moves is among the first.
    assert "satisfaction" in moved.index[:4]
    assert isinstance(monitoring.changed_terms(judged(stage, TRAINED + 1, TRAINED, proven=True), labels), str)


def test_what_is_promised_names_what_the_yaml_leaves_open(stage):
    said = " ".join(monitoring.promises(stage.portfolio))
    assert "nobody acted on the scores" in said
    assert "(id)" not in said
    assert watch.config(stage.portfolio.rules, 3).k == 3


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """Leavers are told of within a week, stayers when their four weeks are over; nothing changes."""
    folder = tmp_path_factory.mktemp("early")
    home = Home(folder / "home")
    place = home.place("demo")
    place.params.parent.mkdir(parents=True)
    given = (REPOSITORY / "params" / "demo.yaml").read_text()
    place.params.write_text(f"{given}\nhorizon: 28d\n")
    stage = Kept.open(str(home.root), "demo", str(folder))
    clients, waiting = stream("none", seed=7, change=99, start=date(2026, 1, 5)), {}
    for week in range(14):
        frame = clients.tick(week, 200)
        frame["as_of"] = pd.Timestamp(2026, 1, 5) + pd.Timedelta(weeks=week)
        waiting[week] = frame[["client_id", "as_of", "churned"]]
        arrive(stage, frame.assign(churned=None), folder)
        told = [waiting[week - 1][lambda each: each["churned"] == 1]] if week >= 1 else []
        told += [waiting[week - 4][lambda each: each["churned"] == 0]] if week >= 4 else []
        if told:
            (folder / f"told-{week}").mkdir()
            arrive(stage, pd.concat(told), folder / f"told-{week}")
    return stage


def test_who_is_told_of_early_does_not_decide_who_is_held_back_or_who_judges(early):
    newest = early.clients().version
    known = evidence.trainable(early.clients())
    assert len(known) > 1500
    train, held, _ = model.split(early.portfolio, known)
    assert held["churned"].mean() == pytest.approx(train["churned"].mean(), abs=0.05)
    at = int(known["_counted"].quantile(0.5))
    assert trained(early, "0001", at).rows > 400
    Kept.kept = None
    seen = monitoring.judge(early, early.clients(), "0001", judged_version=at, deployed=(1, at, False))
    assert seen.watch.reference.left / seen.watch.reference.n == pytest.approx(known["churned"].mean(), abs=0.08)
    assert len(seen.watch.looks) >= 4
    assert seen.watch.alarm(after=0) is None
    later = monitoring.unseen_by(early, early.clients(), [seen.manifest])
    assert later["churned"].mean() == pytest.approx(known["churned"].mean(), abs=0.08)
    assert later["_counted"].min() > at
    assert later["_counted"].max() <= newest
