"""A portfolio's life with the real stages: first model, it holds, clients change, a challenger, its proof."""

import shutil
from datetime import date

import pytest
from pipeline_kit import drop, here, recorded, reports, statuses

from attrition.book import Book
from attrition.generator import stream, write_drop
from attrition.home import REPOSITORY, Home

ROWS = (700, 300, 900, 900)
CHANGE = 2


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A home after four ticks; clients turn with the third."""
    home, folder = Home(tmp_path_factory.mktemp("home")), tmp_path_factory.mktemp("drops")
    place = home.place("demo")
    place.incoming.mkdir(parents=True)
    place.params.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / "params" / "demo.yaml", place.params)
    clients = stream("abrupt", seed=2, change=CHANGE, start=date(2026, 1, 5))
    for tick, rows in enumerate(ROWS):
        path = folder / f"clients-{tick}.csv"
        write_drop(clients.tick(tick, rows), path)
        drop(place, path)
        done = here(home, "tick", "demo")
        assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_it_holds_until_clients_change_and_then_what_is_better_is_proven_and_promoted(lived):
    said = reports(lived)
    assert [report["decision"] for report in said[:2]] == ["promoted", "held"]
    assert "0001 holds: on 300 new clients" in said[1]["reason"]
    assert "of what a retrain needs" in said[1]["reason"]
    assert statuses(said[1])["train"] == "skipped"
    assert statuses(said[2])["train"] == "completed"
    assert recorded(lived, said[2]["run"], "20_monitor")["verdict"]["state"] == "drift"
    assert recorded(lived, said[2]["run"], "20_monitor")["change"] == CHANGE + 1
    assert said[2]["decision"] == "on_trial"  # those who raised the alarm do not judge it
    assert said[-1]["model"]["version"] == "0002"
    assert "Model 0002 replaces 0001" in next(each["reason"] for each in said[2:] if each["decision"] == "promoted")
    with Book.open(lived.book, read_only=True) as book:
        assert [line["proven"] for line in book.deployments()] == [True, False]


def test_the_challenger_learnt_from_what_was_tried_on_clients_not_seen(lived):
    tried = recorded(lived, reports(lived)[2]["run"], "30_train")["candidates"]
    assert {"recalibrated", "offset", "all"} <= {each["name"] for each in tried}
    assert tried[0]["name"] != "all"  # most of all clients are of the time before the change
    assert all(each["error"] is not None and each["on clients"] > 100 for each in tried)


def test_the_book_keeps_the_evidence_of_the_champion_that_serves(lived):
    with Book.open(lived.book, read_only=True) as book:
        state = book.state()
    assert state.champion == "0002"
    assert state.evidence.get("watch", {}).get("champion", "0002") == "0002"
    assert "trial_ticks" not in state.evidence


def test_a_rolled_back_champion_is_watched_anew(lived, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(lived.root, home.root)
    assert here(home, "rollback", "demo", "--reason", "a test").returncode == 0
    place = home.place("demo")
    path = tmp_path / "clients-9.csv"
    write_drop(stream("abrupt", seed=2, change=CHANGE, start=date(2026, 1, 5)).tick(9, 60), path)
    drop(place, path)
    done = here(home, "tick", "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    last = reports(place)[-1]
    kept = recorded(place, last["run"], "20_monitor")["watch"]
    assert (kept["champion"], kept["reference"]["n"], kept["looks"]) == ("0001", 60, [])
