"""``runner.py forget PORTFOLIO CLIENT --reason TEXT``: erase a client from everything, and record that it was done."""

from __future__ import annotations

import argparse
from typing import Any

from attrition import forgetting, params, safe
from attrition.alone import alone
from attrition.book import Book
from attrition.console import now, stamp, user
from attrition.home import Home, UsageError
from attrition.recovery import recover

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument("client", help="the id, as a file has it or as pages show it")
    parser.add_argument("--reason", required=True, help="why, for those who read the record; without the id")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Forget; returns the exit status."""
    place = home.place(arguments.portfolio)
    portfolio = params.load(place.params)
    if not arguments.reason.strip():
        raise UsageError("--reason is empty: say why, for those who read the record")
    if not safe.exists(place.book):
        raise UsageError(f"{place.name}: no tick has run yet: there is nobody to forget")
    at = stamp(now())
    with alone(place, at), Book.open(place.book) as book:
        recover(place, book, at)
        if (done := forgetting.finish(place, book)) is not None:
            print(f"{place.name}: {done['run']} finished what was cut short: {done['rows']:,} rows")
            _note(done)
        reason = arguments.reason.strip()
        forgetting.begin(place, portfolio, arguments.client, reason=reason, by=user(), at=at)
        done = forgetting.finish(place, book) or {}
    print(f"{place.name}: {done['run']} forgot a client: {done['rows']:,} rows of clients/, {done['files']:,} files")
    _note(done)
    print("Backups made before still hold the client; files in incoming/ may bring the client back.")
    return 0


def _note(done: dict[str, Any]) -> None:
    if done["note"]:
        print(done["note"])
