"""``runner.py show PORTFOLIO [RUN]``: one run, the newest where none is named."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from attrition import safe
from attrition.book import Book
from attrition.console import plain
from attrition.home import RUN, Home, Place, UsageError
from attrition.runs import Run

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument("run", nargs="?", help="the newest, if none is named")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Print the run; returns the exit status."""
    place = home.place(arguments.portfolio)
    run = Run.read(_folder(place, arguments.run or _newest(place)))
    report = run.report
    print(f"{report['run']}  {report['status']}  {report['decision'] or 'no decision'}")
    print(plain(report["reason"] or "at work"))
    counts = report["rows"]
    print("rows: " + ", ".join(f"{counts[key]:,} {key}" for key in ("in", "ingested", "duplicates", "quarantined")))
    for stage in report["stages"]:
        seconds = f"{stage['seconds']:.1f} s" if stage["seconds"] is not None else ""
        note = stage.get("reason") or (_cell(run.folder / stage["notebook"]) if stage["status"] == "running" else "")
        print(f"  {stage['name']:<9} {stage['status']:<11} {seconds:>8}  {plain(note)}".rstrip())
    if safe.exists(run.folder / "index.html"):
        print(f"report: {run.folder / 'index.html'}")
    return 0


def _cell(notebook: Path) -> str:
    """Where a stage at work is, as it was last saved."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except FileNotFoundError:
        return "its kernel starts"
    done = sum(cell["metadata"]["papermill"]["status"] in ("completed", "failed") for cell in cells)
    return f"in cell {min(done + 1, len(cells))} of {len(cells)}"


def _newest(place: Place) -> str:
    if safe.exists(place.book):
        with Book.open(place.book, read_only=True) as book:
            runs = book.runs(limit=1)
        if runs:
            return str(runs[0]["run"])
    raise UsageError(f"{place.name}: no run yet; start with: runner.py tick {place.name}")


def _folder(place: Place, run: str) -> Path:
    if RUN.fullmatch(run):
        for folder in (place.executed / run, place.staging / run):
            if safe.exists(folder / "run.json"):
                return folder
    raise UsageError(f"{place.name}: no run {run[:40]!r}; the list: runner.py runs {place.name}")
