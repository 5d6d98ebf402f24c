"""Rows 11 and 12: clocks that jump, and a year of ticks."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from attrition.home import Place
from campaign import disk, kit, oracle, real, shim, sink
from campaign.cases import case, mended
from campaign.harness import Result, child, copied, scratch
from campaign.shim import Fault, Kind, Mode
from campaign.telling import Ticked, runs

MOMENTS = {
    "ten years back": datetime(2016, 3, 1, 3, 15, tzinfo=UTC),
    "ten years forth": datetime(2036, 3, 1, 3, 15, tzinfo=UTC),
    "the hour that is skipped in spring": datetime(2026, 3, 29, 1, 0, 0, tzinfo=UTC),
    "the hour that comes twice in autumn": datetime(2026, 10, 25, 1, 0, 0, tzinfo=UTC),
    "leap day": datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
    "the beginning of time": datetime(1970, 1, 1, tzinfo=UTC),
    "after 2038": datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    "the same second": kit.BEGUN,
}
FEW_RUNS = 3
"""After so many a tick looks back on as many as it ever does."""
ZONES = ("UTC", "Europe/Berlin", "America/New_York")


def jumps(count: int, seed: int) -> Result:
    """The second tick, and two more, at other times: in every second case after a crash. In two of five the real runner
    and all below it, whose clocks are other ones: SQLite's, DuckDB's, its kernels'.
    """
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        _below(result, count // 5 * 2, chance, folder)
        given = case("second", folder)
        for number in range(count - result.cases):
            words, moment = list(MOMENTS.items())[number % len(MOMENTS)]
            with copied(given.start, folder / "home") as place:
                crash, zone = number // len(MOMENTS) % 2, ZONES[number % len(ZONES)]
                fault = Fault(Mode.KILL_BEFORE, chance.randrange(700)) if crash else Fault(Mode.NOTE)
                ended = child(lambda p=place, m=moment, z=zone: _at(p, m, z), fault, place.root)  # type: ignore[misc]
                ticked = Ticked(ended.status or ended.value, ended.said, runs(given.start))
                result.case(f"{words}, {zone}, {fault}", mended(place, given, ticked))
    return result


def _below(result: Result, count: int, chance: Random, folder: Path) -> None:
    """A first tick at another time, which the library below Python gives, and those that follow at ours.

    In every second case the clock jumps there while the tick is at work.

    Not by faketime: what Debian has of it makes Python's `sleep` fail. The times of files stay the machine's.
    """
    length = 0.0
    with sink.serving() as hook:
        for number in range(count):
            words, moment = list(MOMENTS.items())[number // 2 % len(MOMENTS)]
            place, now = real.start(folder, hook), time.time()
            at = now + chance.uniform(0, length) if number % 2 else 0
            clock = f"{moment.timestamp() - (at or now):.0f}@{at:.0f}"
            done = real.ended(real.tick(place, {"LD_PRELOAD": str(shim.build()), shim.CLOCK: clock}))
            length = length or time.time() - now
            begun = [json.loads(path.read_text())["started_at"] for path in place.executed.glob("[12]*/run.json")]
            meant = [moment.timestamp(), *([now] if at else [])]
            late = [datetime.fromisoformat(start).timestamp() - each for start in begun for each in meant]
            right = len(begun) == 1 and any(-1 <= seconds < 300 for seconds in late)
            wrong = [] if right else [f"it began at {begun}: {done.said[-300:]}"]
            result.case(f"{words}, {clock}, below the tick", wrong + real.mended(place, done))
            sink.gone(place.root)


def _at(place: Place, moment: datetime, zone: str) -> int:
    os.environ["TZ"] = zone
    time.tzset()
    with _wall(moment):
        return kit.tick(place, at=moment)


@contextmanager
def _wall(moment: datetime) -> Iterator[None]:
    real, offset = time.time, moment.timestamp() - time.time()
    time.time = lambda: real() + offset
    try:
        yield
    finally:
        time.time = real


def year(count: int, seed: int) -> Result:
    """``count`` ticks a quarter of an hour apart, a drop every tenth of them; then steps and bytes are compared."""
    result = Result()
    with scratch() as folder:
        place = kit.home(folder / "home")
        kit.first_visit(place)
        child(lambda: kit.until_quiet(place))
        visits, between, used = 10, max(1, count // 10), []
        moment = kit.BEGUN
        for visit in range(visits):
            ended = child(lambda m=moment: _quiet(place, m, between), Fault(Mode.NOTE, kinds=_ALL), place.root)  # type: ignore[misc]
            if ended.status:
                raise AssertionError(ended.said[-2000:])
            used.append({**ended.value, "bytes": sum(len(each or b"") for each in disk.tree(place.root).values())})
            moment += timedelta(minutes=15 * between)
            result.case(f"visit {visit}", _grown(used))
            kit.drop(place, f"visit{visit}.csv", kit.rows(seed * 1000 + visit, 6))
            child(lambda m=moment: kit.tick(place, at=m))  # type: ignore[misc]
        drops = child(lambda: oracle.given(place)).value
        settled = child(lambda: [*map(str, kit.until_quiet(place)[1:]), *oracle.settled(place, drops)])
        result.case("the end", settled.value)
        result.cases = count
        first, last = used[0], used[-1]
        result.notes.append(
            f"a quiet tick in the first tenth and in the last: {first['steps']:.1f} and {last['steps']:.1f} steps of "
            f"the file system, {first['calls']:,} and {last['calls']:,} calls, {first['milliseconds']:.2f} and "
            f"{last['milliseconds']:.2f} ms of CPU; {last['grown'] / between:.1f} bytes"
        )
    return result


_ALL = tuple(Kind)


def _quiet(place: Place, begun: datetime, ticks: int) -> dict[str, float]:
    before = sum(len(each or b"") for each in disk.tree(place.root).values())
    calls = _calls(lambda: kit.tick(place, at=begun))
    start, busy = shim.steps(), time.process_time()
    for number in range(ticks):
        if kit.tick(place, at=begun + timedelta(minutes=15 * number)):
            raise AssertionError("a quiet tick failed")
    busy, made = time.process_time() - busy, shim.steps() - start  # before the files are read to be measured
    grown = sum(len(each or b"") for each in disk.tree(place.root).values()) - before
    return {"steps": made / ticks, "grown": grown, "calls": calls, "milliseconds": 1000 * busy / ticks}


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called: what time there is to be taken, without the noise of a clock."""
    events: list[None] = []
    sys.setprofile(lambda _frame, event, _of: events.append(None) if event in ("call", "c_call") else None)
    try:
        work()
    finally:
        sys.setprofile(None)
    return len(events)


def _grown(used: list[dict[str, float]]) -> list[str]:
    wrong = []
    if used[-1]["steps"] > used[0]["steps"] + 1:
        wrong.append(f"a quiet tick took {used[0]['steps']} steps at first, now {used[-1]['steps']}")
    early = used[: FEW_RUNS + 1][-1]["calls"]
    if used[-1]["calls"] > 1.01 * early:
        wrong.append(f"a quiet tick made {early} calls at first, now {used[-1]['calls']}")
    if used[-1]["grown"] > 8192:
        wrong.append(f"quiet ticks alone made the home {used[-1]['grown']} bytes larger")
    return wrong
