"""Row 8: two and eight runners at once; one that sleeps under its lock while somebody removes the lock's file; and a
kernel that outlives its runner, and goes on writing while the next one is at work or behind it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from attrition.home import Place
from attrition.kernels import CellFailed, Failure
from campaign import kit
from campaign.cases import case, mended
from campaign.harness import Result, Started, child, copied, scratch
from campaign.shim import Fault, Mode

HELD = 75
KERNEL = 180
"""About as many file-system steps as the kernels of a tick take."""
TICK = 560


def run(count: int, seed: int) -> Result:
    """``count`` cases, in turn: two at once, eight at once, a sleeper, one whose lock was taken away, an orphan."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        given = case("second", folder)
        begun = time.monotonic()
        with copied(given.start, folder / "timed") as place:
            child(lambda: kit.tick(place))
        length = time.monotonic() - begun
        ways = (_at_once(2), _at_once(8), _sleeper, _robbed, _orphan)
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


def _orphan(place: Place, chance: Random, _length: float) -> list[str]:
    """A kernel is held at a step and its runner killed; it goes on while the next tick is held, or has ended.

    A real kernel dies with its runner (tests/test_faults.py); this is one that did not.
    """
    here, there = Pipe()
    kernel = Started(lambda: _serve(there, here), Fault(Mode.HOLD, chance.randrange(KERNEL)), place.root)
    runner = Started(lambda: kit.tick(place, executing=_asking(here, there)))
    here.close()
    there.close()
    kernel.held()
    runner.kill()
    runner.ended()
    at = chance.choice([chance.randrange(TICK), 10 * TICK])  # within the next tick, or behind it
    following = Started(lambda: kit.tick(place), Fault(Mode.HOLD, at), place.root)
    following.held()
    kernel.go_on()
    kernel.ended()
    status = following.ended().value
    return [] if status in (0, 1) else [f"the tick beside an orphan ended with {status}"]


def _serve(mine: Connection, other: Connection) -> None:
    """Execute what the runner asks for, as long as there is one."""
    other.close()
    while True:
        try:
            notebook, output, parameters = mine.recv()
        except EOFError:
            return
        failure = None
        try:
            kit.execute(notebook, output, parameters)
        except CellFailed as error:
            failure = error.failure
        mine.send(failure)


def _asking(mine: Connection, other: Connection) -> Callable[..., float]:
    """What executes a stage in the other process."""

    def execute(notebook: Path, output: Path, parameters: Mapping[str, Any], **_: Any) -> float:
        other.close()
        mine.send((notebook, output, dict(parameters)))
        failure: Failure | None = mine.recv()
        if failure is not None:
            raise CellFailed(notebook.name, failure, 0.0)
        return 0.0

    return execute
