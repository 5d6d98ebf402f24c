"""The book: transactions that only the newest run may make, and a ledger that adds up."""

import sqlite3
from pathlib import Path

import pytest

from attrition.book import Book, Outcome, Overtaken

AT = "2026-03-01T03:15:00Z"


@pytest.fixture
def book(tmp_path):
    with Book.open(tmp_path / "book.db") as opened:
        yield opened


def drop(**changes):
    counts = {"rows_in": 3, "ingested": 1, "duplicates": 1, "quarantined": 1}
    facts = {"name": "a.csv", "sha256": "00", "size": 10, "to": "taken"}
    return {**facts, "reasons": {"age: not a number": 1}, "notes": [], **counts, **changes}


def account(run, status="completed", **facts):
    stages = [{"name": "ingest", "status": "completed", "seconds": 1.5}]
    return {
        **{"run": run, "status": status, "decision": None, "reason": "r", "finished_at": AT, "data_version": 1},
        **{"model": None, "rows": {}, "stages": stages},
        **facts,
    }


def promote(version, **facts):
    trained = {"version": version, "sha256": f"sha-{version}"}
    return Outcome("promoted", "better", 1, version, None, {}, **{"proven": True, "trained": trained, **facts})


def test_a_run_is_named_by_its_moment_and_number(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    assert (run, sequence) == ("20260301T031500Z-0001", 1)
    assert book.unfinished() == [run]


def test_each_commit_goes_on_from_the_one_before(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    sequence = book.ingested(sequence, run, [drop()], ingests=1, data_version=1)
    sequence = book.decided(sequence, run, promote("0001"), AT)
    book.finished(sequence, account(run, decision="promoted"), scored=(1, "0001"))
    state = book.state()
    assert (state.data_version, state.judged_version, state.champion, state.versions) == (1, 1, "0001", 1)
    assert not state.scores_owed
    assert book.unfinished() == []


@pytest.mark.parametrize("commit", ["ingested", "decided", "finished"])
def test_a_run_that_slept_cannot_commit_over_a_later_one(book, commit):
    run, sequence = book.begin("20260301T031500Z", AT)
    book.begin("20260301T033000Z", AT)
    before = book.state()
    calls = {
        "ingested": lambda: book.ingested(sequence, run, [drop()], ingests=1, data_version=1),
        "decided": lambda: book.decided(sequence, run, promote("0001"), AT),
        "finished": lambda: book.finished(sequence, account(run)),
    }
    with pytest.raises(Overtaken):
        calls[commit]()
    assert book.state() == before


def test_a_ledger_that_does_not_add_up_is_refused_whole(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    with pytest.raises(sqlite3.IntegrityError):
        book.ingested(sequence, run, [drop(), drop(rows_in=4)], ingests=1, data_version=1)
    assert book.drops(run) == []
    assert book.state().data_version == 0


def test_deployments_say_from_when_to_when(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    sequence = book.decided(sequence, run, promote("0001", proven=False), AT)
    book.decided(sequence, run, promote("0002", ended={"0001": "retired"}), "2026-04-01T03:15:00Z")
    newest, first = book.deployments()
    assert (newest["version"], newest["until"], newest["proven"]) == ("0002", None, True)
    assert (first["version"], first["until"], first["proven"]) == ("0001", "2026-04-01T03:15:00Z", False)
    assert {model["version"]: model["status"] for model in book.models()} == {"0001": "retired", "0002": "champion"}


def test_a_decision_that_keeps_the_champion_deploys_nothing(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    sequence = book.decided(sequence, run, promote("0001"), AT)
    book.decided(sequence, run, Outcome("held", "holds", 2, "0001", None, {}, proven=False), AT)
    assert len(book.deployments()) == 1


def test_years_of_quiet_ticks_share_a_line(book):
    for minute in range(50):
        book.quiet(f"2026-03-01T03:{minute:02d}:00Z")
    assert book.quiet_since() == {"since": "2026-03-01T03:00:00Z", "last": "2026-03-01T03:49:00Z", "ticks": 50}
    book.begin("20260301T040000Z", AT)
    assert book.quiet_since() is None


def test_scores_are_owed_until_the_newest_rows_have_the_champions(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    assert not book.state().scores_owed
    sequence = book.ingested(sequence, run, [drop()], ingests=1, data_version=1)
    book.decided(sequence, run, promote("0001"), AT)
    assert book.state().scores_owed


def test_reading_makes_no_file_and_writes_nothing(tmp_path):
    path = tmp_path / "book.db"
    with pytest.raises(FileNotFoundError, match="no tick"), Book.open(path, read_only=True):
        pass
    assert not path.exists()
    with Book.open(path):
        pass
    content, names = path.read_bytes(), sorted(tmp_path.iterdir())
    with Book.open(path, read_only=True) as book:
        book.runs(), book.state(), book.quiet_since()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            book.quiet(AT)
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == (content, names)


def test_runs_come_newest_first_in_pages(book):
    for _ in range(5):
        book.begin("20260301T031500Z", AT)
    assert [run["number"] for run in book.runs(limit=2)] == [5, 4]
    assert [run["number"] for run in book.runs(limit=2, before=4)] == [3, 2]


def test_a_folder_with_odd_signs_is_still_a_path(tmp_path):
    folder = tmp_path / "50% of #1?"
    folder.mkdir()
    with Book.open(Path(folder, "book.db")) as book:
        assert book.state().sequence == 0
    assert (folder / "book.db").exists()
