"""Row 5: a call of the file system fails, or writes only a half, at each step of a tick; once, or from then on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from campaign import kit, oracle, shim
from campaign.cases import CASES, case, mended
from campaign.harness import Case, Named, Result, child, copied, scratch
from campaign.shim import Fault, Kind, Mode

MAKES = (Kind.CREATE, Kind.MKDIR, Kind.LINK, Kind.RENAME)
OPENS = (Kind.OPEN, Kind.CREATE, Kind.LOOK)
ERRORS: dict[int, tuple[Kind, ...]] = {
    errno.ENOSPC: (*MAKES, Kind.WRITE, Kind.SYNC),
    errno.EIO: tuple(Kind),
    errno.EACCES: (*OPENS, *MAKES, Kind.UNLINK, Kind.RMDIR),
    errno.EROFS: (Kind.OPEN, *MAKES, Kind.UNLINK, Kind.RMDIR),
    errno.EMFILE: OPENS,
    errno.EINTR: (*OPENS, Kind.WRITE, Kind.SYNC),
}
"""Which calls each error can come from (the manual pages' lists)."""
FOR_GOOD = (errno.ENOSPC, errno.EIO, errno.EROFS)


def run(count: int, seed: int) -> Result:
    """Each fault in ``count`` cases spread over all; then the error is gone and the next tick must put it right."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        for name in CASES:
            given = case(name, folder)
            faults = [*_faults(given, folder)]
            result.whole += len(faults)
            if len(faults) > count // len(CASES):
                faults = chance.sample(faults, count // len(CASES))
            result.each(faults, partial(_named, given), folder)
    return result


def _faults(given: Case, folder: Path) -> Iterator[Fault]:
    for number, kinds in ERRORS.items():
        for at in range(_made(given, kinds, folder)):
            yield Fault(Mode.FAIL, at, number, kinds=kinds)
            if number in FOR_GOOD:
                yield Fault(Mode.FAIL, at, number, lasting=True, kinds=kinds)
    for at in range(_made(given, (Kind.WRITE,), folder)):
        yield Fault(Mode.SHORT, at, kinds=(Kind.WRITE,))


def _made(given: Case, kinds: tuple[Kind, ...], folder: Path) -> int:
    with copied(given.start, folder / "counted") as place:
        made: list[int] = child(
            lambda: [kit.tick(place), shim.steps()], Fault(Mode.NOTE, kinds=kinds), place.root
        ).value
    return made[1]


def _named(given: Case, fault: Fault, folder: Path) -> Named:
    return f"{given.name}, {fault} of {len(fault.kinds)} kinds", _one(given, fault, folder)


def _one(given: Case, fault: Fault, folder: Path) -> list[str]:
    with copied(given.start, folder / "home") as place:
        ended = child(lambda: kit.tick(place), fault, place.root)
        if ended.status != 0:
            return [f"the process ended with {ended.status}: {ended.said.strip()[-300:]}"]
        before: tuple[Any, str] = (ended.value, ended.said)
        wrong = mended(place, given, before=before)
        if ended.value == 0 and not wrong:
            wrong = _at_once(place, given)
        return wrong


def _at_once(place: Any, given: Case) -> list[str]:
    """Whoever says 0 must have done it all: without another tick nothing may differ."""
    found: list[str] = child(lambda: oracle.differences(oracle.outcome(place), given.wanted)).value
    return found
