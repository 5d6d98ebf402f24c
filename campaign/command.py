"""The command line of the campaign."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from campaign import table
from campaign.harness import JOBS, PART, UNTIL, Found, Result, warm

__all__ = ["ROWS", "Row", "main"]


SHOWN = 40  # failures of a row
WHOLE = "1/1"  # part of it


@dataclass(frozen=True)
class Row:
    """One row of the table: which fault, how it is made, the function that does it, and how often."""

    fault: str
    how: str
    at: str  # module:function below campaign.rows
    full: int
    short: int

    @property
    def run(self) -> Callable[[int, int], Result]:
        """The function."""
        module, _, name = self.at.partition(":")
        function: Callable[[int, int], Result] = getattr(import_module(f"campaign.rows.{module}"), name)
        return function


SHIM = "preloaded library"
ROWS: dict[int, Row] = {
    1: Row("SIGKILL before and after every file-system step", SHIM, "kills:steps", 10_000, 8),
    2: Row("SIGKILL at random moments, also while recovering", "a timer", "kills:moments", 1_000, 4),
    3: Row("SIGKILL of runner, kernel, helper, all", "the real runner and kernels", "processes:kills", 50, 0),
    4: Row("power loss: what was not synced dropped, torn, reordered", "replay of writes", "power:run", 5_000, 12),
    5: Row(
        "ENOSPC EIO EACCES EROFS EMFILE EINTR, short reads and writes",
        f"{SHIM}; a sample by strace",
        "errors:run",
        20_000,
        12,
    ),
    6: Row("disk or inodes full, then free again", "tmpfs sizes", "space:run", 200, 3),
    7: Row("kernel out of memory, in each stage", "memory limit, SIGKILL", "processes:memory", 16, 0),
    8: Row("runners at once; a sleeper; a lock taken away; an orphan kernel", "processes", "runners:run", 200, 6),
    9: Row(
        "model, manifest, current.json flipped, cut, swapped",
        "each byte and length",
        "models:run",
        10**9,
        400,
    ),
    10: Row("drops that grow, are renamed, come twice, are replaced", "schedules", "arrivals:run", 500, 2),
    11: Row("clocks that jump, daylight saving, leap day", "the tick's clock, and all", "clocks:jumps", 40, 3),
    12: Row("a year of ticks every 15 minutes", "simulated", "clocks:year", 35_040, 150),
    13: Row("histories of 50 steps beside a dictionary", "hypothesis", "machine:run", 2_000, 0),
    14: Row("PostgreSQL cut at each message, server killed", "proxy", "queries:run", 300, 8),
    15: Row("cron's reality: no environment, another user, cron itself", "the real runner", "cron:run", 15, 0),
    16: Row("backup during a run, restored into an empty folder", "both held at a step", "copies:run", 50, 3),
    17: Row("secrets: canaries in what is left", "the real runner", "canaries:run", 25, 0),
}
"""Short: 0 is left out of CI's form, where a named test does the same (tests/test_faults.py, tests/test_runner.py)."""


def main(words: Sequence[str] | None = None) -> int:
    """Run rows; 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="campaign")
    parser.add_argument("--row", type=int, action="append", choices=sorted(ROWS))
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="processes that do the cases of rows 1, 2, 4, 5, 10 and 13")
    parser.add_argument(
        "--minutes", type=float, help="begin no case of these rows after so long; the table says how many were run"
    )
    parser.add_argument("--write", type=Path, action="append", default=[], help="put the rows into this file's table")
    parser.add_argument("--part", type=_part, default=WHOLE, help="2/6: of row 5 the second sixth of the steps")
    given = parser.parse_args(words)
    if given.part != WHOLE and given.row != [5]:
        parser.error("only row 5 is done in parts of its cases: --row 5 --part 2/6")
    os.environ |= {JOBS: str(max(1, given.jobs)), PART: given.part}
    if given.minutes:
        os.environ[UNTIL] = str(time.monotonic() + 60 * given.minutes)
    warm()
    failed = 0
    for number in given.row or sorted(ROWS):
        count = given.count or (ROWS[number].short if given.short else ROWS[number].full)
        if count:
            done = _done(ROWS[number], count, given.seed)
            if not (done.cases or done.skipped):  # no line: what is asked of nothing holds, and is seen by nobody
                print(f"row {number}: no case was made", file=sys.stderr)
                failed += 1
                continue
            failed += len(done.failures)
            print(line := _line(number, done, given.seed), flush=True)
            for path in given.write:  # at once: all rows take hours
                table.write(path, [line])
            for note in done.notes:
                print(f"  {note}")
            for failure in done.failures[:SHOWN]:
                print(f"  {failure}", file=sys.stderr)
    return 1 if failed else 0


def _part(given: str) -> str:
    """As it is given, if there is such a part."""
    number, _, parts = given.partition("/")
    if not 1 <= int(number) <= int(parts):
        raise ValueError(given)
    return given


def _done(row: Row, count: int, seed: int) -> Result:
    begun = time.monotonic()
    try:
        result = row.run(count, seed)
    except Found as found:
        result = found.result
    result.seconds = time.monotonic() - begun
    return result


def _line(number: int, done: Result, seed: int) -> table.Line:
    row = ROWS[number]
    part = "" if os.environ[PART] == WHOLE else f" {os.environ[PART]}"
    return table.Line(
        number,
        row.fault,
        row.how,
        done.cases,
        done.whole or row.full,
        len(done.failures),
        f"{seed}{part}",
        round(done.seconds),
        table.code(),
        f"{datetime.now(UTC).date()}",
        done.skipped,
    )
