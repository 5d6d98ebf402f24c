"""``runner.py runs PORTFOLIO``: past runs, newest first."""

from __future__ import annotations

import argparse
import json

from attrition import safe
from attrition.book import Book
from attrition.console import integer, plain
from attrition.home import Home, UsageError

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON document")
    parser.add_argument("--limit", type=integer(1), default=50, metavar="N", help="at most N runs (default 50)")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Print the list; returns the exit status."""
    place = home.place(arguments.portfolio)
    if not safe.exists(place.book):
        raise UsageError(f"{place.name}: no tick has run yet; start with: runner.py tick {place.name}")
    with Book.open(place.book, read_only=True) as book:
        runs, quiet = book.runs(limit=arguments.limit), book.quiet_since()
    if arguments.json:
        print(json.dumps({"portfolio": place.name, "quiet": quiet, "runs": runs}, indent=1))
        return 0
    if quiet:
        print(f"quiet since {quiet['since']}: {quiet['ticks']} ticks without work, the last at {quiet['last']}")
    for run in runs:
        reason = plain(run["reason"] or "at work")
        kind = f"{run['status']}{' (manual)' if run['manual'] else ''}"
        print(f"{run['run']}  {kind:<12} {run['decision'] or '-':<11} model {run['model'] or '-':<5} {reason}")
    return 0
