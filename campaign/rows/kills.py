"""Rows 1 and 2: SIGKILL at each file-system step of a tick, and at random moments, also while recovering."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from random import Random

from attrition.home import Place
from campaign import kit, shim
from campaign.cases import CASES, case, mended
from campaign.harness import Case, Ended, Named, Result, child, copied, drawn, scratch
from campaign.shim import Fault, Kind, Mode


def steps(count: int, seed: int) -> Result:
    """Row 1: before and after every step, and in the middle of every write."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        for name in CASES:
            given = case(name, folder)
            faults = _faults(given, folder)
            result.whole += len(faults)
            if len(faults) > count // len(CASES):
                faults = chance.sample(faults, count // len(CASES))
            result.each(faults, partial(_step, given), folder)
    return result


def _step(given: Case, fault: Fault, folder: Path) -> Named:
    with copied(given.start, folder / "home") as place:
        ended = child(lambda: kit.tick(place), fault, place.root)
        wrong = mended(place, given)
    if ended.status != -signal.SIGKILL:
        wrong.append(f"it was not killed but ended with {ended.status}")
    return f"{given.name}, {fault}", wrong


def _faults(given: Case, folder: Path) -> list[Fault]:
    with copied(given.start, folder / "counted") as place:
        made = child(lambda: [kit.tick(place), shim.steps()], Fault(Mode.NOTE), place.root).value[1]
    with copied(given.start, folder / "counted") as place:
        writes = Fault(Mode.NOTE, kinds=(Kind.WRITE,))
        written = child(lambda: [kit.tick(place), shim.steps()], writes, place.root).value[1]
    # After one step is before the next; only after the last there is none.
    found = [Fault(Mode.KILL_BEFORE, n) for n in range(made)] + [Fault(Mode.KILL_AFTER, made - 1)]
    return found + [Fault(Mode.KILL_HALF, n, kinds=(Kind.WRITE,)) for n in range(written)]


def moments(count: int, seed: int) -> Result:
    """Row 2: at random moments; in every second case the tick that recovers is killed too, up to three times.

    Where one of them ended before its kill came, other moments are drawn.
    """
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        given = {name: case(name, folder) for name in CASES}
        length = {name: _seconds(each, folder) for name, each in given.items()}
        items = [(number, chance.choice(CASES), chance.getrandbits(32)) for number in range(count)]
        result.each(items, partial(_moments, given, length), folder)
    return result


def _moments(given: dict[str, Case], length: dict[str, float], item: tuple[int, str, int], folder: Path) -> Named:
    number, name, seed = item
    chance = Random(seed)
    kills = 1 if number % 2 else chance.randint(2, 3)

    def work() -> Named | None:
        with copied(given[name].start, folder / "home") as place:
            ended = [_ended(place, chance.uniform(0, length[name])) for _ in range(kills)]
            if any(each.status != -signal.SIGKILL for each in ended):
                return None
            wrong = mended(place, given[name])
            return f"{name}, case {number}, {kills} kills", wrong

    return drawn(work)


def _seconds(given: Case, folder: Path) -> float:
    with copied(given.start, folder / "timed") as place:
        begun = time.monotonic()
        child(lambda: kit.tick(place))
        return time.monotonic() - begun


def _ended(place: Place, seconds: float) -> Ended:
    """A tick that is killed after so long, unless it ends before."""

    def work() -> int:
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        status = kit.tick(place)
        sys.stdout.flush()
        os._exit(status)

    return child(work)
