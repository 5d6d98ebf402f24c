"""The pages of a run, written into its folder: one a stage, its own, and it beside the run before."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrition import pages, safe
from attrition.book import Book
from attrition.home import Place
from attrition.params import Portfolio
from attrition.runs import Run

__all__ = ["report_path", "run_page", "stage_page"]


def stage_page(run: Run, notebook: str) -> str:
    """Write the page of an executed notebook beside it; its file name."""
    path = (run.folder / notebook).with_suffix(".html")
    crumbs = [("Attrition", "../../index.html"), (run.report["portfolio"], "../index.html")]
    crumbs.append((f"Run {int(run.name.rpartition('-')[2])}", "index.html"))
    safe.write(path, pages.notebook(run.folder / notebook, title=path.stem, crumbs=crumbs))
    return path.name


def run_page(place: Place, run: Run, portfolio: Portfolio, book: Book) -> None:
    """Write a run's own page, and the run beside the one before where that was published with one."""
    before, one = _before(place, run, book) or (None, {})
    page = pages.run(
        run.report,
        title=portfolio.title,
        recorded=run.recorded(),
        broken=_broken(run),
        previous=before is not None,
    )
    both = {"index": page}
    if before is not None:
        hrefs = (f"../{before.name}/index.html", "index.html")
        other = json.loads(page.json())
        both["compare"] = pages.compare(one, other, title=portfolio.title, hrefs=hrefs, file="compare.html")
    for name, each in both.items():
        safe.write(run.folder / f"{name}.json", each.json())
        safe.write(run.folder / f"{name}.html", each.html())


def report_path(run: Run) -> Path:
    """The page that answers a reader best: the run's own."""
    return run.folder / "index.html"


def _before(place: Place, run: Run, book: Book) -> tuple[Path, dict[str, Any]] | None:
    """The folder of the newest run before this one that has a page with its twin, and the twin."""
    for line in book.runs(limit=3, before=int(run.name.rpartition("-")[2])):
        folder = place.executed / str(line["run"])
        with suppress(FileNotFoundError, ValueError):  # cut short before it had one, or damaged
            return folder, json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return None


def _broken(run: Run) -> dict[str, str]:
    failed = next((line for line in run.report["stages"] if line["status"] == "failed"), None)
    return pages.failed_cell(run.folder / failed["notebook"]) if failed else {}
