"""Strategies played over a history, and the verb that does so."""

import json
from datetime import date
from functools import cache

import numpy as np
import pandas as pd
import pytest
from pipeline_kit import here

from attrition import backtest, params
from attrition.backtest import Always, Every, Evidence, Naive, Never, Played, play
from attrition.generator import stream, write_drop
from attrition.home import REPOSITORY, Home
from attrition.store.clients import Clients, commit_rows
from attrition.store.ingest import ingest

DEMO = params.load(REPOSITORY / "params" / "demo.yaml")
CHANGE = 14


@cache
def history(drift, ticks=26, rows=600):
    clients = stream(drift, seed=3, change=CHANGE, start=date(2026, 1, 5))
    found = pd.concat([clients.tick(k, rows).assign(_counted=k + 1) for k in range(ticks)], ignore_index=True)
    found["churned"] = found["churned"].astype(float)
    return found.assign(_row=range(1, len(found) + 1), _key=found["client_id"])


@cache
def played(drift, name):
    return play(DEMO, history(drift), getattr(backtest, name)())


def late(found: Played) -> float:
    """Mean loss from a few ticks after the change."""
    after = [tick["loss"] for tick in found.ticks if tick["version"] > CHANGE + 6]
    return sum(after) / len(after)


def test_a_first_model_serves_from_its_version_on_and_each_version_is_judged_before_it_is_learnt_from():
    found = played("none", "Never")
    assert [tick["version"] for tick in found.ticks] == list(range(2, 27))
    assert {tick["model"] for tick in found.ticks} == {1}
    assert (found.trained, found.promoted, found.clients) == ([], [], 25 * 600)


def test_what_is_learnt_from_is_judged_before():
    # The outcome is the one thing that tells clients apart: only a model that saw a tick's own rows could know it.
    rows = history("none").assign(churned=np.random.default_rng(1).integers(0, 2, len(history("none"))))
    assert play(DEMO, rows.astype({"churned": float}), Always()).loss > 0.25


def test_the_rules_promote_what_is_better_and_train_less_than_always():
    found, always, never = (played("abrupt", name) for name in ("Evidence", "Always", "Never"))
    after = [version for version in found.promoted if version > CHANGE]
    assert after
    assert after[0] <= CHANGE + 10
    assert late(found) < late(never) - 0.02
    assert late(found) < late(always) + 0.005
    assert len(found.trained) < len(always.trained) / 3
    assert set(found.promoted) <= set(range(2, 27))


def test_without_a_change_they_promote_only_what_has_learnt_from_more():
    found = played("none", "Evidence")
    assert len(found.promoted) <= 2
    assert found.loss <= played("none", "Never").loss


def test_the_others_do_what_their_name_says():
    assert played("none", "Always").trained == list(range(2, 27))
    monthly = play(DEMO, history("none"), Every(4))
    assert monthly.trained == monthly.promoted == [5, 9, 13, 17, 21, 25]
    naive = play(DEMO, history("none"), Naive())
    assert 5 <= len(naive.trained) <= 20  # about half of all ticks, without any change
    assert naive.trained == naive.promoted


def test_the_same_history_gives_the_same_decisions():
    again = play(DEMO, history("abrupt").sample(frac=1, random_state=1), Evidence())
    assert again.trained == played("abrupt", "Evidence").trained
    assert again.loss == pytest.approx(played("abrupt", "Evidence").loss, rel=1e-9)


def test_too_few_clients_for_a_model_are_no_error():
    found = play(DEMO, history("none").head(5), Never())
    assert found.ticks == []
    assert np.isnan(found.loss)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with six versions of the demo's clients."""
    home = Home(tmp_path_factory.mktemp("home"))
    place = home.place("demo")
    place.params.parent.mkdir(parents=True)
    place.params.write_bytes((REPOSITORY / "params" / "demo.yaml").read_bytes())
    clients = stream("none", seed=3, change=99, start=date(2026, 1, 5))
    for tick in range(6):
        staging, drop = tmp_path_factory.mktemp("staging"), tmp_path_factory.mktemp("drop") / f"{tick}.csv"
        write_drop(clients.tick(tick, 60), drop)
        done = ingest(DEMO, Clients(DEMO, place.clients), [drop], staging, run=f"run-{tick}")
        place.clients.parent.mkdir(parents=True, exist_ok=True)
        commit_rows(place.clients, DEMO, staging, done.to_dict())
    return home


def test_the_verb_plays_the_store_and_writes_nothing(home, tmp_path):
    before = sorted(home.root.rglob("*"))
    done = here(home, "backtest", "demo", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["clients"] == 360
    assert [line["rule"] for line in told["strategies"]] == [
        *("these rules", "never", "always", "monthly", "new F1 below old"),
    ]
    assert {line["clients"] for line in told["strategies"]} == {300}
    assert sorted(home.root.rglob("*")) == before
    table = here(home, "backtest", "demo").stdout
    assert "6 data versions; 300 clients judged before they were learnt from" in table


def test_other_rules_are_tried_from_a_file(home, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("ticks_a_year: 24\nfalse_retrains: 0.1\n")
    monthly = json.loads(here(home, "backtest", "demo", "--policy", str(rules), "--json").stdout)["strategies"][3]
    assert monthly["trained"] == [3, 5]
    rules.write_text("tolerence: 0.4\n")
    refused = here(home, "backtest", "demo", "--policy", str(rules))
    assert refused.returncode == 2
    assert "rules.yaml: tolerence: unknown key; did you mean tolerance?" in refused.stderr
    assert here(home, "backtest", "demo", "--policy", str(tmp_path / "none.yaml")).returncode == 2


def test_without_clients_there_is_nothing_to_play(tmp_path):
    home = Home(tmp_path)
    place = home.place("demo")
    place.params.parent.mkdir(parents=True)
    place.params.write_bytes((REPOSITORY / "params" / "demo.yaml").read_bytes())
    refused = here(home, "backtest", "demo")
    assert refused.returncode == 2
    assert "nothing to play" in refused.stderr
