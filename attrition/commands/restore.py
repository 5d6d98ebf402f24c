"""``runner.py restore SRC``: a home, or some portfolios, from a backup, verified before anything is touched."""

from __future__ import annotations

import argparse
from pathlib import Path

from attrition import backups, params, safe, site
from attrition.book import Book
from attrition.home import Home

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("src", type=Path, help="what backup made")
    parser.add_argument(
        "--portfolio", action="append", metavar="NAME", default=[], help="only this one; may be repeated"
    )


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Restore; returns the exit status."""
    names = backups.restore(home, arguments.src.absolute(), arguments.portfolio)
    for name in names:
        place = home.place(name)
        safe.make_folder(place.incoming)
        safe.make_folder(place.executed)  # of a backup that is older than the first run's page
        if safe.exists(place.book):
            with Book.open(place.book) as book:
                site.write(place, params.load(place.params), book)
    print(f"restored: {', '.join(names)}. The next tick goes on where the backup was made.")
    return 0
