"""Homes to disturb, and what is asked of each after it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from attrition.home import Place
from campaign import kit, oracle, shim, sink
from campaign.harness import Case, asked, child

__all__ = ["CASES", "after", "case", "mended"]

CASES = ("first", "second")
"""A home before its first tick, which makes book and tables; and one with a model, which the second tick replaces."""


def case(name: str, folder: Path) -> Case:
    """Make a home in ``folder``; its undisturbed tick is done on a copy."""
    place = kit.home(folder / name)
    kit.first_visit(place)
    if name == "second":
        _done(child(lambda: kit.tick(place)))
        kit.second_visit(place)
    undisturbed = Place(folder / f"{name}-undisturbed", place.name)
    shutil.copytree(place.root, undisturbed.root)
    sink.brought(place.root, undisturbed.root)
    drops: dict[str, int] = child(lambda: oracle.given(place)).value

    def whole() -> list[Any]:
        return [kit.until_quiet(undisturbed), oracle.settled(undisturbed, drops), oracle.outcome(undisturbed)]

    statuses, faults, wanted = _done(child(whole))
    if faults or statuses != [0]:
        raise AssertionError(f"an undisturbed tick of {name!r} is not as it should be: {statuses}, {faults}")
    sink.gone(undisturbed.root)
    return Case(name, place, drops, wanted)


def _done(ended: Any) -> Any:
    if ended.status != 0:
        raise AssertionError(f"undisturbed work ended with {ended.status}: {ended.said[-2000:]}")
    return ended.value


def after(place: Place, status: int, said: str) -> list[str]:
    """What is wrong between the fault and the tick that mends; to be called in a child."""
    return [*oracle.standing(place), *oracle.told(place, status, said)]


def mended(place: Place, case: Case, fault: shim.Fault | None = None, before: tuple[int, str] = (-9, "")) -> list[str]:
    """Let ticks put the home right, and compare with what an undisturbed one would have left; what is wrong."""

    def work() -> list[str]:
        faults = after(place, *before)
        killed = oracle.running(place)
        faults += oracle.mending(kit.until_quiet(place))
        faults += oracle.closed(place, killed)
        faults += oracle.settled(place, case.given)
        return faults + oracle.differences(oracle.outcome(place), case.wanted)

    return asked(work)
