"""Row 5: a call of the file system fails, or does only a half, at each step of a tick; once, or from then on.

By the library at each step, and by strace at a sample of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from attrition.home import Place
from campaign import disk, kit, oracle, shim, tracer
from campaign.cases import CASES, after, case, mended
from campaign.harness import Case, Ended, Named, Result, asked, child, copied, part_of, scratch
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
LOOKS: dict[tuple[str, tuple[Kind, ...]], int] = {}
"""How many steps of each kind a tick of a case makes before it knows whom to tell."""
UNSEEN = (None,)
"""What the library does not see: the content of a folder, links, locks."""
TRACED, FEW = 70, 2
"""Cases by strace, of the full form and at least."""


def run(count: int, seed: int) -> Result:
    """Each fault in ``count`` cases spread over all; then the error is gone and the next tick must put it right."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        given = {name: case(name, folder) for name in CASES}
        for each in given.values():
            _alike(each, folder)
        kinds = [[(name, fault) for fault in faults] for name in CASES for faults in _faults(given[name], folder)]
        result.whole = sum(map(len, kinds)) + TRACED
        faults = [fault for kind in kinds for fault in part_of(kind)]  # of each kind those of one stretch of the tick
        seen = folder / "seen"
        seen.mkdir()
        _by_strace(result, min(TRACED, max(FEW, count // 6)), chance, given, folder)
        result.each(chance.sample(faults, min(count, len(faults))), partial(_named, given, seen), folder)
        result.notes.append(f"{len([*seen.iterdir()]):,} states that differ were left, and put right")
    return result


def _alike(given: Case, folder: Path) -> None:
    """Two ticks that nothing disturbs must leave the same, or no state is known again and all takes twice as long."""
    left = []
    for _ in range(2):
        with copied(given.start, folder / "home") as place:
            child(lambda: kit.tick(place))
            left.append(disk.common(place.root, WORDS))
    one, other = left
    if own := sorted({path for path, _ in one.items() ^ other.items()}):
        raise AssertionError(f"{given.name}: what a tick leaves has its own that disk.OWN does not name: {own[:9]}")


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
    if (given.name, kinds) not in LOOKS:
        with copied(given.start, folder / "counted") as place:
            LOOKS[given.name, kinds] = child(
                lambda: [_looked(place), shim.steps()][1], Fault(Mode.NOTE, kinds=kinds), place.root
            ).value
    return LOOKS[given.name, kinds]


def _looked(place: Place) -> int:
    kit.whom(place)
    return 0


def _named(given: dict[str, Case], seen: Path, item: tuple[str, Fault], folder: Path) -> Named | None:
    name, fault = item
    faults = _one(given[name], seen, fault, folder)
    return None if faults is None else (f"{name}, {fault} of {len(fault.kinds)} kinds", faults)


def _one(given: Case, seen: Path, fault: Fault, folder: Path) -> list[str] | None:
    """What is wrong; None where the tick had come to its end before the fault, as threads make a call more or less."""
    with copied(given.start, folder / "home") as place:
        ended = child(lambda: [kit.tick(place), shim.steps()], fault, place.root)
        if ended.status == 0 and ended.value[1] <= fault.number:
            return None
        deaf = fault.lasting and fault.number < _looks(given, fault.kinds, folder)
        return _judged(given, place, seen, ended, lasting=fault.lasting, deaf=deaf)


def _judged(
    given: Case, place: Place, seen: Path, ended: Ended, *, lasting: bool, deaf: bool, again: bool = False
) -> list[str]:
    """What is wrong after a tick in which the fault came; the process returned the tick's status first."""
    if ended.status != 0:
        return [f"the process ended with {ended.status}: {ended.said.strip()[-300:]}"]
    status = ended.value[0]
    ticked = Ticked(status, ended.said, runs(given.start), lasting, deaf, again)
    left = seen / f"{given.name}-{status}-{disk.likeness(place.root, WORDS)}"
    if left.exists():  # another error at this step left the very same, and it was put right
        return asked(lambda: after(place, ticked))
    done = lambda: oracle.differences(oracle.outcome(place), given.wanted)  # noqa: E731
    wrong = asked(done) if status == 0 else []  # who says 0 must have done it all, without another tick
    wrong += mended(place, given, ticked)
    if not wrong:
        left.touch()
    return wrong


@dataclass(frozen=True)
class Traced:
    """The calls of a tick, the paths they name, and those calls that look whom to tell, at its start."""

    calls: list[tracer.Call]
    names: list[str]
    looks: list[tracer.Call]


@dataclass(frozen=True)
class Failing:
    """A call that fails in the kernel."""

    case: str
    call: tracer.Call
    errno: int
    lasting: bool
    deaf: bool = False  # from before it is known whom to tell

    def __str__(self) -> str:
        error = f"{os.strerror(self.errno)}{' for good' if self.lasting else ''}"
        return f"{self.case}, by strace: {error} at {self.call.name} {self.call.number}"


def _by_strace(result: Result, count: int, chance: Random, given: dict[str, Case], folder: Path) -> None:
    """The same questions where a call fails in the kernel: each error, and each call that can give it, alike often."""
    if why_not := tracer.available():
        result.notes.append(f"no sample by strace: {why_not}")
        result.failures += [why_not] if os.environ.get("REQUIRE_ALL") == "1" else []
        return
    made, before = {}, result.cases
    names = CASES if count > FEW else CASES[:1]  # a tick that is only looked at takes seconds too
    for name in names:
        with copied(given[name].start, folder / "traced") as place:
            looks, _ = tracer.made(partial(_looked, place), place.root, folder / "trace")
            made[name] = Traced(*tracer.made(partial(kit.tick, place), place.root, folder / "trace"), looks)
    errors = [(name, *each) for each in [*ERRORS.items(), (errno.EIO, UNSEEN)] for name in names]
    faults = part_of([_failing(*errors[number % len(errors)], made, chance) for number in range(count)])

    def work(fault: Failing, at: Path) -> Named | None:
        faults = _traced(given[fault.case], folder / "seen", fault, made[fault.case].names, at)
        return None if faults is None else (str(fault), faults)

    result.each(faults, work, folder)
    result.notes.append(f"by strace: in {result.cases - before} of {len(faults)} ticks the call came that was to fail")


def _failing(
    name: str,
    error: int,
    kinds: Sequence[Kind | None],
    made: Mapping[str, Traced],
    chance: Random,
) -> Failing:
    calls = [call for call in made[name].calls if call.kind in kinds]
    which = chance.choice(sorted({call.name for call in calls}))
    call = chance.choice([call for call in calls if call.name == which])
    opens = call.kind in OPENS and error != errno.EIO  # on a full disk files open still
    lasting = error in FOR_GOOD and not opens and chance.random() < 0.5
    deaf = lasting and call.number <= max((each.number for each in made[name].looks if each.name == which), default=0)
    return Failing(name, call, error, lasting, deaf)


def _traced(given: Case, seen: Path, fault: Failing, names: Sequence[str], folder: Path) -> list[str] | None:
    """What is wrong; None where no call failed, as a thread had less to do than when it was looked at."""
    log = folder / "trace"
    with copied(given.start, folder / "home") as place:
        options = tracer.failing(fault.call, errno.errorcode[fault.errno], place.root, names, lasting=fault.lasting)
        ended = tracer.child(lambda: [kit.tick(place)], log, options)
        if not (times := tracer.injected(log)):
            return None
        again = times > 1 and not fault.lasting
        return _judged(given, place, seen, ended, lasting=fault.lasting, deaf=fault.deaf, again=again)
