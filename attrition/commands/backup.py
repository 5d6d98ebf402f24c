"""``runner.py backup DEST``: the home, or some portfolios, copied into a new folder, also while runs are at work."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from attrition import backups, registry, safe
from attrition.console import now, plain, stamp
from attrition.home import Home, Place
from attrition.store.drops import spoken

__all__ = ["configure", "main"]

MOST = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("dest", type=Path, help="a new folder, best on another disk")
    parser.add_argument("--portfolio", action="append", metavar="NAME", help="only this one; may be given again")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Back up; returns the exit status.

    Raises:
        UsageError: there is nothing to back up, or it cannot be at the moment.
    """
    names = arguments.portfolio or [*home.all_portfolios(), *home.without_yaml()]
    made = backups.backup(home, arguments.dest.absolute(), names, stamp(now()))
    print(f"{', '.join(names)}: {made.files:,} files, {made.bytes / 1e6:,.1f} MB in {arguments.dest}")
    for name in filter(home.lost().__contains__, names):
        print(f"{name}: without its YAML: {home.place(name).gone}")
    for name in names:
        if version := _lacking(home.place(name)):
            print(f"{name}: model {version} is deployed, and its files are gone: keep the backups that have them")
    if made.left_out:
        which = plain(", ".join(map(spoken, made.left_out)))
        print(f"left out, as they may still be written to: {which}. The next backup has them.")
    if made.odd:
        rest = f" and {len(made.odd) - MOST:,} more" if len(made.odd) > MOST else ""
        which = plain(", ".join(map(spoken, made.odd[:MOST])))
        print(f"not in it, as they are links, pipes or the like and no files: {which}{rest}")
    return 0


def _lacking(place: Place) -> str | None:
    """The deployed version, if its files are not there."""
    with suppress(registry.ModelRefused):  # what is wrong with current.json the doctor says
        current = registry.current(place.models)
        if current and not all(map(safe.exists, place.version_files(current.version))):
            return current.version
    return None
