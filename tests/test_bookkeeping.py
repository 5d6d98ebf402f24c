"""A book as a whole: copied, wound back to an earlier moment, and a client's name struck out of it."""

import json
import sqlite3
from dataclasses import asdict, replace

import pytest
from conftest import open_below
from test_book import AT, account, drop, promote

from attrition import bookkeeping
from attrition.book import Book, Outcome

LATER = "2026-04-01T03:15:00Z"


def lived(path):
    """A book of three runs: a first model, a challenger that is given up, a second champion; its state before each."""
    before = []
    ended = {"0001": "retired", "0002": "given_up"}
    outcomes = [
        promote("0001", proven=False),
        Outcome("on_trial", "ann?", 2, "0001", "0002", {}, None, trained={"version": "0002", "sha256": "b"}),
        replace(promote("0003", ended=ended), evidence={"ann": 1}, judged_version=3),
    ]
    with Book.open(path) as book:
        for number, outcome in enumerate(outcomes, start=1):
            before.append(asdict(book.state()))
            run, sequence = book.begin("20260301T031500Z", AT)
            dropped = drop(name=f"ann {number}.csv", sha256=f"{number}", notes=["of ann"], reasons={"ann: odd": 1})
            sequence = book.ingested(sequence, run, [dropped], ingests=number, data_version=number)
            sequence = book.decided(sequence, run, outcome, AT if number < 3 else LATER)
            model = {"version": outcome.champion}
            facts = {"decision": outcome.decision, "reason": f"why, ann {number}", "data_version": number}
            done = account(run, **facts, model=model)
            book.finished(sequence, done, scored=(number, outcome.champion))
            book.quiet(AT)
    return before


def content(path):
    """All of a book, table by table."""
    db = sqlite3.connect(path)
    try:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names}
    finally:
        db.close()


def test_a_copy_is_the_same_and_leaves_no_handle(tmp_path):
    lived(tmp_path / "book.db")
    for _ in range(2):
        bookkeeping.copy(tmp_path / "book.db", tmp_path / "copy.db")
    assert open_below(tmp_path) == []
    assert content(tmp_path / "copy.db") == content(tmp_path / "book.db")
    with pytest.raises(sqlite3.Error):
        bookkeeping.copy(tmp_path / "none.db", tmp_path / "copy.db")
    assert not (tmp_path / "none.db").exists(), "a reader makes no book"


@pytest.mark.parametrize("number", [2, 3])
def test_a_book_is_wound_back_to_what_it_was_before_a_run(tmp_path, number):
    before = lived(tmp_path / "book.db")
    bookkeeping.rewind(tmp_path / "book.db", number, before[number - 1])
    assert open_below(tmp_path) == []
    with Book.open(tmp_path / "book.db", read_only=True) as book:
        assert asdict(book.state()) == before[number - 1]
        assert [run["number"] for run in book.runs()] == list(range(number - 1, 0, -1))
        assert all(run["quiet"]["ticks"] == 1 for run in book.runs())
        assert len(content(tmp_path / "book.db")["quiet"]) == number - 1
        assert book.drop_count() == number - 1
        wanted = {"0001": "champion", "0002": "challenger"}
        assert {each["version"]: each["status"] for each in book.models()} == dict([*wanted.items()][: number - 1])
        assert [(each["version"], each["until"]) for each in book.deployments()] == [("0001", None)]
        assert {each["why"] for each in book.models()} == {None}


def test_a_model_that_was_retired_by_then_stays_so(tmp_path):
    lived(tmp_path / "book.db")
    with Book.open(tmp_path / "book.db") as book:
        state = asdict(book.state())
        book.begin("20260401T031500Z", LATER)
    bookkeeping.rewind(tmp_path / "book.db", 4, state)
    with Book.open(tmp_path / "book.db", read_only=True) as book:
        statuses = {each["version"]: each["status"] for each in book.models()}
        assert statuses == {"0001": "retired", "0002": "given_up", "0003": "champion"}
        newest, first = book.deployments()
        assert (newest["until"], first["until"]) == (None, LATER)


def test_a_champion_that_was_retired_by_then_is_so_again(tmp_path):
    with Book.open(tmp_path / "book.db") as book:
        run, sequence = book.begin("20260301T031500Z", AT)
        sequence = book.decided(sequence, run, promote("0001"), AT)
        book.decided(sequence, run, promote("0002", ended={"0001": "retired"}), AT)
        state = asdict(book.state())
        run, sequence = book.begin("20260401T031500Z", LATER)
        back = Outcome("rolled_back", "worse", 1, "0001", None, {}, proven=False, ended={"0002": "barred"})
        book.decided(sequence, run, back, LATER)
    bookkeeping.rewind(tmp_path / "book.db", 2, state)
    with Book.open(tmp_path / "book.db", read_only=True) as book:
        assert {each["version"]: each["status"] for each in book.models()} == {"0001": "retired", "0002": "champion"}
        assert [(each["version"], each["until"]) for each in book.deployments()] == [("0002", None), ("0001", AT)]


def line(**changes):
    facts = {"salt": "s", "hash": "h", "run": "r", "at": LATER, "reason": "asked", "rows": 1, "data_version": 4}
    return {**facts, **changes}


def struck(text):
    return text.replace("ann", "[gone]")


def test_a_client_is_struck_out_of_every_text(tmp_path):
    path = tmp_path / "book.db"
    lived(path)
    assert bookkeeping.forgotten(path) == []
    before = content(path)
    bookkeeping.strike(path, struck, line())
    assert open_below(tmp_path) == []
    after = content(path)
    assert b"ann" not in path.read_bytes(), "it is overwritten, not only unlinked"
    for table in ("runs", "drops", "models", "deployments", "quiet"):
        assert json.dumps(after[table]) == struck(json.dumps(before[table]))
    assert bookkeeping.forgotten(path) == [{"number": 1, **line()}]


def test_what_was_judged_and_scored_is_so_of_the_version_without_the_client(tmp_path):
    path = tmp_path / "book.db"
    before = lived(path)
    with Book.open(path) as book:
        was = book.state()
    for _ in range(2):  # cut short, it is called again: the line is written once
        bookkeeping.strike(path, struck, line())
        with Book.open(path, read_only=True) as book:
            state = book.state()
        assert (state.data_version, state.judged_version, state.scored_version) == (4, 4, 4)
        assert (state.evidence, state.sequence) == ({}, was.sequence + 1)
        assert len(bookkeeping.forgotten(path)) == 1
    assert before[2]["data_version"] == 2


def test_rows_that_are_not_judged_yet_stay_so_and_without_rows_the_evidence_stands(tmp_path):
    path = tmp_path / "book.db"
    lived(path)
    with Book.open(path) as book:
        run, sequence = book.begin("20260401T031500Z", LATER)
        book.ingested(sequence, run, [drop()], ingests=4, data_version=4)
    bookkeeping.strike(path, str, line(rows=0, data_version=5))
    bookkeeping.strike(path, str, line(salt="t", rows=0, data_version=6))
    with Book.open(path, read_only=True) as book:
        state = book.state()
        assert (state.data_version, state.judged_version, state.scored_version) == (6, 3, 3)
        assert state.evidence == {"ann": 1}
    assert [each["salt"] for each in bookkeeping.forgotten(path)] == ["s", "t"]


def test_a_strike_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "book.db"
    lived(path)
    before = content(path)

    def fails(text):
        raise RuntimeError(text)

    with pytest.raises(RuntimeError):
        bookkeeping.strike(path, fails, line())
    assert content(path) == before


def test_a_change_of_the_whole_lasts_and_leaves_no_trace(tmp_path, monkeypatch):
    path, said, connect = tmp_path / "book.db", [], sqlite3.connect
    lived(path)

    def watched(*given, **named):
        db = connect(*given, **named)
        db.set_trace_callback(said.append)
        return db

    monkeypatch.setattr(sqlite3, "connect", watched)
    bookkeeping.strike(path, struck, line())
    first = said.index("BEGIN IMMEDIATE")
    assert {"PRAGMA synchronous = EXTRA", "PRAGMA secure_delete = ON"} <= set(said[:first])
    assert said[-1] == "VACUUM"
