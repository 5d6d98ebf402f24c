"""The three commits, stopped before each file-system step: the next tick ends where an undisturbed one would."""

import os
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from deltalake import DeltaTable
from pipeline_kit import CAPSTONE, capstone, drop, reports
from store_kit import ranked

from attrition import params
from attrition.book import Book, Outcome, Overtaken
from attrition.commits import commit_decision, commit_ingest, commit_run, mend_current, settle_drops
from attrition.home import REPOSITORY
from attrition.recovery import recover
from attrition.runs import Run
from attrition.store import marks
from attrition.store.clients import Clients
from attrition.store.drops import is_drop
from attrition.store.ingest import ingest

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
    predictions = duckdb.execute("SELECT _row, data_version FROM read_parquet($files) ORDER BY ALL", {"files": scores})
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


def test_a_current_json_that_was_changed_is_mended(tmp_path):
    place = home(tmp_path)
    right = place.current.read_text()
    for wrong in (right.replace("0001", "0002"), "{", ""):
        place.current.write_text(wrong)
        with Book.open(place.book) as book:
            recover(place, book, AT)
        assert place.current.read_text() == right
