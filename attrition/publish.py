"""Which page stands where: the pages of a stage, a run, a portfolio and the home, each written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrition import pages, safe
from attrition.book import Book, Unreadable
from attrition.home import Home, Place
from attrition.params import Portfolio
from attrition.runs import ACCOUNT, Run

__all__ = ["RUNS_A_PAGE", "index_pages", "report_path", "run_page", "stage_page"]

RUNS_A_PAGE = 100


def stage_page(run: Run, notebook: str) -> str:
    """Write the page of an executed notebook beside it; its file name."""
    path = (run.folder / notebook).with_suffix(".html")
    crumbs = [(run.report["portfolio"], "../index.html"), (run.name, "index.html")]
    safe.write(path, pages.notebook(run.folder / notebook, title=path.stem, crumbs=crumbs))
    return path.name


def run_page(run: Run, portfolio: Portfolio) -> None:
    """Write a run's own page."""
    safe.write(run.folder / "index.html", pages.run(run.report, title=portfolio.title))


def report_path(run: Run) -> Path:
    """The page that answers a reader best: the report of a run that ended well, else the run's own."""
    report = run.folder / "80_report.html"
    return report if run.report["status"] == "completed" and report.exists() else run.folder / "index.html"


def index_pages(place: Place, portfolio: Portfolio, book: Book) -> None:
    """Write the portfolio's newest lists of runs, and the home's list of portfolios.

    Lists are numbered from the oldest, so that only the newest changes, and the one before it, which was the
    newest until this run; however many runs there are. Until they stand, `Place.at_work` does.
    """
    runs = book.state().runs
    last = max(1, -(-runs // RUNS_A_PAGE))
    for page in range(max(1, last - 1), last + 1):
        newest = min(runs, page * RUNS_A_PAGE)
        rows = book.runs(limit=newest - (page - 1) * RUNS_A_PAGE, before=newest + 1)
        _missing(place, portfolio, rows)
        html = pages.runs(
            place.name, portfolio.title, [_row(row) for row in rows], page=page, pages=last, state=_state(book)
        )
        safe.write(place.executed / f"runs-{page}.html", html)
    safe.write(place.executed / "index.html", html)
    _home_page(Home(place.root))
    place.at_work.unlink(missing_ok=True)


def _missing(place: Place, portfolio: Portfolio, rows: list[dict[str, Any]]) -> None:
    """Write the pages that lists would name and that are not there: a tick was killed right after it closed a run."""
    for folder in (place.executed / row["run"] for row in rows):
        if (folder / ACCOUNT).exists() and not (folder / "index.html").exists():
            run_page(Run.read(folder), portfolio)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "report": f"{row['run']}/index.html", "seconds": sum((row["seconds"] or {}).values()) or None}


def _state(book: Book) -> dict[str, Any]:
    deployed = book.deployments(1)
    decided = next((row for row in book.runs(limit=RUNS_A_PAGE) if row["decision"]), None)
    return {
        **({"model": deployed[0]["version"], **deployed[0]} if deployed else {}),
        "challenger": book.state().challenger,
        **({key: decided[key] for key in ("decision", "reason")} if decided else {}),
    }


def _home_page(home: Home) -> None:
    portfolios = []
    for name in home.portfolios():
        place = home.place(name)
        if not (place.executed / "index.html").exists():
            continue
        try:
            with Book.open(place.book, read_only=True) as book:
                newest = book.runs(limit=1)[0]
        except (FileNotFoundError, Unreadable, IndexError):  # another portfolio's trouble, which its own tick tells
            continue
        portfolios.append(
            {
                **{"name": name, "title": name, "href": f"{name}/index.html"},
                **{"decision": newest["decision"], "model": newest["model"]},
                **{"last_run": newest["started_at"], "fresh_at": newest["finished_at"]},
            }
        )
    safe.write(home.root / "executed" / "index.html", pages.home(portfolios))
