"""The pages of a portfolio: what a run writes, and that this costs the same after 10 runs and after 10,000."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import homes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_examples import CALLS, RECORDED, point, report
from pages_kit import Reader

from attrition import chronicle, params, publish, site
from attrition.book import Book
from attrition.home import Home, Place
from attrition.runs import Run

MOST = 100_000
"""Bytes of a portfolio's home."""


class Cost:
    """What a piece of work touched: files opened, bytes written, and steps of SQLite's machine."""

    watching: Cost | None = None

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.steps = 0


def _audit(event: str, given: tuple[Any, ...]) -> None:
    if Cost.watching and event == "open" and isinstance(given[0], str | Path):
        Cost.watching.opened.append(str(given[0]))


sys.addaudithook(_audit)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cost]:
    cost, connect = Cost(), sqlite3.connect

    def counted(*given: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*given, **options)

        def step() -> int:
            cost.steps += 1
            return 0

        connection.set_progress_handler(step, 50)
        return connection

    monkeypatch.setattr(sqlite3, "connect", counted)
    Cost.watching = cost
    try:
        yield cost
    finally:
        Cost.watching = None
        monkeypatch.undo()


def name(number: int) -> str:
    return f"20260101T000000Z-{number:04}"


def fill(place: Place, runs: int) -> None:
    """A book with so many runs, and the history that they would have left."""
    with Book.open(place.book) as book:
        book.state()
    with sqlite3.connect(place.book) as db:
        db.execute("DELETE FROM runs")
        rows = [(number, name(number)) for number in range(1, runs + 1)]
        db.executemany(
            "INSERT INTO runs (number, run, status, manual, decision, reason, started_at, finished_at, rows, seconds)"
            " VALUES (?, ?, 'completed', 0, 'held', 'It holds. Because.', '2026-01-01T00:00:00Z',"
            """ '2026-01-01T00:01:00Z', '{"in": 1, "ingested": 1}', '{"ingest": 1.0}')""",
            rows,
        )
        quiet = [(number, "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z", 2) for number, _ in rows]
        db.executemany("INSERT OR REPLACE INTO quiet VALUES (?, ?, ?, ?)", quiet)
        db.execute("UPDATE state SET runs = ?, champion = '0001', versions = 1", (runs,))
        db.execute("INSERT OR REPLACE INTO models VALUES ('0001', 'aa', ?, 'champion', NULL)", (name(1),))
    points = [point(number, "2026-01-01T00:00:00Z") for number in range(1, runs)]
    chronicle.forward(place.executed / "history.json", points, runs - 1)


def publish_one(place: Place, number: int) -> None:
    """The folder of a run and its page, as a tick leaves it."""
    folder = place.executed / name(number)
    folder.mkdir(parents=True)
    homes.notebook(folder / "20_monitor.ipynb", **RECORDED["20_monitor"])
    homes.notebook(folder / "70_assess.ipynb", **RECORDED["70_assess"])
    stages = [
        {"name": n, "status": "completed", "seconds": 1.0, "notebook": f"{n}.ipynb", "report": None} for n in RECORDED
    ]
    told = report(run=name(number), status="completed", error=None, stages=stages, challenger=None)
    del told["based_on"]
    (folder / "run.json").write_text(json.dumps(told))
    place.call_list.write_text(json.dumps({**CALLS, "run": name(number)}))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home = homes.make(tmp_path)
    return home.place("shop")


def cost_of_a_run(place: Place, runs: int, monkeypatch: pytest.MonkeyPatch) -> Cost:
    fill(place, runs)
    portfolio = params.load(place.params)
    for number in (runs - 1, runs):
        publish_one(place, number)
    with Book.open(place.book) as book:
        publish.run_page(place, Run.read(place.executed / name(runs - 1)), portfolio, book)
    with watched(monkeypatch) as cost, Book.open(place.book) as book:
        publish.run_page(place, Run.read(place.executed / name(runs)), portfolio, book)
        site.write(place, portfolio, book)
    cost.opened = [each for each in cost.opened if each.startswith(str(place.root))]  # no library's files
    return cost


def test_publishing_a_run_costs_the_same_after_10_and_after_10_000(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = {}
    for runs in (310, 1_010, 10_010):  # the first run, which has no page yet, is on none of the lists written
        place = homes.make(tmp_path / str(runs)).place("shop")
        costs[runs] = cost_of_a_run(place, runs, monkeypatch)
        assert (place.executed / "index.html").stat().st_size < MOST
        assert (place.executed / "history.json").stat().st_size < 500 * chronicle.MOST
        assert len(costs[runs].opened) < 100
    few, some, many = costs.values()
    assert len(few.opened) == len(some.opened) == len(many.opened)
    assert many.steps <= some.steps * 1.1 + 20, "what SQLite does grows with the runs"


def test_a_run_is_written_with_its_twins_and_every_link_leads_somewhere(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost_of_a_run(place, 205, monkeypatch)
    home = place.executed.parent
    pages = [path for path in home.rglob("*.html") if path.parent.name != homes.LAST]
    assert {"index.html", "runs-2.html", "runs-3.html"} <= {path.name for path in place.executed.glob("*.html")}
    for path in pages:
        assert path.with_suffix(".json").exists() or path.stem[:2].isdigit(), path
        for link in Reader(path.read_text()).all("a"):
            target = (path.parent / link["href"].partition("#")[0]).resolve()
            # What only the examples name: runs, models and stages that this home lacks.
            absent = ("runs-1.html", "models/000[23]", "_train", "_ingest", "T000000Z", "T013000Z")
            assert target.exists() or any(re.search(each, str(target)) for each in absent), f"{path}: {link['href']}"


def test_only_the_newest_lists_are_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = cost_of_a_run(place, 450, monkeypatch)
    written = {Path(each).name.split(".")[1] for each in cost.opened if "runs-" in each}
    assert written == {"runs-4", "runs-5"}


def test_what_a_crash_left_out_of_the_history_the_next_run_brings(place: Place) -> None:
    fill(place, 5)
    (place.executed / "history.json").unlink()
    for number in (3, 5):
        publish_one(place, number)
    with Book.open(place.book) as book:
        site.write(place, params.load(place.params), book)
    history = chronicle.read(place.executed / "history.json")
    assert [each["number"] for each in history["points"]] == [1, 3, 5]
    assert history["last"] == 5
    assert history["points"][1]["bands"] == {"high": 90, "medium": 210, "low": 600}


@pytest.mark.parametrize("torn", ["", "[]", '{"points": 3}', '{"last": 1}', "{"])
def test_a_torn_history_is_begun_anew(tmp_path: Path, torn: str) -> None:
    (tmp_path / "history.json").write_text(torn)
    assert chronicle.read(tmp_path / "history.json") == {"last": 0, "points": []}


@given(st.lists(st.sampled_from(["held", "promoted", "alarm"]), max_size=30), st.integers(1, 60))
def test_a_history_stays_bounded_and_keeps_what_is_marked(kinds: list[str], times: int) -> None:
    points = [
        point(
            number, "2026-01-01T00:00:00Z", decision="promoted" if kind == "promoted" else "held", alarm=kind == "alarm"
        )
        for number, kind in enumerate(kinds * times, 1)
    ]
    kept = chronicle._thinned(list(points))
    assert len(kept) <= chronicle.MOST
    assert kept[-chronicle.NEWEST :] == points[-chronicle.NEWEST :]
    marked = [each for each in points if chronicle.marked(each)]
    if len(marked) + chronicle.NEWEST <= chronicle.MOST // 2:
        assert [each for each in kept if chronicle.marked(each)] == marked


def test_the_home_shows_a_portfolio_that_has_left_its_card(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cost_of_a_run(place, 12, monkeypatch)
    (place.params.parent / "other.yaml").write_text("title: x\n")  # no run yet
    with Book.open(place.book) as book:
        site.write(place, params.load(place.params), book)
    said = json.loads((Home(place.root).root / "executed" / "index.json").read_text())
    assert [each["name"] for each in said["portfolios"]] == ["shop"]
    assert said["portfolios"][0]["high"] == 90


@pytest.mark.parametrize("file", ["call_list", "manifest", "another's card"])
def test_what_cannot_be_read_for_a_moment_is_left_to_the_next_tick(
    place: Place, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    cost_of_a_run(place, 12, monkeypatch)
    other = Home(place.root).place("other")
    path = {
        "call_list": place.call_list,
        "manifest": place.models / "0001" / "manifest.json",
        "another's card": other.executed / "card.json",
    }[file]
    other.params.write_text("title: x\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(path)  # it is there, and nobody can open it, whoever runs the tests
    place.at_work.write_text("")

    def written() -> None:
        with Book.open(place.book) as book:
            site.write(place, params.load(place.params), book)

    if file == "another's card":
        written()  # what is wrong there stops no other portfolio
    else:
        with pytest.raises(OSError, match="symbolic links"):
            written()
    assert place.at_work.exists() == (file != "another's card")


def test_lists_of_owners_who_have_nobody_any_more_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cost_of_a_run(place, 12, monkeypatch)
    before = {path.name for path in (place.executed / "clients").glob("by-*.html")}
    publish_one(place, 13)
    lists = [each for each in CALLS["lists"] if each["kind"] != "value"]
    place.call_list.write_text(json.dumps({**CALLS, "lists": lists, "run": name(13)}))
    with sqlite3.connect(place.book) as db:
        db.execute(
            "INSERT INTO runs (number, run, status, manual, started_at) VALUES (13, ?, 'completed', 0, 'x')",
            (name(13),),
        )
        db.execute("UPDATE state SET runs = 13")
    with Book.open(place.book) as book:
        site.write(place, params.load(place.params), book)
    assert len(before) == 1
    assert not [*(place.executed / "clients").glob("by-*")]


def test_a_portfolio_that_ends_while_the_home_is_written_has_the_last_word(tmp_path, monkeypatch):
    """Two ticks, each of its own portfolio, know nothing of each other: no lock keeps them apart here."""
    home = Home(tmp_path)
    (tmp_path / "params").mkdir()
    cards = {name: home.place(name).executed / "card.json" for name in ("one", "two")}

    def left(name: str, lead: str) -> None:
        cards[name].parent.mkdir(parents=True, exist_ok=True)
        facts = {"name": name, "title": name, "tone": "good", "health": "holds", "model": "0001", "at": None}
        cards[name].write_text(json.dumps({**facts, "decision": "held", "lead": lead, "high": 1}))

    for name in cards:
        home.place(name).params.touch()
        left(name, "before")
    really = site.pages.home
    others: list[str] = ["two"]

    def meanwhile(found: Any) -> Any:
        page = really(found)  # of the cards as they were
        if others:
            left(others.pop(), "after")
            site._home(home)
        return page

    monkeypatch.setattr(site.pages, "home", meanwhile)
    site._home(home)
    told = json.loads((tmp_path / "executed" / "index.json").read_text())
    assert "after" in json.dumps(told)
    assert "after" in (tmp_path / "executed" / "index.html").read_text()
