"""Rows 11 and 12: clocks that jump, and a year of ticks."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

from attrition.home import Place
from campaign import disk, kit, oracle, real, shim, sink
from campaign.cases import case, mended
from campaign.harness import Case, Named, Result, child, copied, drawn, scratch
from campaign.shim import Fault, Kind, Mode
from campaign.telling import Ticked, runs


@dataclass(frozen=True)
class Moment:
    """What a clock comes to; a tick begins at it, or, if it is to be ``crossed``, seconds before."""

    words: str
    at: datetime
    zone: str = "UTC"
    crossed: bool = True


MOMENTS = (
    Moment("an hour is skipped in spring", datetime(2026, 3, 29, 1, tzinfo=UTC), "Europe/Berlin"),
    Moment("an hour comes twice in autumn", datetime(2026, 10, 25, 1, tzinfo=UTC), "Europe/Berlin"),
    Moment("an hour is skipped in spring", datetime(2026, 3, 8, 7, tzinfo=UTC), "America/New_York"),
    Moment("half an hour comes twice in autumn", datetime(2026, 4, 4, 15, tzinfo=UTC), "Australia/Lord_Howe"),
    Moment("half an hour is skipped in spring", datetime(2026, 10, 3, 15, 30, tzinfo=UTC), "Australia/Lord_Howe"),
    Moment("an hour comes twice in autumn", datetime(2026, 11, 1, 6, tzinfo=UTC), "America/New_York"),
    Moment("ten years forth", datetime(2036, 3, 1, 3, 15, tzinfo=UTC), "Europe/Berlin", crossed=False),
    Moment("the beginning of time", datetime(1970, 1, 1, tzinfo=UTC), crossed=False),
    Moment("the end of leap day", datetime(2028, 3, 1, tzinfo=UTC)),
    Moment("the second that 32 bits do not hold", datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), "America/New_York"),
    Moment("ten years back", datetime(2016, 3, 1, 3, 15, tzinfo=UTC), crossed=False),
    Moment("the same second", kit.BEGUN, crossed=False),
)
MOST = {
    "quiet": {"steps": 1.0, "calls": 1.05, "milliseconds": 2.0, "bytes": 1.0},
    "working": {"steps": 1.7, "calls": 1.3, "milliseconds": 2.0, "bytes": 1.1},
}
"""How many times as much a tick may take at the end of the year. One that works looks back on what there is to list, up
to a hundred runs, and on the table's files until they are made few; one that is quiet on three runs."""
MANY = 1_000
"""Of fewer quiet ticks in a row the time is noise: it is not asked, as in the tests."""
RATE = 20.0
"""How fast the clock goes of a tick in our process: it takes half a second, and is to take ten."""
STEPS = 700
"""More than a tick takes, that its end is met too."""


def jumps(count: int, seed: int) -> Result:
    """The second tick, and two more, at other times: in every second case after a crash. In two of five the real runner
    and all below it, whose clocks are other ones: SQLite's, DuckDB's, its kernels'.
    """
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        _below(result, count // 5 * 2, chance, folder)
        given = case("second", folder)
        for number in range(count - result.cases):
            moment = MOMENTS[number % len(MOMENTS)]
            crash = chance if number // len(MOMENTS) % 2 else None
            result.case(*drawn(partial(_jumped, given, folder / "home", moment, chance, crash)))
    return result


def _jumped(given: Case, root: Path, moment: Moment, chance: Random, crash: Random | None) -> Named | None:
    """A tick at another time, killed at a step that ``crash`` chooses; None if it came to no such one."""
    fault = Fault(Mode.NOTE) if crash is None else Fault(Mode.KILL_BEFORE, crash.randrange(STEPS))
    begun = _before(moment, chance.uniform(0.1, 3))
    with copied(given.start, root) as place:
        ended = child(partial(_at, place, moment, begun), fault, place.root)
        if crash is not None and ended.status != -signal.SIGKILL:
            return None
        status, passed = ended.value or (ended.status, True)
        wrong = [] if passed else ["the tick did not cross it"]
        wrong += mended(place, given, Ticked(status, ended.said, runs(given.start)))
        return f"{moment.words}, {moment.zone}, {fault}", wrong


def _before(moment: Moment, seconds: float) -> float:
    return moment.at.timestamp() - (seconds if moment.crossed else 0)


def _below(result: Result, count: int, chance: Random, folder: Path) -> None:
    """A first tick at another time, which the library below Python gives, and those that follow at ours.

    In every second case the clock jumps there while the tick is at work.

    Not by faketime: what Debian has of it makes Python's `sleep` fail. The times of files stay the machine's.
    """
    length = 3.0  # of the shortest, from its process's start
    with sink.serving() as hook:
        for number in range(count):
            moment = MOMENTS[number // 2 % len(MOMENTS)]
            place, now = real.start(folder, hook), time.time()
            jump = now + chance.uniform(0, length) if number % 2 else 0
            begun = _before(moment, chance.uniform(1, 0.8 * length))
            clock = f"{begun - (jump or now):.0f}@{jump:.0f}"
            given = {"LD_PRELOAD": str(shim.build()), shim.CLOCK: clock, "TZ": moment.zone}
            done = real.ended(real.tick(place, given))
            length = min(length if number else 60.0, time.time() - now)
            wrong = _times(place, moment, [begun, *([now] if jump else [])], crossed=moment.crossed and not jump)
            wrong += [f"{done.said[-300:]}"] if wrong else []
            result.case(f"{moment.words}, {moment.zone}, {clock}, below the tick", wrong + real.mended(place, done))
            sink.gone(place.root)


def _times(place: Place, moment: Moment, meant: list[float], *, crossed: bool) -> list[str]:
    """What is wrong with when the only run says that it began and ended."""
    reports = [json.loads(path.read_text()) for path in place.executed.glob("[12]*/run.json")]
    if len(reports) != 1:
        return [f"{len(reports)} runs"]
    begun, ended = (datetime.fromisoformat(reports[0][key]).timestamp() for key in ("started_at", "finished_at"))
    wrong = [] if any(-1 <= begun - each < 300 for each in meant) else [f"it began at {begun}, meant was {meant}"]
    return wrong + (["the tick did not cross it"] if crossed and ended < moment.at.timestamp() else [])


def _at(place: Place, moment: Moment, begun: float) -> tuple[int, bool]:
    """The tick's status, and whether its clock passed the moment, if it was to."""
    os.environ["TZ"] = moment.zone
    time.tzset()
    with _wall(begun):
        status = kit.tick(place, clock=lambda: datetime.fromtimestamp(time.time(), UTC))
        return status, not moment.crossed or begun < moment.at.timestamp() <= time.time()


@contextmanager
def _wall(begun: float) -> Iterator[None]:
    real, start = time.time, time.time()
    time.time = lambda: begun + RATE * (real() - start)
    try:
        yield
    finally:
        time.time = real


def year(count: int, seed: int) -> Result:
    """``count`` ticks a quarter of an hour apart, a drop every tenth of them; steps, calls, bytes and time of those
    that are quiet, and of those that work, must not grow with what was.
    """
    result = Result()
    with scratch() as folder:
        place = kit.home(folder / "home")
        kit.first_visit(place)
        child(lambda: kit.until_quiet(place))
        visits, between = 10, max(1, count // 10)
        timed = between >= MANY
        quiet, working, moment = [], [], kit.BEGUN
        for visit in range(visits):
            quiet.append(_used(place, moment, between))
            moment += timedelta(minutes=15 * between)
            kit.drop(place, f"visit{visit}.csv", kit.rows(seed * 1000 + visit, 6))
            working.append(_used(place, moment, 1))
            grown = (_grown(kind, used, timed=timed) for kind, used in (("quiet", quiet), ("working", working)))
            result.case(f"visit {visit}", [*itertools.chain(*grown)])
        drops = child(lambda: oracle.given(place)).value
        settled = child(lambda: [*map(str, kit.until_quiet(place)[1:]), *oracle.settled(place, drops)])
        result.case("the end", settled.value)
        result.cases = count
        for kind, used in (("quiet", quiet), ("working", working)):
            first, last = used[0], used[-1]
            result.notes.append(
                f"a {kind} tick in the first tenth and in the last: {first['steps']:.1f} and {last['steps']:.1f} steps "
                f"of the file system, {first['calls']:,} and {last['calls']:,} calls, {first['milliseconds']:.2f} and "
                f"{last['milliseconds']:.2f} ms of CPU; {first['bytes']:,.1f} and {last['bytes']:,.1f} bytes"
            )
    return result


def _used(place: Place, begun: datetime, ticks: int) -> dict[str, float]:
    """What each of some ticks takes."""
    before = _size(place)
    ended = child(lambda: _ticks(place, begun, ticks), Fault(Mode.NOTE, kinds=tuple(Kind)), place.root)
    if ended.status:
        raise AssertionError(ended.said[-2000:])
    used: dict[str, float] = ended.value
    return used | {"bytes": (_size(place) - before) / ticks}


def _size(place: Place) -> int:
    return sum(len(each or b"") for each in disk.tree(place.root).values())


def _ticks(place: Place, begun: datetime, ticks: int) -> dict[str, float]:
    """The calls of the first, as they are counted at a cost; the steps and the time of all, or of all others."""
    start, busy, calls = shim.steps(), time.process_time(), 0
    for number in range(ticks):
        at = begun + timedelta(minutes=15 * number)
        work = partial(kit.tick, place, clock=partial(_same, at))
        if number == 0:
            status, calls = _calls(work)
            busy = time.process_time() if ticks > 1 else busy
        else:
            status = work()
        if status:
            raise AssertionError("a tick failed")
    milliseconds = 1000 * (time.process_time() - busy) / max(1, ticks - 1)
    return {"steps": (shim.steps() - start) / ticks, "calls": calls, "milliseconds": milliseconds}


def _same(at: datetime) -> datetime:
    return at


def _calls(work: Callable[[], int]) -> tuple[int, int]:
    """What it returns; how many functions are called: what time there is to be taken, without the noise of a clock."""
    events: list[None] = []
    sys.setprofile(lambda _frame, event, _of: events.append(None) if event in ("call", "c_call") else None)
    try:
        status = work()
    finally:
        sys.setprofile(None)
    return status, len(events)


def _grown(kind: str, used: list[dict[str, float]], *, timed: bool = True) -> list[str]:
    """In what the cheapest of three ticks takes more than the cheapest of the first ones, also in time if ``timed``;
    every tenth or so is dearer, as it makes few files of many.
    """
    least = [{what: min(each[what] for each in some) for what in MOST[kind]} for some in (used[:4], used[-3:])]
    return [
        f"a {kind} tick took {least[0][what]:,.1f} {what} at first, now {least[1][what]:,.1f}"
        for what, factor in MOST[kind].items()
        if (timed or what != "milliseconds") and least[1][what] > factor * least[0][what] + 1
    ]
