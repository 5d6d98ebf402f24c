"""The book: transactions that only the newest run may make, and a ledger that adds up."""

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import open_below
from rights import closed

from attrition.book import RELEASE, Book, Outcome, Overtaken, State
from attrition.book_file import Unreadable

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


def month(number):
    return f"2026-{number:02d}-01T03:15:00Z"


def test_the_newest_run_that_brought_rows_is_asked_for_among_newer_ones(book):
    for manual, ingested in ((False, 3), (True, 5), (False, 0), (True, 0)):
        run, sequence = book.begin("20260301T031500Z", AT, manual=manual)
        book.finished(sequence, account(run, rows={"ingested": ingested}))
    book.begin("20260301T031500Z", AT)  # which has not said yet what it brought
    assert book.brought() == book.brought(after=1) == {"number": 2, "run": "20260301T031500Z-0002", "started_at": AT}
    assert book.brought(after=2) is None


def test_runs_are_found_by_how_they_ended_what_they_decided_and_when_they_began(book):
    ends = [("completed", "held"), ("completed", "promoted"), ("failed", None), ("completed", "held")]
    assert book.span() is None
    for number, (status, decision) in enumerate(ends, start=1):
        run, sequence = book.begin("20260301T031500Z", month(number))
        book.finished(sequence, account(run, status, decision=decision))
    book.quiet(AT)

    def found(**asked):
        return [run["number"] for run in book.found(limit=10, **asked)]

    assert found() == [4, 3, 2, 1]
    assert found(before=4) == [3, 2, 1]
    assert found(status="completed") == [4, 2, 1]
    assert found(decision="held") == [4, 1]
    assert found(status="completed", decision="promoted") == [2]
    assert found(month="2026-03") == [3]
    assert found(month="2026", status="failed") == [3]
    assert found(month="2025") == []
    assert book.found(limit=2) == book.runs(limit=2)
    assert book.found(limit=1)[0]["quiet"] == {"since": AT, "last": AT, "ticks": 1}
    assert [run["quiet"]["ticks"] for run in book.runs()] == [1, None, None, None]
    assert book.span() == (month(1), month(4))


def test_a_run_is_told_as_it_ended(book):
    run, sequence = book.begin("20260301T031500Z", AT, manual=True)
    seconds = [{"name": "ingest", "seconds": 1.5}, {"name": "train", "seconds": None}, {"name": "score"}]
    facts = {"model": {"version": "0001"}, "rows": {"in": 3}, "stages": seconds, "performance": {"loss": 0.1}}
    book.finished(sequence, account(run, "failed", **facts))
    told = {
        **{"number": 1, "run": run, "status": "failed", "manual": True, "decision": None, "reason": "r"},
        **{"started_at": AT, "finished_at": AT, "data_version": 1, "model": "0001", "rows": {"in": 3}},
        **{"seconds": {"ingest": 1.5}, "performance": {"loss": 0.1}},
    }
    assert book.run(run) == told
    assert book.runs() == [{**told, "quiet": {"since": None, "last": None, "ticks": None}}]
    assert book.run("none") is None
    another, _ = book.begin("20260301T031500Z", AT)
    assert book.run(another)["manual"] is False
    assert book.run(another)["rows"] is None


def test_what_was_decided_stands_though_the_run_fails_after_it(book):
    for decision, told in ((None, "promoted"), ("held", "held")):
        run, sequence = book.begin("20260301T031500Z", AT)
        sequence = book.decided(sequence, run, Outcome("promoted", "better", 1, None, None, {}, None), AT)
        assert (book.run(run)["decision"], book.run(run)["reason"]) == ("promoted", "better")
        book.finished(sequence, account(run, "failed", decision=decision))
        assert book.run(run)["decision"] == told
    assert book.run("20260301T031500Z-0001")["decision"] == "promoted"


def test_the_state_is_what_the_last_decision_left(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    trained = {"version": "0007", "sha256": "b"}
    said = Outcome("on_trial", "not yet", 5, "0003", "0007", {"log10": 1.5}, False, trained)
    assert book.decided(sequence, run, said, AT) == sequence + 1
    state = book.state()
    assert (state.judged_version, state.champion, state.challenger) == (5, "0003", "0007")
    assert state.evidence == {"log10": 1.5}
    assert (state.versions, state.sequence, state.sources, state.scored_model) == (7, sequence + 1, 0, None)
    assert book.model("0007") == {"version": "0007", "sha256": "b", "run": run, "status": "challenger", "why": None}


def test_a_model_is_told_why_it_ended_and_no_other_is(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    for version in ("0001", "0002"):
        sequence = book.decided(sequence, run, promote(version, proven=True), AT)
    kept = Outcome("kept", "no better", 1, "0002", None, {}, None, ended={"0001": "given_up"})
    sequence = book.decided(sequence, run, kept, AT)
    assert [(each["version"], each["status"], each["why"]) for each in book.models()] == [
        ("0001", "given_up", "no better"),
        ("0002", "champion", None),
    ]
    assert [book.status(version) for version in ("0001", "0002", "0003")] == ["given_up", "champion", None]
    assert len(book.deployments(limit=1)) == 1
    (newest, _) = book.deployments()
    assert (newest["run"], newest["since"], newest["why"], newest["data_version"]) == (run, AT, "better", 1)
    back = Outcome("rolled_back", "worse", 1, "0001", None, {}, proven=False)
    book.decided(sequence, run, back, AT)
    assert (book.model("0001")["status"], book.model("0001")["why"]) == ("champion", None)
    assert (book.model("0002")["status"], book.model("0002")["why"]) == ("champion", None)
    assert [each["until"] for each in book.deployments()] == [None, AT, AT]


def test_the_newest_models_come_by_their_number(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    for version in ("9998", "9999", "10000"):
        sequence = book.decided(sequence, run, promote(version), AT)
    assert [each["version"] for each in book.models(newest=2)] == ["10000", "9999"]


def test_the_ledger_holds_each_drop_as_it_was_told(book):
    assert book.drop_count() == 0
    run, sequence = book.begin("20260301T031500Z", AT)
    drops = [drop(), drop(name="b.csv", sha256=None, quarantined=3, rows_in=5, to="quarantine", notes=["odd"])]
    assert book.ingested(sequence, run, drops, ingests=4, data_version=7) == sequence + 1
    first, second = book.drops(run)
    assert {key: value for key, value in first.items() if key not in ("number", "moved_to", "run", "data_version")} == {
        key: value for key, value in drop().items() if key != "to"
    }
    assert (second["number"], second["moved_to"], second["data_version"]) == (2, "quarantine", 7)
    assert second["notes"] == ["odd"]
    assert (book.drop_count(), book.drops("none")) == (2, [])
    state = book.state()
    assert (state.ingests, state.data_version, state.sequence) == (4, 7, sequence + 1)


def test_a_file_of_a_name_that_came_with_other_content_is_noted(book):
    for content, noted in (("00", []), ("00", []), ("11", [1]), ("00", [3]), (None, [4]), (None, [4])):
        run, sequence = book.begin("20260301T031500Z", AT)
        book.ingested(sequence, run, [drop(sha256=content), drop(name=f"{run}.csv")], ingests=1, data_version=1)
        (same, other) = book.drops(run)
        named = f"run 20260301T031500Z-{noted[0]:04d} took" if noted and noted[0] != 1 else "run "
        assert len(same["notes"]) == len(noted)
        assert all(note.startswith(named) for note in same["notes"])
        assert other["notes"] == []


def test_what_was_set_aside_comes_newest_first_with_who_released_it(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    whole = {"rows_in": 0, "ingested": 0, "duplicates": 0, "quarantined": 0}
    drops = [drop(), drop(**{**whole, "rows_in": 1, "ingested": 1}), drop(**whole, to="quarantine")]
    marks = [{"source": RELEASE, "key": "1", "mark": "by zoë"}, {"source": "crm", "key": "3", "mark": 7}]
    book.ingested(sequence, run, drops, ingests=1, data_version=1, marks=marks)
    assert [(each["number"], each["released"]) for each in book.set_aside()] == [(3, None), (1, "by zoë")]
    assert [each["number"] for each in book.set_aside(limit=1)] == [3]


def test_a_mark_is_kept_by_source_and_key_and_replaced(book):
    book.marked([{"source": "crm", "key": "a", "mark": {"to": 1}}, {"source": "crm", "key": "b", "mark": 2}])
    book.marked([{"source": "crm", "key": "a", "mark": {"to": 3}}, {"source": "erp", "key": "b", "mark": 4}])
    assert [book.mark("crm", "a"), book.mark("crm", "b"), book.mark("erp", "b")] == [{"to": 3}, 2, 4]
    assert book.mark("erp", "a") is None


def test_a_yaml_that_was_found_good_is_remembered(book):
    book.checked("ab", 3.5)
    assert (book.state().params_sha256, book.state().settle, book.state().sources) == ("ab", 3.5, 0)
    book.checked("cd", 1.5, sources=True)
    assert (book.state().params_sha256, book.state().sources) == ("cd", 1)


def test_a_yaml_that_the_champion_does_not_fit_is_read_again(book):
    book.checked("ab", 3.5)
    book.doubted(1.5, sources=True)
    assert (book.state().params_sha256, book.state().settle, book.state().sources) == (None, 1.5, 1)


@pytest.mark.parametrize(
    ("of_run", "manual", "known"), [("ab", False, "ab"), ("cd", False, None), ("ab", True, "ab"), ("cd", True, "ab")]
)
def test_after_the_scores_of_a_run_by_another_yaml_that_of_now_is_read_again(book, of_run, manual, known):
    """But not after one that a person gave it for this time."""
    run, sequence = book.begin("20260301T031500Z", AT, manual=manual)
    sequence = book.decided(sequence, run, promote("0001"), AT)
    book.checked("ab", 1.0)
    book.finished(sequence, {**account(run), "params_sha256": of_run, "manual": manual}, scored=(1, "0001"))
    assert book.state().params_sha256 == known


def test_what_an_outcome_means_is_as_the_first_rows_were_read_if_that_is_known(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    book.checked("ab", 1.0, outcomes="'1' and '0'")
    sequence = book.ingested(sequence, run, [drop()], ingests=1, data_version=0)
    assert book.state().outcomes == "'1' and '0'"
    sequence = book.ingested(sequence, run, [drop()], ingests=2, data_version=1, outcomes="'0' and '1'")
    book.ingested(sequence, run, [drop()], ingests=3, data_version=2, outcomes="'1' and '0'")
    assert book.state().outcomes == "'0' and '1'"


def test_a_champion_makes_the_yaml_be_read_again(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    book.checked("ab", 1.0)
    book.decided(sequence, run, promote("0001"), AT)
    assert book.state().params_sha256 is None


def test_where_the_list_is_lost_all_scores_are_owed(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    sequence = book.ingested(sequence, run, [drop()], ingests=1, data_version=1)
    sequence = book.decided(sequence, run, promote("0001"), AT)
    book.finished(sequence, account(run), scored=(1, "0001"))
    book.unscored()
    assert (book.state().scored_version, book.state().scores_owed) == (0, True)


def test_by_another_listing_all_scores_are_owed_and_once(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    sequence = book.ingested(sequence, run, [drop()], ingests=1, data_version=1)
    sequence = book.decided(sequence, run, promote("0001"), AT)
    sequence = book.finished(sequence, account(run), scored=(1, "0001"))  # of a release that did not note by what
    book.checked("ab", 1.0, listing="one", outcomes="'1' and '0'")
    assert (book.state().scored_by, book.state().scores_owed) == ("one", False)
    book.checked("cd", 1.0, listing="two", outcomes="'0' and '1'")
    assert (book.state().scored_version, book.state().scores_owed) == (0, True)
    assert book.state().outcomes == "'1' and '0'", "there are rows: they stay as they were read"
    run, sequence = book.begin("20260301T031500Z", AT)
    book.finished(sequence, {**account(run), "listing": "two"}, scored=(1, "0001"))
    book.checked("ef", 1.0, listing="two")
    assert (book.state().scored_by, book.state().scores_owed) == ("two", False)


@pytest.mark.parametrize(
    ("scored", "owed"), [({}, False), ({"scored_version": 1}, True), ({"scored_model": "0001"}, True)]
)
def test_scores_are_owed_of_another_version_or_model(book, scored, owed):
    run, sequence = book.begin("20260301T031500Z", AT)
    sequence = book.ingested(sequence, run, [drop()], ingests=1, data_version=2)
    sequence = book.decided(sequence, run, promote("0002"), AT)
    facts = {"scored_version": 2, "scored_model": "0002"} | scored
    book.finished(sequence, account(run), scored=tuple(facts.values()))
    assert book.state().scores_owed is owed
    assert State(**{**vars(book.state()), "champion": None}).scores_owed is False


def test_a_sequence_goes_up_by_one_with_each_step(book):
    run, sequence = book.begin("20260301T031500Z", AT)
    assert book.state().sequence == sequence == 1
    sequence = book.ingested(sequence, run, [], ingests=0, data_version=0)
    sequence = book.decided(sequence, run, Outcome("held", "holds", 0, None, None, {}, None), AT)
    assert book.finished(sequence, account(run)) == 4
    book.still(4)
    assert book.state().sequence == 4
    with pytest.raises(Overtaken, match="the book is at 4, this run left it at 3"):
        book.still(3)


@pytest.fixture
def said(monkeypatch):
    """What SQLite is told from here on."""
    lines, connect = [], sqlite3.connect

    def watched(*given, **named):
        db = connect(*given, **named)
        db.set_trace_callback(lines.append)
        return db

    monkeypatch.setattr(sqlite3, "connect", watched)
    return lines


def test_a_commit_lasts_and_a_quiet_tick_waits_for_the_disk_once(tmp_path, said):
    with Book.open(tmp_path / "book.db") as book:
        assert said[0] == "PRAGMA synchronous = EXTRA"
        said.clear()
        book.quiet(AT)
    assert [line.split()[-1] for line in said if "PRAGMA synchronous" in line] == ["NORMAL", "EXTRA"]


def test_each_change_is_a_transaction_that_no_other_writer_enters(tmp_path, said):
    with Book.open(tmp_path / "book.db") as book:
        said.clear()
        run, sequence = book.begin("20260301T031500Z", AT)
        sequence = book.ingested(sequence, run, [drop()], ingests=1, data_version=1)
        sequence = book.decided(sequence, run, promote("0001"), AT)
        book.finished(sequence, account(run))
        with suppress(Overtaken):
            book.finished(sequence, account(run))
    ends = [line for line in said if line in ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")]
    assert ends == ["BEGIN IMMEDIATE", "COMMIT"] * 4 + ["BEGIN IMMEDIATE", "ROLLBACK"]
    writes = [number for number, line in enumerate(said) if line.startswith(("INSERT", "UPDATE"))]
    assert all("BEGIN IMMEDIATE" in said[:number] and "COMMIT" in said[number:] for number in writes)
    assert len(writes) == 2 + 3 + 9 + 2


def test_a_book_is_closed_after_use(tmp_path):
    for _ in range(2):
        with Book.open(tmp_path / "book.db"):
            pass
    assert open_below(tmp_path) == []


def test_a_book_that_was_left_in_the_middle_of_a_write_is_mended_by_the_next_writer(tmp_path):
    path = tmp_path / "book.db"
    with Book.open(path) as book:
        book.begin("20260301T031500Z", AT)
    path.write_bytes(b"torn" * 100)
    with pytest.raises(Unreadable, match=r"book.db cannot be read"), Book.open(path, read_only=True):
        pass


def test_a_book_that_one_may_not_read_is_told_as_that(tmp_path):
    path = tmp_path / "book.db"
    with Book.open(path):
        pass
    with closed(path):
        with pytest.raises(Unreadable) as caught, Book.open(path, read_only=True):
            pass
        assert str(caught.value) == "book.db cannot be read (permission denied): mend its permissions"
        with pytest.raises(PermissionError, match=r"book\.db"), Book.open(path):
            pass
    with Book.open(path, read_only=True) as book:
        assert book.runs() == []


def test_a_book_that_is_no_file_is_told_without_a_traceback(tmp_path):
    (path := tmp_path / "book.db").mkdir()
    with pytest.raises(Unreadable, match="ask again, or see to the disk"), Book.open(path, read_only=True):
        pass
    for nowhere in (path, tmp_path / "none" / "book.db"):
        with pytest.raises(sqlite3.OperationalError), Book.open(nowhere):
            pass


def test_a_reader_waits_for_a_writer_no_longer_than_it_is_told_to(tmp_path, monkeypatch):
    path, connect, waits = tmp_path / "book.db", sqlite3.connect, []
    monkeypatch.setattr(sqlite3, "connect", lambda *of, **how: waits.append(how["timeout"]) or connect(*of, **how))
    with Book.open(path) as writer:
        writer._db.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(Unreadable, match=r"\(database is locked\): another process .* ask again"),
            Book.open(path, read_only=True, patience=0.0),
        ):
            pass
    assert waits == [10.0, 0.0]


def test_a_book_of_the_first_release_is_brought_up_to_date(tmp_path):
    path = tmp_path / "book.db"
    with Book.open(path) as book:
        book.begin("20260301T031500Z", AT)
        book.checked("ab", 1.0)
    db = sqlite3.connect(path, isolation_level=None)
    for step in ("DROP TABLE marks", "DROP INDEX drops_by_name"):
        db.execute(step)
    for column in ("sources", "scored_by", "outcomes"):
        db.execute(f"ALTER TABLE state DROP COLUMN {column}")
    db.execute("PRAGMA user_version = 1")
    db.close()
    for _ in range(2):
        with Book.open(path) as book:
            assert (book.state().params_sha256, book.state().sources, book.state().runs) == (None, 0, 1)
            assert book.mark("crm", "") is None


def test_a_name_of_a_run_is_given_once(book):
    book.begin("20260301T031500Z", AT)
    with pytest.raises(sqlite3.IntegrityError):
        book._db.execute(
            "INSERT INTO runs (number, run, status, manual, started_at) SELECT 2, run, '', 0, '' FROM runs"
        )


def test_a_list_has_a_length_that_a_person_can_read_unless_more_is_asked_for(book):
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100)"
    for table, columns in (
        ("runs (number, run, status, manual, started_at)", "i, i, '', 0, ''"),
        ("deployments (version, run, since, proven, why, data_version)", "i, '', '', 0, '', 0"),
        (
            "drops (run, name, size, rows_in, ingested, duplicates, quarantined, reasons, notes, moved_to, data_version)",  # noqa: E501
            "'', i, 0, 1, 0, 0, 1, '{}', '[]', 'taken', 0",
        ),
    ):
        book._db.execute(f"{numbers} INSERT INTO {table} SELECT {columns} FROM n")
    assert (len(book.runs()), len(book.runs(2000)), len(book.found(limit=2000))) == (100, 1100, 1100)
    assert (len(book.deployments()), len(book.set_aside())) == (100, 1000)


def test_a_state_of_before_there_were_sources_has_none(book):
    facts = vars(book.state())
    assert State(**{name: value for name, value in facts.items() if name != "sources"}).sources == 0


def test_a_full_disk_is_said_to_be_full_and_not_that_nothing_can_be_rolled_back(book):
    (pages,) = book._db.execute("PRAGMA page_count").fetchone()
    book._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite treats more as a disk without room
    with pytest.raises(sqlite3.OperationalError, match="full"):
        book.begin("20260301T031500Z", "x" * 100_000)
    assert book.state().runs == 0
