"""Row 5: a call of the file system fails, or does only a half, at each step of a tick; once, or from then on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from campaign import disk, kit, oracle, shim
from campaign.cases import CASES, after, case, mended
from campaign.harness import Case, Named, Result, asked, child, copied, part_of, scratch
from campaign.shim import Fault, Kind, Mode
from campaign.telling import Ticked, runs

MAKES = (Kind.CREATE, Kind.MKDIR, Kind.LINK, Kind.RENAME)
OPENS = (Kind.OPEN, Kind.CREATE, Kind.LOOK)
ERRORS: dict[int, tuple[Kind, ...]] = {
    errno.ENOSPC: (*MAKES, Kind.WRITE, Kind.SYNC),
    errno.EIO: tuple(Kind),
    errno.EACCES: (Kind.ASK, *OPENS, *MAKES, Kind.UNLINK, Kind.RMDIR),
    errno.EROFS: (Kind.OPEN, *MAKES, Kind.UNLINK, Kind.RMDIR),
    errno.EMFILE: OPENS,
    errno.EINTR: (*OPENS, Kind.READ, Kind.WRITE, Kind.SYNC),
}
"""Which calls each error can come from (the manual pages' lists)."""
WORDS = [word for number in ERRORS for word in (os.strerror(number), type(OSError(number, "")).__name__)]
FOR_GOOD = (errno.ENOSPC, errno.EIO, errno.EROFS)


def run(count: int, seed: int) -> Result:
    """Each fault in ``count`` cases spread over all; then the error is gone and the next tick must put it right."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        given = {name: case(name, folder) for name in CASES}
        for each in given.values():
            _alike(each, folder)
        kinds = [[(name, fault) for fault in faults] for name in CASES for faults in _faults(given[name], folder)]
        result.whole = sum(map(len, kinds))
        faults = [fault for kind in kinds for fault in part_of(kind)]  # of each kind those of one stretch of the tick
        seen = folder / "seen"
        seen.mkdir()
        result.each(chance.sample(faults, min(count, len(faults))), partial(_named, given, seen), folder)
        result.notes.append(f"{len([*seen.iterdir()]):,} states that differ were left, and put right")
    return result


def _alike(given: Case, folder: Path) -> None:
    """Two ticks that nothing disturbs must leave the same, or no state is known again and all takes twice as long."""
    left = set()
    for _ in range(2):
        with copied(given.start, folder / "home") as place:
            child(lambda: kit.tick(place))
            left.add(disk.likeness(place.root, WORDS))
    if len(left) > 1:
        raise AssertionError(f"{given.name}: what a tick leaves has something of its own that disk.OWN does not name")


def _faults(given: Case, folder: Path) -> Iterator[list[Fault]]:
    for number, kinds in ERRORS.items():
        steps, lasts = range(_made(given, kinds, folder)), (False, True) if number in FOR_GOOD else (False,)
        yield [Fault(Mode.FAIL, at, number, lasting=each, kinds=kinds) for at in steps for each in lasts]
    for kind in (Kind.READ, Kind.WRITE):
        yield [Fault(Mode.SHORT, at, kinds=(kind,)) for at in range(_made(given, (kind,), folder))]


def _made(given: Case, kinds: tuple[Kind, ...], folder: Path) -> int:
    with copied(given.start, folder / "counted") as place:
        made: list[int] = child(
            lambda: [kit.tick(place), shim.steps()], Fault(Mode.NOTE, kinds=kinds), place.root
        ).value
    return made[1]


def _looks(given: Case, kinds: tuple[Kind, ...], folder: Path) -> int:
    """How many of a tick's steps are its first look whom to tell: who cannot have that read, can tell nobody."""
    with copied(given.start, folder / "counted") as place:
        made: int = child(lambda: [kit.whom(place), shim.steps()][1], Fault(Mode.NOTE, kinds=kinds), place.root).value
    return made


def _named(given: dict[str, Case], seen: Path, item: tuple[str, Fault], folder: Path) -> Named | None:
    name, fault = item
    faults = _one(given[name], seen, fault, folder)
    return None if faults is None else (f"{name}, {fault} of {len(fault.kinds)} kinds", faults)


def _one(given: Case, seen: Path, fault: Fault, folder: Path) -> list[str] | None:
    """What is wrong; None where the tick had come to its end before the fault, as threads make a call more or less."""
    with copied(given.start, folder / "home") as place:
        ended = child(lambda: [kit.tick(place), shim.steps()], fault, place.root)
        if ended.status != 0:
            return [f"the process ended with {ended.status}: {ended.said.strip()[-300:]}"]
        status, steps = ended.value
        if steps <= fault.number:
            return None
        deaf = fault.lasting and fault.number < _looks(given, fault.kinds, folder)
        ticked = Ticked(status, ended.said, runs(given.start), fault.lasting, deaf)
        left = seen / f"{given.name}-{status}-{disk.likeness(place.root, WORDS)}"
        if left.exists():  # another error at this step left the very same, and it was put right
            return asked(lambda: after(place, ticked))
        done = lambda: oracle.differences(oracle.outcome(place), given.wanted)  # noqa: E731
        wrong = asked(done) if status == 0 else []  # who says 0 must have done it all, without another tick
        wrong += mended(place, given, ticked)
        if not wrong:
            left.touch()
        return wrong
