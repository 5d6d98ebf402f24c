"""A scratch home that is what the real one was when a run began.

Rows and predictions up to a version, models and the book up to a run, the ranking as the runs before left it. Files
that never change are linked, not copied, where the file system can.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrition import bookkeeping, safe
from attrition.book import Book
from attrition.commits import mend_current
from attrition.home import Home, Place, UsageError
from attrition.runs import BEFORE, Run
from attrition.stage_runner import parameters_of

__all__ = ["advance", "number_of", "ranking", "rebuild", "refuse", "return_drops"]

SCORED = "70_assess.ipynb"


def number_of(run: str) -> int:
    """A run's number, from its name."""
    return int(run.rpartition("-")[2])


def refuse(run: Run) -> None:
    """Raise UsageError where a run's record is not whole any more, or never was."""
    report = run.report
    if why := report.get("not_replayable"):
        raise UsageError(f"{run.name} cannot be replayed: {why}")
    if at := report.get("pruned"):
        raise UsageError(f"{run.name} cannot be replayed: it was pruned on {at[:10]}")
    if "based_on" in report or not report["stages"]:
        raise UsageError(f"{run.name} cannot be replayed: it was made by hand, and decided nothing from data")
    if not run.before():
        raise UsageError(f"{run.name} cannot be replayed: it was made before runs recorded what they began from")


def rebuild(place: Place, run: Run, root: Path) -> tuple[Place, list[str]]:
    """Make the scratch home below ``root``.

    Args:
        place: of the portfolio; only read.
        run: published, and not refused.
        root: an empty folder.

    Returns:
        The places in it, and what could not be had again, in words.
    """
    from attrition.store import past as tables

    past, before, number = Home(root).place(place.name), run.before(), number_of(run.name)
    safe.write(safe.make_folder(past.params.parent) / past.params.name, before["params"])
    for folder in (past.incoming, past.models, past.executed):
        safe.make_folder(folder)
    bookkeeping.copy(place.book, past.book)
    bookkeeping.rewind(past.book, number, before["state"])
    state = before["state"]
    next_version = int(run.report["data_version"]) if run.report["rows"]["ingested"] else 1
    advance(place, past, int(state["data_version"]), ingests=int(state["ingests"]), at=next_version - 1)
    tables.predictions(place.scores, past.scores, to_run=number - 1, put=_link)
    with Book.open(past.book, read_only=True) as book:
        for version, trained in ((str(model["version"]), str(model["run"])) for model in book.models()):
            if safe.exists(place.models / version):
                shutil.copytree(place.models / version, past.models / version)
            if safe.exists(begun := place.executed / trained / BEFORE):  # which tells what it was asked
                _link(begun, safe.make_folder(past.executed / trained) / BEFORE)
        mend_current(past, book)
    if safe.exists(place.test):
        shutil.copytree(place.test, past.test)
    lost = ranking(place, past.book, number, past.ranking)
    return past, lost


def advance(place: Place, past: Place, version: int, *, ingests: int = 1, at: int = 0) -> None:
    """Let the scratch home have the rows up to a data version; its table is at the version ``at`` then."""
    from attrition.store import past as tables

    shutil.rmtree(past.clients, ignore_errors=True)
    asked = {"to_version": version, "ingests": ingests, "at": max(at, version)}
    tables.clients(place.clients, past.clients, **asked, put=_link)


def return_drops(place: Place, past: Place, run: Run) -> list[Path]:
    """Lay what the run took in into the scratch home's incoming/ again; where they lie there now.

    Raises:
        UsageError: a drop is gone.
    """
    found = []
    for drop in json.loads((run.folder / "ingest.json").read_text(encoding="utf-8"))["drops"]:
        away = place.taken if drop["to"] == "taken" else place.quarantine
        path = away / run.name / drop["name"]
        if not safe.is_file(path) or safe.sha256(path) != drop["sha256"]:
            raise UsageError(f"{run.name}: the drop {drop['name']!r} is not in {path.parent} any more")
        shutil.copy2(path, past.incoming / drop["name"])
        # Of the longest names it is one that says nothing: such a drop lies still, as its time is the old one.
        (past.incoming / safe.derived(drop["name"], after=".done")).touch()
        found.append(past.incoming / drop["name"])
    return found


def ranking(place: Place, known: Path, number: int, target: Path) -> list[str]:
    """Write the ranking before a run: each client's newest line among the assessments back to the last of all clients.

    Args:
        place: of the portfolio.
        known: a book that knows the runs before.
        number: of the run.
        target: the file; none where nobody had been assessed.

    Returns:
        What could not be had again, in words.
    """
    files, lost = [], []
    with Book.open(known, read_only=True) as book:
        lines = book.runs(limit=2**62, before=number)
    for line in lines:
        folder = place.executed / str(line["run"])
        report: Mapping[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        ran = {stage["name"]: stage["status"] for stage in report["stages"]}
        if report["status"] != "completed" or "based_on" in report or ran.get("assess") not in ("completed", "reused"):
            continue
        if not safe.exists(folder / "assessed.parquet"):
            lost.append(f"the assessment of {folder.name}: what it says of clients not assessed since is not compared")
            break
        files.append(folder / "assessed.parquet")
        if parameters_of(folder / SCORED)["scored_version"] == 0:
            break
    if files:
        _merge(files, target)
    return lost


def _merge(files: list[Path], target: Path) -> None:
    from attrition.store.engine import connect, literal, rows_in

    each = " UNION ALL BY NAME ".join(
        f"SELECT {order} AS _order, * EXCLUDE (rank) FROM {rows_in([path])}"  # noqa: S608
        for order, path in enumerate(files)
    )
    newest = f"SELECT * EXCLUDE (_order) FROM ({each}) QUALIFY row_number() OVER (PARTITION BY id ORDER BY _order) = 1"  # noqa: S608
    ranked = f"SELECT row_number() OVER (ORDER BY probability DESC, _row) AS rank, * FROM ({newest}) ORDER BY rank"  # noqa: S608
    with connect() as db:
        db.execute(f"COPY ({ranked}) TO {literal(target)} (FORMAT parquet)")


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # another file system
        shutil.copy2(path, target)
