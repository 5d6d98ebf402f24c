"""Row 8: two and eight runners at once, some with their real kernels; one that sleeps under its lock while somebody
removes the lock's file; and a kernel that outlives its runner, and goes on writing while the next one is at work or
behind it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import runner
from attrition.home import Place
from attrition.kernels import CellFailed, Failure
from campaign import kit, real, sink
from campaign.cases import case, mended
from campaign.harness import Case, Ended, Named, Result, Started, child, copied, drawn, scratch
from campaign.shim import Fault, Mode
from campaign.telling import Ticked, runs

HELD = 75
LOCKED = "database is locked"
REAL = 40
"""One case of so many has the real runner, kernels and notebooks."""
STAGES = [Path(notebook).stem for notebook in runner.STAGES.values()]
KERNEL = 180
"""About as many file-system steps as the kernels of a tick take."""
TICK = 560


Met = tuple[list[str], Ended]
Way = Callable[[Place, Random, float], Met | None]
"""What was wrong while several were at work, and how that one of them ended of which most is to be told; None where
they were at work one after the other.
"""


def run(count: int, seed: int) -> Result:
    """``count`` cases, in turn: two at once, eight at once, a sleeper, a lock taken away, so that another one does all
    or is at work too, an orphan.
    """
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        _real(result, count // REAL, chance, folder)
        given = case("second", folder)
        begun = time.monotonic()
        with copied(given.start, folder / "timed") as place:
            child(lambda: kit.tick(place))
        length = time.monotonic() - begun
        ways: tuple[Way, ...] = (_at_once(2), _at_once(8), _sleeper, _robbed, _both, _orphan)
        for number in range(count - result.cases):
            result.case(*drawn(partial(_one, given, ways[number % len(ways)], number, folder, chance, length)))
    return result


def _one(given: Case, way: Way, number: int, folder: Path, chance: Random, length: float) -> Named | None:
    """What was wrong in a case; None where those who were to meet did not."""
    with copied(given.start, folder / "home") as place:
        came = way(place, chance, length)
        if came is None:
            return None
        wrong, ended = came
        kept = LOCKED in ended.said  # to its end, by one that slept in a transaction: nor could it say that it failed
        ticked = Ticked(_status(ended), ended.said, runs(given.start), lasting=kept, alone=False)
        return f"case {number}", wrong + mended(place, given, ticked)


def _status(ended: Ended) -> int:
    return ended.value if ended.status == 0 else ended.status


def _real(result: Result, count: int, chance: Random, folder: Path) -> None:
    """Two and eight at once as cron would start them; one does the work, the others end with 75 and no heart beats."""
    with sink.serving() as hook:
        for number in range(count):
            place = real.start(folder, hook)
            ticks = []
            for _ in range((2, 8)[number % 2]):
                ticks.append(real.tick(place))
                time.sleep(chance.uniform(0, 0.5))
            ended = [real.ended(each) for each in ticks]
            statuses = sorted(each.status for each in ended)
            wrong = [] if statuses == [0, *[HELD] * (len(ended) - 1)] else [f"they ended with {statuses}"]
            told = next((each for each in ended if each.status == 0), ended[0])
            result.case(f"{len(ended)} real ones", wrong + real.mended(place, told))
            sink.gone(place.root)


def _at_once(runners: int) -> Way:
    def work(place: Place, chance: Random, length: float) -> Met | None:
        started = []
        for _ in range(runners):
            started.append(Started(lambda: kit.tick(place)))
            time.sleep(chance.uniform(0, length / 2 / runners))
        ended = [each.ended() for each in started]
        statuses = [_status(each) for each in ended]
        if set(statuses) == {0}:
            return None
        fine = set(statuses) == {0, HELD}
        return [] if fine else [f"{runners} at once ended with {statuses}"], ended[statuses.index(0) if fine else 0]

    return work


def _sleeper(place: Place, chance: Random, length: float) -> Met | None:
    sleeper = _asleep(place, chance, length)
    if sleeper is None:
        return None
    other = _status(child(lambda: kit.tick(place)))
    ended = sleeper.ended()
    fine = (_status(ended), other) == (0, HELD)
    return [] if fine else [f"the sleeper ended with {_status(ended)}, the other with {other}"], ended


def _robbed(place: Place, chance: Random, length: float) -> Met | None:
    """The lock's file is removed under a sleeper: a second runner does all, and the first must commit nothing more.

    If it sleeps within a transaction of the book, the second gives up, and says so.
    """
    sleeper = _asleep(place, chance, length)
    if sleeper is None:
        return None
    place.lock.unlink()
    other = child(lambda: kit.tick(place))
    ended = sleeper.ended()
    gave_up = _status(other) == 1 and LOCKED in other.said
    fine = (_status(other) == 0 or gave_up) and _status(ended) in (0, 1)
    wrong = [] if fine else [f"the sleeper ended with {_status(ended)}, the other with {_status(other)}"]
    return wrong, other if gave_up else ended


def _both(place: Place, chance: Random, _length: float) -> Met:
    """The lock's file is removed under a stage, and a second runner is in a stage when the first goes on.

    The second one's run is its own: it must come to its end as if there were no other.
    """
    first = Started(lambda: kit.tick(place, executing=_stopping(chance.choice(STAGES[:-1]))))
    asleep = first.held()
    place.lock.unlink()
    second = Started(lambda: kit.tick(place, executing=_stopping(chance.choice(STAGES))))
    second.held()  # unless the first had done all before its own stage
    first.go_on()
    ended, other = first.ended(), second.ended()
    fine = asleep and (_status(ended), _status(other)) == (1, 0)
    return [] if fine else [f"the first ended with {_status(ended)}, and the second with {_status(other)}"], ended


def _stopping(stage: str) -> Callable[..., float]:
    """What executes stages, and stands still before one of them."""

    def execute(notebook: Path, *given: Any, **named: Any) -> float:
        if notebook.stem == stage:
            os.kill(os.getpid(), signal.SIGSTOP)
        return kit.execute(notebook, *given, **named)

    return execute


def _asleep(place: Place, chance: Random, length: float) -> Started | None:
    """One that stands still in its run; None where that had not begun, or was over."""
    sleeper = Started(lambda: kit.tick(place))
    time.sleep(chance.uniform(0, length))
    sleeper.stop()
    if place.at_work.exists():
        return sleeper
    sleeper.ended()
    return None


def _orphan(place: Place, chance: Random, _length: float) -> Met:
    """A kernel is held at a step and its runner killed; it goes on while the next tick is held, or has ended.

    A real kernel dies with its runner (tests/test_faults.py); this is one that did not.
    """
    here, there = Pipe()
    kernel = Started(lambda: _serve(there, here), Fault(Mode.HOLD, chance.randrange(KERNEL)), place.root)
    runner = Started(lambda: kit.tick(place, executing=_asking(here, there)))
    here.close()
    there.close()
    held = kernel.held()
    runner.kill()
    killed = runner.ended().status
    at = chance.choice([chance.randrange(TICK), 10 * TICK])  # within the next tick, or behind it
    following = Started(lambda: kit.tick(place), Fault(Mode.HOLD, at), place.root)
    following.held()
    kernel.go_on()
    kernel.ended()
    ended = following.ended()
    fine = held and killed == -signal.SIGKILL and _status(ended) in (0, 1)
    # What an orphan leaves behind a tick that had ended well is the next one's.
    told = ended if _status(ended) else Ended(-signal.SIGKILL, None, "")
    return [] if fine else [f"held {held}, killed {killed}, the tick beside an orphan: {_status(ended)}"], told


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
