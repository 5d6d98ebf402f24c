"""What each commit does by itself: where drops go, what current.json and latest.json say, what is done twice."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from test_commits import AT, STAMP, assess, home, staged, tick

from attrition import params, runs, safe
from attrition.book import Book, Outcome, Overtaken
from attrition.commits import commit_decision, commit_run, finish_ingest, keep_up, mend_current, settle_drops
from attrition.home import Home
from attrition.past import return_drops
from attrition.runs import Run
from attrition.store.clients import commit_rows

NUMBERS = {"ingests": 1, "data_version": 1}


def noted(root: Path, *names: str, **facts: Any):
    """A run whose ingest.json speaks of these drops as they are now, each of two rows; and its place."""
    place = Home(root).place("shop")
    safe.make_folder(place.incoming)
    run = Run.start(place, f"{STAMP}-0001", AT, {})
    counts = {"rows_in": 2, "ingested": 1, "duplicates": 1, "quarantined": 0, "size": 1, "reasons": {}, "notes": []}
    drops = []
    for name in names:
        path = place.incoming / name
        whole = path.is_file() and not path.is_symlink()
        drops.append({"name": name, "sha256": safe.sha256(path) if whole else None, "to": "taken", **counts, **facts})
    safe.write(run.folder / "ingest.json", json.dumps({"ingest": 1, "data_version": 1, "files": [], "drops": drops}))
    return place, run


def laid(root: Path, *names: str) -> Path:
    incoming = safe.make_folder(Home(root).place("shop").incoming)
    for name in names:
        (incoming / name).write_text(name)
    return incoming


def test_a_drop_that_its_owner_replaced_or_took_away_is_told_to_be_not_kept(tmp_path):
    incoming = laid(tmp_path, "kept.csv", "replaced.csv", "renamed.csv")
    place, run = noted(tmp_path, "kept.csv", "replaced.csv", "renamed.csv")
    (incoming / "replaced.csv").write_text("another")
    (incoming / "renamed.csv").rename(incoming / "later.csv")
    for _ in range(2):
        settle_drops(place, run)
        assert run.report["not_kept"] == ["replaced.csv", "renamed.csv"]
        assert sorted(path.name for path in incoming.iterdir()) == ["later.csv", "replaced.csv"]
    (incoming / "kept.csv").write_text("a later one of this name")
    settle_drops(place, run)
    assert run.report["not_kept"] == ["replaced.csv", "renamed.csv"]


@pytest.mark.parametrize("to", ["taken", "quarantine"])
def test_a_drop_goes_where_the_ledger_says_and_its_marks_go_with_it(tmp_path, to):
    incoming = laid(tmp_path, "a.csv", "b.csv", "a.csv.done", ".a.csv.mark")
    place, run = noted(tmp_path, "a.csv", to=to)
    for _ in range(2):  # it may be repeated
        settle_drops(place, run)
        assert [path.name for path in incoming.iterdir()] == ["b.csv"]
        assert [path.read_text() for path in (getattr(place, to) / run.name).iterdir()] == ["a.csv"]
    other = {"taken": place.quarantine, "quarantine": place.taken}[to]
    assert not other.exists()


def test_rejected_rows_go_into_the_quarantine_of_their_run(tmp_path):
    place, run = noted(tmp_path)
    settle_drops(place, run)
    rejected = safe.make_folder(run.folder / "quarantine")
    settle_drops(place, run)
    assert not place.quarantine.exists(), "there is nothing to keep"
    (rejected / "a.csv.jsonl").write_text("{}")
    for _ in range(2):
        settle_drops(place, run)
        assert (place.quarantine / run.name / "a.csv.jsonl").read_text() == "{}"
        assert not rejected.exists()


def test_what_is_no_file_is_moved_as_it_is(tmp_path):
    incoming = laid(tmp_path)
    (incoming / "folder.csv").mkdir()
    (incoming / "link.csv").symlink_to(tmp_path / "nowhere")
    place, run = noted(tmp_path, "folder.csv", "link.csv", "gone.csv", to="quarantine")
    settle_drops(place, run)
    assert list(incoming.iterdir()) == []
    away = place.quarantine / run.name
    assert sorted(path.name for path in away.iterdir()) == ["folder.csv", "link.csv"]
    assert (away / "link.csv").is_symlink()


def test_a_drop_of_other_content_stays_and_the_others_go(tmp_path):
    incoming = laid(tmp_path, "a.csv", "b.csv", "c.csv")
    place, run = noted(tmp_path, "a.csv", "b.csv", "c.csv")
    (incoming / "b.csv").write_text("other")
    (incoming / "b.csv.done").touch()
    settle_drops(place, run)
    assert sorted(path.name for path in incoming.iterdir()) == ["b.csv", "b.csv.done"]
    assert sorted(path.name for path in (place.taken / run.name).iterdir()) == ["a.csv", "c.csv"]


@pytest.mark.parametrize("third", [False, True])
def test_a_drop_that_is_replaced_while_it_is_looked_at_waits_for_the_next_tick(tmp_path, monkeypatch, third):
    incoming = laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv")
    look, move = safe.sha256, safe.move

    def then_replaced(path: Path) -> str:
        found = look(path)
        (tmp_path / "new").write_text("nobody has read it")
        (tmp_path / "new").rename(path)
        return found

    def then_another_comes(source: Path, target: Path) -> None:
        move(source, target)
        if third:
            laid(tmp_path, "a.csv")

    monkeypatch.setattr(safe, "sha256", then_replaced)
    monkeypatch.setattr(safe, "move", then_another_comes)
    settle_drops(place, run)
    waiting = {path.name: path.read_text() for path in incoming.iterdir()}
    assert waiting == (
        {"a.csv": "a.csv", "1-a.csv": "nobody has read it"} if third else {"a.csv": "nobody has read it"}
    )
    assert list((place.taken / run.name).iterdir()) == []
    assert run.report["not_kept"] == ["a.csv"]


def test_a_drop_that_is_still_written_to_stays(tmp_path):
    incoming = laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv")
    with (incoming / "a.csv").open("a") as file:
        settle_drops(place, run)
        file.write(", and more")
    assert [path.read_text() for path in incoming.iterdir()] == ["a.csv, and more"]
    assert run.report["not_kept"] == ["a.csv"]


def test_a_drop_that_is_vouched_for_is_kept_though_it_is_open(tmp_path):
    incoming = laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv")
    (incoming / "a.csv.done").touch()
    with (incoming / "a.csv").open("a"):
        settle_drops(place, run)
    assert (list(incoming.iterdir()), "not_kept" in run.report) == ([], False)


def test_a_kill_before_the_look_at_who_writes_leaves_it_to_the_next_tick(tmp_path):
    incoming = laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv")
    moved = (incoming / "a.csv").rename(safe.make_folder(place.taken / run.name) / "a.csv")
    with moved.open("a"):
        settle_drops(place, run)
        assert [path.name for path in incoming.iterdir()] == ["a.csv"]
        os.link(incoming / "a.csv", moved)  # killed while it was put back
        settle_drops(place, run)
        assert [path.name for path in incoming.iterdir()] == ["a.csv"]
    assert run.report["not_kept"] == ["a.csv"]
    settle_drops(place, run)
    assert (list(incoming.iterdir()), run.report["not_kept"]) == ([], [])


def test_a_folder_in_the_place_of_a_drop_that_was_read_waits_too(tmp_path):
    incoming = laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv", "b.csv", sha256="of a file")
    (incoming / "a.csv").unlink()
    (incoming / "a.csv").mkdir()
    (safe.make_folder(place.taken / run.name) / "b.csv").mkdir()
    settle_drops(place, run)
    assert sorted(path.name for path in incoming.iterdir()) == ["a.csv", "b.csv"]
    assert list((place.taken / run.name).iterdir()) == []


def test_a_drop_that_cannot_be_read_for_a_moment_is_not_taken_for_another(tmp_path, monkeypatch):
    incoming = laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv")

    def refuses(_path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(safe, "sha256", refuses)
        with pytest.raises(PermissionError):
            settle_drops(place, run)
    assert "not_kept" not in run.report
    settle_drops(place, run)
    assert list(incoming.iterdir()) == []


def test_a_kill_between_the_move_and_the_look_after_it_loses_no_drop(tmp_path):
    incoming = laid(tmp_path)
    place, run = noted(tmp_path, "a.csv")
    (safe.make_folder(place.taken / run.name) / "a.csv").write_text("nobody has read it")
    settle_drops(place, run)
    assert [path.read_text() for path in incoming.iterdir()] == ["nobody has read it"]
    assert run.report["not_kept"] == ["a.csv"]


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", "ж" * 125 + ".csv"])
def test_the_longest_name_is_settled_and_put_back_as_any_other(tmp_path, name):
    incoming = laid(tmp_path, name)
    place, run = noted(tmp_path, name)
    for _ in range(2):
        settle_drops(place, run)
        assert list(incoming.iterdir()) == []
        laid(tmp_path, name)
    settle_drops(place, run)
    taken = place.taken / run.name
    assert len(list(taken.iterdir())) == 2
    then = Home(tmp_path / "then").place("shop")
    safe.make_folder(then.incoming)
    assert [path.name for path in return_drops(place, then, run)] == [name]
    (taken / name).write_text("nobody has read it")
    (incoming / name).write_text("nor this")
    settle_drops(place, run)
    assert sorted(path.read_text() for path in incoming.iterdir()) == ["nobody has read it", "nor this"]
    assert all(path.suffix == ".csv" for path in incoming.iterdir())


def test_a_second_drop_of_the_same_content_stands_beside_the_first(tmp_path):
    incoming = laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv")
    settle_drops(place, run)
    laid(tmp_path, "a.csv")
    settle_drops(place, run)
    assert list(incoming.iterdir()) == []
    assert sorted(path.name for path in (place.taken / run.name).iterdir()) == ["a.csv", "a.csv.again"]


def begun(book: Book) -> int:
    return book.begin(STAMP, AT)[1]


def promoted(version: str = "0001", **facts: Any) -> Outcome:
    trained = {"version": version, "sha256": "ab"}
    return Outcome("promoted", "first", 0, version, None, {}, proven=False, **{"trained": trained, **facts})


def test_a_model_gets_its_version_in_the_place_of_what_a_dead_run_left(tmp_path):
    place, run = noted(tmp_path)
    for folder, text in ((run.folder / "model", "new"), (place.models / "0001", "of a dead run")):
        (safe.make_folder(folder) / "model.pkl").write_text(text)
    with Book.open(place.book) as book:
        sequence = begun(book)
        with pytest.raises(Overtaken):
            commit_decision(place, book, sequence - 1, run, promoted(), AT)
        assert (place.models / "0001" / "model.pkl").read_text() == "of a dead run"
        assert commit_decision(place, book, sequence, run, promoted(), AT) == sequence + 1
        assert (place.models / "0001" / "model.pkl").read_text() == "new"
        assert book.state().champion == "0001"
        assert commit_decision(place, book, sequence + 1, run, promoted(trained=None), AT) == sequence + 2


def test_current_json_says_what_the_book_has_and_is_written_only_where_it_differs(tmp_path):
    place, run = noted(tmp_path)
    with Book.open(place.book) as book:
        sequence = begun(book)
        mend_current(place, book)
        assert not place.models.exists(), "there is no champion yet"
        book.decided(sequence, run.name, promoted(), AT)
        mend_current(place, book)
        wanted = {"portfolio": "shop", "version": "0001", "sha256": "ab", "run": run.name, "deployed_at": AT}
        assert place.current.read_text() == json.dumps({**wanted, "proven": False}, indent=1) + "\n"
        before = place.current.stat().st_ino
        mend_current(place, book)
        assert place.current.stat().st_ino == before


def test_a_run_that_was_overtaken_is_not_published(tmp_path):
    place, run = noted(tmp_path)
    with Book.open(place.book) as book:
        sequence = begun(book)
        begun(book)
        run.end("completed", AT)
        with pytest.raises(Overtaken):
            commit_run(place, book, run, sequence)
        assert not (place.executed / run.name).exists()
        assert run.folder.parent == place.staging


def ended(place, number: int, status: str = "completed", **facts: Any) -> Run:
    """A run with two stages, of which the first completed, that has said how it ended."""
    run = Run.start(place, f"{STAMP}-{number:04d}", AT, {"monitor": "20_monitor.ipynb", "report": "80_report.ipynb"})
    safe.make_folder(run.folder / "work")
    run.stage("monitor", "completed", seconds=0.1)
    run.end(status, f"{AT}{number}", **facts)
    return run


def test_the_newest_run_of_each_stage_is_that_of_the_last_that_completed(tmp_path):
    place, _ = noted(tmp_path)
    with Book.open(place.book) as book:
        known = {}
        for number, (status, facts) in enumerate(
            [
                ("completed", {"performance": {"loss": 0.1}}),
                ("completed", {}),
                ("failed", {"performance": {"loss": 0.1}}),
                ("completed", {"based_on": "another"}),
            ],
            start=1,
        ):
            sequence = begun(book)
            run = ended(place, number, status, **facts)
            commit_run(place, book, run, sequence)
            assert book.run(run.name)["status"] == status
            assert run.folder == place.executed / run.name
            assert not (run.folder / "work").exists()
            if number < 3:
                known |= {"monitor": run.name, "run": run.name, "finished_at": f"{AT}{number}"}
                known.setdefault("judged", run.name)
            assert json.loads((place.executed / "latest.json").read_text()) == known
        assert (place.executed / "latest.json").read_text() == json.dumps(runs.latest(place), indent=1)


def test_rows_that_are_not_in_the_table_are_not_in_the_ledger_and_stay(tmp_path):
    laid(tmp_path, "a.csv")
    place, run = noted(tmp_path, "a.csv")
    with Book.open(place.book) as book:
        sequence = begun(book)
        finish_ingest(place, book, run)
        assert book.drops(run.name) == []
        assert (place.incoming / "a.csv").exists()
        book.ingested(sequence, run.name, json.loads((run.folder / "ingest.json").read_text())["drops"], **NUMBERS)
        finish_ingest(place, book, run)
        assert len(book.drops(run.name)) == 1
    assert not (place.incoming / "a.csv").exists()
    again = Run.read(run.folder).report
    assert again["rows"] == {"in": 2, "ingested": 1, "duplicates": 1, "quarantined": 0}
    assert again["data_version"] == 1


def test_a_run_without_an_ingest_has_none_to_finish(tmp_path):
    place, run = noted(tmp_path)
    (run.folder / "ingest.json").unlink()
    with Book.open(place.book) as book:
        finish_ingest(place, book, run)
        assert book.drop_count() == 0


def test_tables_that_cannot_be_kept_up_are_told_and_stop_nothing(tmp_path):
    place = home(tmp_path)
    portfolio = params.load(place.params)
    assert keep_up(place, portfolio) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attrition.store.upkeep.keep_up", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
        assert keep_up(place, portfolio) == "the tables could not be kept up: OSError: [Errno 28] No space"


def test_the_book_knows_up_to_where_a_source_was_read_with_the_rows_of_its_drop(tmp_path):
    place = home(tmp_path)
    with Book.open(place.book) as book:
        assert book.mark("crm", "") is None
        tick(place)
        assert book.mark("crm", "") == {"watermark": "7"}


@pytest.mark.parametrize("closed", ["by the next tick", "by its own"])
@pytest.mark.parametrize("rows", ["committed", "staged"])
def test_rows_that_are_in_the_table_come_into_the_ledger_when_their_run_is_closed(tmp_path, closed, rows):
    place = home(tmp_path)
    portfolio = params.load(place.params)
    with Book.open(place.book) as book:
        run, sequence = staged(place, portfolio, book)
        if rows == "committed":  # and then something stopped it before the book
            commit_rows(place.clients, portfolio, run.folder, json.loads((run.folder / "ingest.json").read_text()))
        run.end("interrupted" if closed == "by the next tick" else "failed", AT)
        before = book.state()
        commit_run(place, book, run, None if closed == "by the next tick" else sequence)
        state = book.state()
        if rows == "committed":
            assert (state.ingests, state.data_version) == (before.ingests + 1, before.data_version + 1)
            assert len(book.drops(run.name)) == 2
            assert book.run(run.name)["rows"] == {"in": 26, "ingested": 26, "duplicates": 0, "quarantined": 0}
            assert list(place.incoming.glob("*.csv")) == []
        else:
            assert (state.ingests, state.data_version) == (before.ingests, before.data_version)
            assert book.drops(run.name) == []
            assert len(list(place.incoming.glob("*.csv"))) == 2


def test_predictions_of_a_run_that_failed_before_they_were_committed_are_owed_still(tmp_path):
    place = home(tmp_path)
    with Book.open(place.book) as book:
        sequence = begun(book)
        run = Run.start(place, f"{STAMP}-0002", AT, {"assess": "70_assess.ipynb"})
        assess(place, params.load(place.params), book.state(), run)
        run.end("failed", AT)
        before = len(list(place.scores.glob("part-*")))
        commit_run(place, book, run, sequence)
        assert len(list(place.scores.glob("part-*"))) == before
        assert book.run(run.name)["status"] == "failed"


def test_a_file_of_predictions_without_a_table_is_none_of_it(tmp_path):
    place, _ = noted(tmp_path)
    with Book.open(place.book) as book:
        sequence = begun(book)
        run = ended(place, 1, "failed")
        (safe.make_folder(place.scores) / f"part-000001-{run.name}.parquet").touch()
        commit_run(place, book, run, sequence)
        assert book.run(run.name)["status"] == "failed"


def test_the_ranking_and_the_call_lists_are_the_newest_once_they_are_on_the_disk(tmp_path, monkeypatch):
    place = home(tmp_path)
    place.ranking.unlink()
    synced, sync = [], safe.sync
    with Book.open(place.book) as book:
        sequence = begun(book)
        run = Run.start(place, f"{STAMP}-0002", AT, {"assess": "70_assess.ipynb"})
        assess(place, params.load(place.params), book.state(), run)
        (run.folder / "call_list.json").write_text("[]")
        run.end("completed", AT)
        monkeypatch.setattr(safe, "sync", lambda path: (synced.append(path.name), sync(path)))
        staged_ranking = (run.folder / "ranking.parquet").read_bytes()
        commit_run(place, book, run, sequence)
        state = book.state()
    assert place.ranking.read_bytes() == staged_ranking
    assert place.call_list.read_text() == "[]"
    assert "ranking.parquet" in synced
    assert (state.scored_version, state.scored_model) == (state.data_version, state.champion)
    assert not (run.folder / "ranking.parquet").exists()
