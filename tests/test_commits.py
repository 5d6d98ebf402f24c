"""The three commits, stopped before each file-system step: the next tick ends where an undisturbed one would."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from conftest import require
from deltalake import DeltaTable
from pipeline_kit import CAPSTONE, capstone, drop, reports
from store_kit import ranked

from attrition import commits, params, safe, site
from attrition.book import Book, Outcome, Overtaken
from attrition.commits import commit_decision, commit_ingest, commit_run, mend_current, settle_drops
from attrition.home import REPOSITORY
from attrition.recovery import recover
from attrition.runs import Run, latest
from attrition.store import delta, marks
from attrition.store.clients import Clients
from attrition.store.drops import is_drop
from attrition.store.ingest import ingest
from attrition.wishes import Wish
from campaign import kit, sink, tracer

AT, STAMP = "2026-03-01T03:15:00Z", "20260301T031500Z"
MODEL = REPOSITORY / "tests" / "data" / "home" / "models" / "sample" / "0001"


class Killed(BaseException):
    """Stands for a process that is gone: nothing may catch it."""


def tick(place) -> bool:
    """What a tick commits, without its notebooks; whether there was anything to do."""
    portfolio = params.load(place.params)
    with Book.open(place.book) as book:
        recover(place, book, AT)
        drops = sorted(path for path in place.incoming.iterdir() if is_drop(path.name))
        state = book.state()
        if not (drops or state.data_version > state.judged_version or state.scores_owed):
            return False
        name, sequence = book.begin(STAMP, AT)
        run = Run.start(place, name, AT, {"assess": "70_assess.ipynb"}, data_version=state.data_version)
        if drops:
            ingest(portfolio, Clients(portfolio, place.clients), drops, run.folder, run=name)
            sequence = commit_ingest(place, portfolio, book, sequence, run)
            settle_drops(place, run)
        if book.state().data_version > book.state().judged_version:
            sequence = decide(place, book, sequence, run)
        if book.state().scores_owed:
            assess(place, portfolio, book.state(), run)
        run.end("completed", AT)
        commit_run(place, book, run, sequence)
    return True


def decide(place, book, sequence, run) -> int:
    shutil.copytree(MODEL, run.folder / "model")
    version = f"{book.state().versions + 1:04d}"
    trained = {"version": version, "sha256": "00"}
    outcome = Outcome("promoted", "first", book.state().data_version, version, None, {}, proven=False, trained=trained)
    sequence = commit_decision(place, book, sequence, run, outcome, AT)
    mend_current(place, book)
    return sequence


def assess(place, portfolio, state, run) -> None:
    rows = Clients(portfolio, place.clients).frame()
    scored = pd.DataFrame({"_row": rows["_row"], "id": rows["corporation"], "as_of": pd.NaT, "probability": 0.5})
    facts = {"data_version": state.data_version, "model_version": state.champion, "run": run.name}
    reasons = pd.Series([["a reason"]] * len(rows))
    ranked(scored.assign(**facts, band="medium", reasons=reasons), run.folder, run.folder / "none")
    run.note(data_version=state.data_version, model={"version": state.champion, "sha256": "00"})
    run.stage("assess", "completed", seconds=0.1)


def outcome(place) -> dict:
    """Where a portfolio stands, told without the names of runs: an interrupted one more makes no difference."""
    portfolio = params.load(place.params)
    with Book.open(place.book, read_only=True) as book:
        state = book.state()
        ledger = [line for run in book.runs() for line in book.drops(run["run"])]
        deployed = [(each["version"], each["until"]) for each in book.deployments()]
        open_runs, mark = book.unfinished(), book.mark("crm", "")
    scores = DeltaTable(str(place.scores)).file_uris()
    predictions = duckdb.connect().execute(
        "SELECT _row, data_version FROM read_parquet($files) ORDER BY ALL", {"files": scores}
    )
    return {
        "rows": Clients(portfolio, place.clients).frame().drop(columns="_version").to_dict("list"),
        "ledger": sorted((line["name"], line["rows_in"], line["ingested"], line["duplicates"]) for line in ledger),
        "state": (state.data_version, state.judged_version, state.champion, state.scored_version, state.scored_model),
        "deployed": deployed,
        "current": place.current.read_text().count(f'"{state.champion}"'),
        "models": sorted(path.name for path in place.models.iterdir()),
        "incoming": sorted(path.name for path in place.incoming.iterdir()),
        "taken": sorted(path.name for path in place.taken.rglob("*.csv")),
        "staging": [path.name for path in place.staging.iterdir()],
        "open": open_runs,
        "mark": mark,
        "published": {report["status"] for report in reports(place)} - {"interrupted"},
        "ranking": place.ranking.exists(),
        "predictions": predictions.fetchall(),
    }


def steps(monkeypatch, stop_at: int | None = None) -> list[str]:
    """Note each sync and rename from here on; before number ``stop_at`` the process is gone."""
    made: list[str] = []

    def watched(name, real):
        def step(*given, **named):
            if len(made) == stop_at:
                raise Killed(name)
            made.append(name)
            return real(*given, **named)

        return step

    monkeypatch.setattr(os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", watched("rename", Path.replace))
    return made


def home(root: Path):
    place = capstone(root, "practicedata").place("capstone")
    assert tick(place)
    fetched, laid = sorted((CAPSTONE / "sourcedata").iterdir())
    drop(place, laid)
    beside = Path(shutil.copy(fetched, place.incoming / ".fetched"))
    marks.land(beside, place.incoming / fetched.name, source="crm", key="", mark={"watermark": "7"})
    return place


def test_a_tick_stopped_before_any_step_is_made_good_by_the_next(tmp_path):
    start = home(tmp_path / "start")
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(start.root, undisturbed)
    place = type(start)(undisturbed, start.name)
    with pytest.MonkeyPatch.context() as patch:
        made = steps(patch)
        assert tick(place)
    wanted = outcome(place)
    assert len(made) > 40
    assert wanted["mark"] == {"watermark": "7"}
    assert not tick(place)
    for number, step in enumerate(made):
        place = type(start)(tmp_path / f"{number}", start.name)
        shutil.copytree(start.root, place.root)
        with pytest.MonkeyPatch.context() as patch:
            steps(patch, stop_at=number)
            with pytest.raises(Killed):
                tick(place)
        while tick(place):
            pass
        assert outcome(place) == wanted, f"stopped before step {number}, {step}"
        shutil.rmtree(place.root)


def staged(place, portfolio, book):
    """A run whose rows are staged and not committed yet, and the sequence that it goes on from."""
    name, sequence = book.begin(STAMP, AT)
    run = Run.start(place, name, AT, {})
    ingest(portfolio, Clients(portfolio, place.clients), sorted(place.incoming.glob("*.csv")), run.folder, run=name)
    return run, sequence


def test_a_runner_that_slept_commits_nothing(tmp_path):
    place = home(tmp_path)
    portfolio = params.load(place.params)
    with Book.open(place.book) as book:
        run, sequence = staged(place, portfolio, book)
        book.begin(STAMP, AT)  # a later runner, while this one sleeps
        before = Clients(portfolio, place.clients).version
        with pytest.raises(Overtaken):
            commit_ingest(place, portfolio, book, sequence, run)
        assert Clients(portfolio, place.clients).version == before
        assert len(list(place.incoming.glob("*.csv"))) == 2


def test_a_drop_that_was_replaced_while_it_was_read_is_left_for_the_next_tick(tmp_path):
    place = home(tmp_path)
    portfolio = params.load(place.params)
    with Book.open(place.book) as book:
        run, sequence = staged(place, portfolio, book)
        replaced = place.incoming / "dataset3.csv"
        replaced.write_text(replaced.read_text() + "new1,1,2,3,1\n")
        commit_ingest(place, portfolio, book, sequence, run)
        settle_drops(place, run)
    assert [path.name for path in place.incoming.glob("*.csv")] == ["dataset3.csv"]
    assert tick(place)
    assert Clients(portfolio, place.clients).rows == 53


def test_a_current_json_that_was_changed_is_mended(tmp_path, capsys):
    place = home(tmp_path)
    place.at_work.unlink()  # its lists are there
    right = place.current.read_text()
    for wrong, named in (
        (right.replace("0001", "0002"), "model 0002"),
        ("{", "no model"),
        ("[]", "no model"),
        ("[" * 100_000, "no model"),
        (right.replace("proven", "spoilt"), ""),  # the right one, in other words
    ):
        place.current.write_text(wrong)
        with Book.open(place.book) as book:
            assert recover(place, book, AT) == ([], bool(named))
            assert (f"current.json named {named} in place of" in capsys.readouterr().err) == bool(named)
            assert recover(place, book, AT) == ([], False)
        assert place.current.read_text() == right


def test_whoever_watches_ticks_hears_that_another_model_was_named(tmp_path, capsys):
    """It may have served until now: nothing else would tell that somebody put an older file back."""
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    assert kit.tick(place) == 0
    older = place.current.read_text()
    kit.second_visit(place)
    assert kit.tick(place) == 0
    place.current.write_text(older)
    assert [kit.tick(place), kit.tick(place)] == [1, 0]
    assert "current.json named model 0001 in place of the one that is deployed" in capsys.readouterr().err
    with Book.open(place.book) as book:  # that the last run failed, which deployed nothing, explains nothing
        name, sequence = book.begin(STAMP, AT)
        run = Run.start(place, name, AT, {})
        run.end("failed", AT, reason="tried")
        commit_run(place, book, run, sequence)
    assert kit.tick(place) == 0
    place.current.write_text(older)
    assert [kit.tick(place), kit.tick(place)] == [1, 0]


def test_a_deployed_model_that_is_gone_is_told_by_every_tick_until_it_is_back_or_another_serves(tmp_path, capsys):
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    assert [kit.tick(place), kit.tick(place)] == [0, 0]
    for path in (place.models / "0001", *place.version_files("0001")):
        aside = path.rename(tmp_path / "aside")
        heard, _ = sink.heard(place), capsys.readouterr()
        assert [kit.tick(place), kit.tick(place)] == [1, 1]
        said = capsys.readouterr()
        assert said.err.count(" is gone, and model 0001 is deployed: put it back from a backup") == 2
        assert "quiet:" not in said.out
        assert sink.heard(place) - heard == {"failure": 1}
        aside.rename(path)
        assert kit.tick(place) == 0
    shutil.rmtree(place.models / "0001")
    assert [kit.tick(place), kit.tick(place, wish=Wish(force=True)), kit.tick(place)] == [1, 0, 0]
    with Book.open(place.book) as book:
        assert book.state().champion == "0002"


def test_a_run_that_was_killed_when_it_had_decided_keeps_the_sentence_of_its_decision(tmp_path):
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)

    def killed(*_):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attrition.tick.mend_current", killed)
        with pytest.raises(Killed):
            kit.tick(place)
    assert kit.tick(place) == 0
    assert reports(place)[0]["reason"].startswith("40 clients. The process of this run went away between two stages;")


def test_of_a_run_that_was_killed_as_it_began_nothing_is_taken_over(tmp_path):
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    assert kit.tick(place) == 0
    with Book.open(place.book) as book:
        book.begin(STAMP, AT)
    assert kit.tick(place) == 0
    assert kit.tick(place, wish=Wish(resume=True)) == 0


def test_a_run_that_failed_before_it_wrote_current_json_has_told_so_itself(tmp_path):
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    assert kit.tick(place) == 0
    kit.second_visit(place)

    def broken(*_):
        raise MemoryError  # which has no words

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attrition.tick.mend_current", broken)
        assert kit.tick(place) == 1
    assert reports(place)[-1]["reason"].endswith("Then the run failed between two stages: MemoryError")
    assert kit.tick(place) == 0


def test_models_that_are_gone_do_not_stop_a_tick(tmp_path):
    place = home(tmp_path)
    shutil.rmtree(place.models)
    assert tick(place)
    assert place.current.exists()


def test_a_champion_that_cannot_be_read_is_not_replaced_but_waited_for(tmp_path):
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    assert kit.tick(place) == 0
    path = place.models / "0001" / "model.pkl"
    aside = path.rename(tmp_path / "aside")
    path.symlink_to(path)  # it is there, and nobody can open it, whoever runs the tests
    kit.second_visit(place)
    assert kit.tick(place) == 1
    error = reports(place)[-1]["error"]
    assert "it cannot be read: Too many levels of symbolic links; mend its permissions" in error["message"]
    aside.rename(path)
    assert kit.tick(place) == 0
    with Book.open(place.book, read_only=True) as book:
        assert [line["proven"] for line in book.deployments()] == [True, False]


@pytest.mark.parametrize("left", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("table", ["clients", "scores"])
def test_a_log_entry_that_a_power_cut_tore_is_taken_back(tmp_path, table, left):
    place = home(tmp_path)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(place.root, undisturbed, ignore=shutil.ignore_patterns("undisturbed"))
    other = type(place)(undisturbed, place.name)
    assert tick(other)
    with pytest.MonkeyPatch.context() as patch:
        real = delta._sync_log

        def cut(folder, version):
            if folder == getattr(place, table):
                entry = folder / "_delta_log" / f"{version:020d}.json"
                whole = entry.read_bytes()
                entry.write_bytes(whole[: int(len(whole) * left)])
                raise Killed
            real(folder, version)

        patch.setattr(delta, "_sync_log", cut)
        with pytest.raises(Killed):
            tick(place)
    while tick(place):
        pass
    assert outcome(place) == outcome(other)


def synced_before(monkeypatch, place, moment) -> list[str]:
    """What was synced, relative to the home, when ``moment`` (a function's owner and name) comes."""
    done, seen, real = [], [], os.fsync

    def fsync(handle):
        done.append(os.path.relpath(Path(f"/proc/self/fd/{handle}").readlink(), place.root))
        real(handle)

    owner, name = moment
    then = getattr(owner, name)

    def watched(*given, **named):
        seen.append(list(done))
        return then(*given, **named)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(owner, name, watched)
    return seen


def test_rejected_rows_last_before_the_rows_beside_them_are_committed(tmp_path, monkeypatch):
    place = home(tmp_path)
    (place.incoming / "bad.csv").write_text((CAPSTONE / "practicedata" / "dataset1.csv").read_text() + "x,y,z,1,2\n")
    seen = synced_before(monkeypatch, place, (DeltaTable, "create_write_transaction"))
    assert tick(place)
    assert any(path.endswith("quarantine/bad.csv.jsonl") for path in seen[0])


def test_what_a_run_leaves_lasts_before_it_says_that_it_completed(tmp_path, monkeypatch):
    place = home(tmp_path)
    seen = synced_before(monkeypatch, place, (Run, "note"))
    assert tick(place)
    ended = next(paths for paths in reversed(seen) if paths)
    assert any(path.endswith("ranking.parquet") for path in ended)


def test_scores_that_were_committed_before_a_run_failed_are_not_made_again(tmp_path):
    place = home(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        made = steps(patch)
        real = delta._sync_log

        def fails(folder, version):
            if folder == place.scores:
                raise OSError(13, "Permission denied")
            real(folder, version)

        patch.setattr(delta, "_sync_log", fails)
        with pytest.raises(OSError, match="Permission denied"):
            tick(place)
    assert made
    (name,) = [path.name for path in place.staging.iterdir()]
    with Book.open(place.book) as book:  # as `Tick._fail` does
        run = Run.read(place.staging / name)
        run.end("failed", AT, reason="The run failed.")
        commit_run(place, book, run, book.state().sequence)
        assert not book.state().scores_owed
    predictions = [tuple(each[:2]) for each in outcome(place)["predictions"]]
    assert len(predictions) == len(set(predictions))


def test_what_fails_after_the_third_commit_leaves_a_run_that_completed(tmp_path, monkeypatch, capsys):
    def fails(*_):
        raise OSError(5, "Input/output error")

    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    with monkeypatch.context() as patch:
        patch.setattr(commits, "_point", fails)
        assert kit.tick(place) == 1
    assert "Input/output error" in capsys.readouterr().err
    with Book.open(place.book, read_only=True) as book:
        (line,) = book.runs()
    assert (line["status"], Run.read(place.executed / line["run"]).report["status"]) == ("completed", "completed")
    assert latest(place) == {}
    assert kit.tick(place) == 0
    assert latest(place)["run"] == line["run"]


@pytest.mark.parametrize("step", ["start", "remember"])
def test_a_run_that_an_error_kept_from_beginning_has_failed_of_it(tmp_path, monkeypatch, step):
    """And is not told by the next tick as one whose process went away."""
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    right = getattr(Run, step)

    def fails(*_, **__):
        monkeypatch.setattr(Run, step, right)  # once
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Run, step, fails)
    assert kit.tick(place) == 1
    with Book.open(place.book, read_only=True) as book:
        (line,) = book.runs()
    assert (line["status"], line["reason"]) == ("failed", Run.read(place.executed / line["run"]).report["reason"])
    assert "OSError: [Errno 5] Input/output error" in line["reason"]
    assert (place.executed / line["run"] / "index.html").exists()
    assert kit.tick(place) == 0


def test_a_run_that_is_closed_keeps_nothing_that_was_half_written(tmp_path):
    place = home(tmp_path)
    with Book.open(place.book) as book:
        name, _ = book.begin(STAMP, AT)
        run = Run.start(place, name, AT, {"assess": "70_assess.ipynb"})
        scratch = run.folder / ".abc"  # of a kernel that was killed, with clients in it
        scratch.mkdir()
        (scratch / ".000000.parquet.7-1f").write_text("clients")
        (run.folder / f".ranking.json.{os.getpid()}.tmp").write_text("of a kernel that outlived its runner")
        recover(place, book, AT)
    assert Run.read(place.executed / name).report["status"] == "interrupted"
    assert not [*(place.executed / name).rglob(".*")]


def test_the_lists_name_a_run_whose_tick_was_cut_short_before_it_wrote_them(tmp_path):
    place = home(tmp_path)
    assert tick(place)
    assert place.at_work.exists()  # this `tick` writes no lists
    (place.models / f".current.json.{2**22 + 1}.tmp").write_text("half")
    (place.executed / ".index.html.1.tmp").write_text("of a process that runs")
    with Book.open(place.book) as book:
        recover(place, book, AT)
    assert not list(place.models.glob(".*.tmp"))
    assert list(place.executed.glob(".*.tmp"))


def test_the_lists_name_no_page_that_is_not_there(tmp_path):
    place = home(tmp_path)  # this `tick` makes no pages, as one that is killed right after it closed a run
    with Book.open(place.book) as book:
        site.write(place, params.load(place.params), book)
    assert all((path.parent / "index.html").exists() for path in place.executed.glob("2*/run.json"))
    assert not place.at_work.exists()


def test_what_a_run_left_that_another_has_closed_stops_no_tick(tmp_path):
    """A process that slept while somebody took its lock away wakes up, and writes where its run was."""
    place = home(tmp_path)
    tick(place)
    name = max(path.name for path in place.executed.glob("2*"))
    shutil.copytree(place.executed / name, place.staging / name)
    before = (place.executed / name / "run.json").read_bytes()
    assert not tick(place)
    assert not list(place.staging.iterdir())
    assert (place.executed / name / "run.json").read_bytes() == before


def unreadable(monkeypatch, name: str, number: int) -> None:
    """Let a file of that name be on a broken disk."""
    hashed = safe.sha256

    def fails(path: Path) -> str:
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return hashed(path)

    monkeypatch.setattr(safe, "sha256", fails)


@pytest.fixture
def shop(tmp_path):
    """A home in which two drops wait after a first tick."""
    place = kit.home(tmp_path / "home")
    kit.first_visit(place)
    assert kit.tick(place) == 0
    kit.drop(place, "bad.csv", kit.rows(2, 5))
    kit.drop(place, "good.csv", kit.rows(3, 5))
    yield place
    sink.gone(place.root)


def test_a_drop_that_its_disk_cannot_read_waits_and_holds_up_no_other(shop, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        unreadable(patch, "bad.csv", errno.EIO)
        assert kit.tick(shop) == 1  # it may have been for a moment
        assert sorted(path.name for path in shop.incoming.iterdir()) == ["bad.csv", "good.csv"]
        capsys.readouterr()
        for seed in (4, 5):
            assert kit.tick(shop) == 1
            assert f"bad.csv waits, for its disk cannot read it: [Errno {errno.EIO}]" in capsys.readouterr().out
            assert [path.name for path in shop.incoming.iterdir()] == ["bad.csv"]
            kit.drop(shop, f"good{seed}.csv", kit.rows(seed, 5))
    assert kit.tick(shop) == 0
    assert list(shop.incoming.iterdir()) == []


def test_a_drop_that_could_not_be_read_once_is_taken_in_with_the_others(shop, monkeypatch):
    with monkeypatch.context() as patch:
        unreadable(patch, "bad.csv", errno.EIO)
        assert kit.tick(shop) == 1
    assert kit.tick(shop) == 0
    (run,) = {path.parent.name for path in shop.taken.glob("*/good.csv")}
    assert (shop.taken / run / "bad.csv").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.ENOMEM, errno.EROFS])
def test_what_ails_more_than_one_drop_still_fails_the_tick(shop, monkeypatch, number):
    unreadable(monkeypatch, "bad.csv", number)
    assert [kit.tick(shop) for _ in range(2)] == [1, 1]
    assert sorted(path.name for path in shop.incoming.iterdir()) == ["bad.csv", "good.csv"]


@pytest.mark.parametrize("name", ["manifest.json", "model.pkl", ""])
def test_a_challenger_that_is_damaged_is_given_up_and_holds_up_no_tick(tmp_path, name):
    place = kit.home(tmp_path / "home")
    for number, count in enumerate((40, 23)):  # by the stage's rule: a first model, then one on trial
        kit.drop(place, f"{number}.csv", kit.rows(number, count))
        assert kit.tick(place) == 0
    damaged = place.models / "0002" / name
    if name:
        damaged.write_bytes(damaged.read_bytes()[:-9])
    else:
        shutil.rmtree(damaged)
    kit.drop(place, "next.csv", kit.rows(9, 1))
    assert kit.tick(place) == 0
    with Book.open(place.book, read_only=True) as book:
        assert (book.state().champion, book.state().challenger) == ("0001", None)
        assert book.model("0002")["status"] == "given_up"
        assert "Challenger 0002 is given up, as it cannot be used any more" in book.runs(1)[0]["reason"]
    kit.drop(place, "later.csv", kit.rows(10, 2))
    assert kit.tick(place) == 0


def test_a_challenger_that_only_fails_when_it_is_loaded_is_given_up_by_the_tick_after(tmp_path):
    place = kit.home(tmp_path / "home")
    for number, count in enumerate((40, 23)):
        kit.drop(place, f"{number}.csv", kit.rows(number, count))
        assert kit.tick(place) == 0
    manifest = place.models / "0002" / "manifest.json"
    about = json.loads(manifest.read_text())
    about["golden"]["probabilities"][0] /= 2
    manifest.write_text(json.dumps(about))
    kit.drop(place, "next.csv", kit.rows(9, 1))
    assert [kit.tick(place), kit.tick(place)] == [1, 0]
    with Book.open(place.book, read_only=True) as book:
        assert (book.state().champion, book.state().challenger) == ("0001", None)
        assert book.model("0002")["status"] == "given_up"


ASKED = """
import sys
from pathlib import Path
from attrition import commits, scrub
from attrition.home import Home
from attrition.store import delta, past
place = Home(Path(sys.argv[1])).place(sys.argv[3])
for ask in (
    lambda: commits._in_table(place, 1),
    lambda: delta.open_table(place.clients, {}),
    lambda: scrub.version(place),
    lambda: past.clients(place.clients, Path(sys.argv[2]), to_version=1, ingests=1, at=0, put=None),
):
    try:
        print("answered", ask())
    except Exception as error:
        print("refused", "Input/output error" in str(error))
"""


def test_a_table_whose_first_commit_was_cut_short_is_none(tmp_path):
    log = tmp_path / "_delta_log"
    log.mkdir()
    assert not delta.is_table(tmp_path)
    (log / f"{0:020d}.json#1").write_text("{")  # as Delta Lake writes it, before it has its name
    assert not delta.is_table(tmp_path)
    (log / f"{0:020d}.json").write_text("{")
    assert delta.is_table(tmp_path)


def test_a_table_that_the_disk_keeps_back_is_not_taken_for_none(tmp_path):
    require(not tracer.available(), tracer.available())
    place = home(tmp_path / "home")
    tick(place)
    fault = tracer.failing(tracer.Call("readlink", None, 1), "EIO", place.clients, [], lasting=True)
    asked = [sys.executable, "-c", ASKED, str(place.root), str(tmp_path / "to"), place.name]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), *fault, *asked],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["refused True"] * 4, done.stdout + done.stderr
    assert tracer.injected(tmp_path / "trace")
