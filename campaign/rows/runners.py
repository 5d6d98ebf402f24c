"""Row 8: two and eight runners at once, and one that sleeps under its lock while somebody removes the lock's file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from random import Random

from attrition.home import Place
from campaign import kit
from campaign.cases import case, mended
from campaign.harness import Result, child, copied, scratch

HELD = 75


def run(count: int, seed: int) -> Result:
    """``count`` cases, in turn: two at once, eight at once, a sleeper, a sleeper whose lock was taken away."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        given = case("second", folder)
        begun = time.monotonic()
        with copied(given.start, folder / "timed") as place:
            child(lambda: kit.tick(place))
        length = time.monotonic() - begun
        ways = (_at_once(2), _at_once(8), _sleeper, _robbed)
        for number in range(count):
            way = ways[number % len(ways)]
            with copied(given.start, folder / "home") as place:
                wrong = way(place, chance, length)
                result.case(f"case {number}", wrong + mended(place, given))
    return result


def _started(place: Place) -> int:
    pid = os.fork()
    if pid == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        status = 70
        try:
            status = kit.tick(place)
        finally:
            os._exit(status)
    return pid


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _at_once(runners: int) -> Callable[[Place, Random, float], list[str]]:
    def work(place: Place, chance: Random, length: float) -> list[str]:
        pids = []
        for _ in range(runners):
            pids.append(_started(place))
            time.sleep(chance.uniform(0, length / 2 / runners))
        statuses = [_ended(pid) for pid in pids]
        fine = set(statuses) <= {0, HELD} and 0 in statuses
        return [] if fine else [f"{runners} at once ended with {statuses}"]

    return work


def _sleeper(place: Place, chance: Random, length: float) -> list[str]:
    pid = _asleep(place, chance, length)
    other = child(lambda: kit.tick(place)).value
    os.kill(pid, signal.SIGCONT)
    mine = _ended(pid)
    # Before its lock, or after its end, the sleeper keeps nobody out.
    fine = mine in (0, HELD) and other in (0, HELD)
    return [] if fine else [f"the sleeper ended with {mine}, the other with {other}"]


def _robbed(place: Place, chance: Random, length: float) -> list[str]:
    """The lock's file is removed under a sleeper: a second runner does all, and the first must commit nothing more."""
    pid = _asleep(place, chance, length)
    place.lock.unlink(missing_ok=True)
    other = child(lambda: kit.tick(place)).value
    os.kill(pid, signal.SIGCONT)
    mine = _ended(pid)
    return [] if other == 0 and mine in (0, 1) else [f"the sleeper ended with {mine}, the other with {other}"]


def _asleep(place: Place, chance: Random, length: float) -> int:
    pid = _started(place)
    time.sleep(chance.uniform(0, length))
    os.kill(pid, signal.SIGSTOP)
    return pid
