"""``runner.py simulate``: let clients of the portfolio demo arrive.

Alone, it lays the next drop into ``incoming/``. With ``--history FOLDER`` it plays 208 weeks in a home of
its own by a simulated clock: a drop a week, half-way through clients begin to open many more tickets, and
a tick takes many weeks' drops at once, so that it is over in two minutes.
"""

from __future__ import annotations

import argparse
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from attrition import safe
from attrition.book import Book
from attrition.console import FAILED
from attrition.generator import Stream, stream, write_drop
from attrition.home import PARTS, Home, Place, UsageError

__all__ = ["configure", "main"]

PORTFOLIO = "demo"
START = date(2022, 11, 28)
ROWS = 520  # clients in a drop of its own
UNLABELLED = 0.1
WEEKS, CHANGE, ROWS_A_WEEK = 208, 104, 40
VISITS = (60, 104, 120, 150, 208)  # weeks after which a tick looks
QUIET = 4  # quiet ticks after each visit


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("--history", type=Path, metavar="FOLDER", help="play a history in this home, made anew")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Lay down a drop, or play the history; returns the exit status.

    Raises:
        UsageError: this home has no such portfolio, or the folder was not made by a simulation.
    """
    if arguments.history:
        return _history(_fresh(arguments.history.resolve()))
    place = home.place(PORTFOLIO)
    if not safe.exists(place.params):
        raise UsageError(
            f"{place.params} is missing, and without it no tick takes a drop: is its disk there? "
            "A home that has it: runner.py new DIR, or runner.py simulate --history DIR"
        )
    number = _drops_so_far(place)
    source = stream("none", seed=1, change=0, start=START)
    path = _drop(place, source, number, ROWS)
    print(f"{PORTFOLIO}: {ROWS} clients wait in {path}")
    return 0


def _drop(place: Place, source: Stream, number: int, rows: int) -> Path:
    path = safe.make_folder(place.incoming) / f"clients-{number:04d}.csv"
    write_drop(source.tick(number, rows, unlabelled=UNLABELLED), path)
    safe.write(path.with_name(f"{path.name}.done"), "")
    return path


def _drops_so_far(place: Place) -> int:
    waiting = len(safe.entries(place.incoming, "clients-*.csv"))
    if not safe.exists(place.book):
        return waiting
    with Book.open(place.book, read_only=True) as book:
        return waiting + book.drop_count()


def _fresh(root: Path) -> Home:
    """An empty home with the portfolio demo; a folder that is not such a home is left alone."""
    mark = root / ".simulated"
    if safe.exists(root) and not safe.exists(mark):
        raise UsageError(f"{root} is there already and was not made by a simulation: name another folder")
    shutil.rmtree(root, ignore_errors=True)
    safe.make_folder(root / "params")
    safe.write(mark, "made by runner.py simulate --history, which removes it to play again\n")
    shutil.copy(PARTS / "params" / f"{PORTFOLIO}.yaml", root / "params")
    return Home(root)


def _history(home: Home) -> int:
    from runner import tick

    place = home.place(PORTFOLIO)
    source = stream("covariate_harmful", seed=1, change=CHANGE, start=START)
    today = datetime(START.year, START.month, START.day, 3, 15, tzinfo=UTC)
    real = datetime.now(UTC)

    def clock() -> datetime:
        return today + (datetime.now(UTC) - real)

    week = 0
    for visit in VISITS:
        for number in range(week, visit):
            _drop(place, source, number, ROWS_A_WEEK)
        today += timedelta(weeks=visit - week)
        week = visit
        for _ in range(1 + QUIET):
            if tick(home, PORTFOLIO, clock=clock) == FAILED:
                return FAILED
            today += timedelta(minutes=15)
    print(f"{WEEKS} drops, {WEEKS * ROWS_A_WEEK:,} clients; from week {CHANGE} on they open many more tickets")
    print(f"the history: {place.executed / 'index.html'}")
    return 0
