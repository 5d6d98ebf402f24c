"""``runner.py prune PORTFOLIO``: take away what old runs left and nobody needs, and say what that freed."""

from __future__ import annotations

import argparse

from attrition import params, pruning, safe, site
from attrition.alone import alone
from attrition.book import Book
from attrition.console import integer, now, stamp
from attrition.home import Home, UsageError
from attrition.recovery import recover

__all__ = ["configure", "main"]

CENTURY = 36_525
"""Days; with many more there is no date so long ago."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument(
        "--days", type=integer(0, CENTURY), default=365, metavar="N", help="what is younger stays (default 365)"
    )
    parser.add_argument(
        "--keep", type=integer(0), default=200, metavar="N", help="the newest N runs stay (default 200)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Prune; returns the exit status."""
    place = home.place(arguments.portfolio)
    portfolio = params.load(place.params)
    if not safe.exists(place.book):
        raise UsageError(f"{place.name}: no tick has run yet: there is nothing to prune")
    at = now()
    with alone(place, stamp(at)), Book.open(place.book) as book:
        recover(place, book, stamp(at))
        chosen = pruning.plan(place, book, at, days=arguments.days, keep=arguments.keep)
        if not arguments.dry_run:
            pruning.carry_out(place, portfolio, book, chosen, stamp(at))
            site.write(place, portfolio, book)
    for name in chosen.runs:
        print(f"run {name}: notebooks, pages, files and drops")
    for version in chosen.models:
        print(f"model {version}")
    for version in chosen.damaged:
        path = place.models / version
        print(f"no model goes: {path} does not say which one it begins with: restore its manifest.json from a backup")
    did = "would be freed" if arguments.dry_run else "freed"
    print(f"{place.name}: {len(chosen.runs)} runs, {len(chosen.models)} models, {chosen.bytes / 1e6:,.1f} MB {did}")
    return 0
