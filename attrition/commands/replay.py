"""``runner.py replay PORTFOLIO RUN``: execute a past run once more from its record; does all come out the same?"""

from __future__ import annotations

import argparse
import json
import re
from functools import partial

from attrition import replaying, safe
from attrition.book import Book
from attrition.console import DONE, FAILED, plain, say
from attrition.home import Home, UsageError
from attrition.signals import heeded

__all__ = ["configure", "main"]

NUMBER = r"[0-9]{1,18}"
"""Of a run; SQLite knows no longer ones."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument("run", help="its name, or its number")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON document")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Replay; the exit status is 1 where something comes out otherwise."""
    place = home.place(arguments.portfolio)
    if not safe.exists(place.book):
        raise UsageError(f"{place.name}: no tick has run yet")
    name = arguments.run
    if re.fullmatch(NUMBER, name):
        with Book.open(place.book, read_only=True) as book:
            wanted = [each for each in book.runs(limit=1, before=int(name) + 1) if each["number"] == int(name)]
        name = str(wanted[0]["run"]) if wanted else name
    with heeded() as stop:
        found = replaying.replay(place, name, stop, partial(say, place))
    if arguments.json:
        print(json.dumps(found.to_dict(), indent=1))
        return DONE if found.same else FAILED
    for stage in found.stages:
        told = f"{len(stage.differences)} differ" if stage.differences else "the same"
        print(f"{stage.stage:<10} {stage.compared:>4} compared, {told}")
        for line in stage.differences:
            print(f"           differs: {plain(line)}")
        for line in stage.not_compared:
            print(f"           not compared: {plain(line)}")
    for line in found.lost:
        print(f"lost: {plain(line)}")
    print(f"{place.name}: {found.run} {'came out the same' if found.same else 'came out OTHERWISE'}")
    return DONE if found.same else FAILED
