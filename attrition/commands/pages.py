"""``runner.py pages PORTFOLIO | --all``: write all pages anew, from what was recorded.

After an update that changes how pages look, or in a home that was made before some of them were. Nothing is decided,
and no notebook runs.
"""

from __future__ import annotations

import argparse
from contextlib import suppress

from attrition import params, publish, safe, site
from attrition.alone import alone
from attrition.book import Book
from attrition.console import now, stamp
from attrition.home import Home, Place
from attrition.pages.notebook import NotebookError
from attrition.recovery import recover
from attrition.runs import Run, published

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("portfolio", nargs="?")
    which.add_argument("--all", action="store_true", help="of every portfolio that has had a run")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Write them; returns the exit status."""
    names = home.all_portfolios() if arguments.all else [arguments.portfolio]
    for name in names:
        place = home.place(name)
        portfolio = params.load(place.params)
        if not safe.exists(place.book):
            continue
        at = stamp(now())
        with alone(place, at), Book.open(place.book) as book:
            recover(place, book, at)  # what a run left that was killed, while the mark of it is there
            print(f"{name}: {_anew(place, portfolio, book):,} runs, their pages written anew")
    return 0


def _anew(place: Place, portfolio: params.Portfolio, book: Book) -> int:
    """All pages of one portfolio; how many runs it has."""
    done, before = 0, 0
    place.begin_lists()
    for folder in published(place):
        run = Run.read(folder)
        for stage in run.report["stages"]:
            if safe.exists(run.folder / stage["notebook"]):
                with suppress(NotebookError):  # damaged: the page that it has stays
                    publish.stage_page(run, stage["notebook"])
        publish.run_page(place, run, portfolio, book)
        done += 1
    # The first list goes first and comes last: while it is there, a tick takes the others to be there too.
    for stale in sorted(safe.entries(place.executed / "clients"), key=lambda path: path.name != "index.html"):
        stale.unlink()
    (place.executed / "history.json").unlink(missing_ok=True)
    site.write(place, portfolio, book)
    while before < book.state().runs:  # lists that no run writes any more
        before += site.RUNS_A_PAGE
        site.runs_page(place, portfolio, book, before // site.RUNS_A_PAGE)
    for model in book.models():
        site.model_page(place, portfolio, book, model["version"])
    return done
