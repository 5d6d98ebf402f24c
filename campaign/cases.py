"""Homes to disturb, by a tick or by a command, and what is asked of each after it was."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attrition.console import DONE, USAGE
from attrition.home import Place
from campaign import kit, oracle, sink, telling
from campaign.harness import Case, asked, child
from campaign.telling import Ticked

__all__ = ["CASES", "COMMANDS", "Command", "after", "case", "command", "commanded", "mended"]

CASES = ("first", "second")
"""A home before its first tick, which makes book and tables; and one with a model, which the second tick replaces."""

CLIENT = "c1-3"
"""Who is forgotten."""
KILLED = Ticked()
COMMANDS: dict[str, dict[str, Any]] = {
    "forget": {"client": CLIENT, "reason": "asked for"},
    "prune": {"days": 0, "keep": 0, "dry_run": False},
    "rollback": {"version": None, "reason": "tried"},
    "restore": {"portfolio": []},
}
"""What is called in a home with two models in which nothing waits, or in an empty one; and the words of each."""


@dataclass(frozen=True)
class Command:
    """A home, and the command that is called in it; ``case.wanted`` is where it would stand afterwards."""

    case: Case
    words: dict[str, Any]

    def call(self, place: Place) -> int:
        """Its exit status in this home, which is like that of the case."""
        return kit.command(self.case.name, place, **self.words)


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


def command(name: str, folder: Path) -> Command:
    """Make a home in ``folder`` for a command; undisturbed it is called on a copy."""
    lived = case("second", folder / name).start
    _done(child(lambda: kit.until_quiet(lived)))
    drops: dict[str, int] = _done(child(lambda: oracle.given(lived)))
    start, words = lived, COMMANDS[name]
    if name == "restore":
        start, words = Place(folder / name / "empty", lived.name), words | {"src": folder / name / "backup"}
        start.root.mkdir()
        sink.brought(lived.root, start.root)
        _done(child(lambda: kit.command("backup", lived, dest=words["src"], portfolio=None)))
    undisturbed = Place(folder / name / "undisturbed", start.name)
    shutil.copytree(start.root, undisturbed.root)
    sink.brought(start.root, undisturbed.root)
    made = Command(Case(name, start, drops, {}), words)
    status, faults, wanted = _done(
        child(lambda: [made.call(undisturbed), _faults(undisturbed, made), oracle.outcome(undisturbed)])
    )
    if faults or status != 0:
        raise AssertionError(f"an undisturbed {name} is not as it should be: {status}, {faults}")
    sink.gone(undisturbed.root)
    return Command(Case(name, start, drops, wanted), words)


def _faults(place: Place, given: Command) -> list[str]:
    """What is wrong in a home after the command and the tick that comes then."""
    faults = oracle.mending(kit.until_quiet(place))
    faults += oracle.settled(place, given.case.given, restored=given.case.name == "restore")
    return faults + (oracle.holding(place.root, CLIENT) if given.case.name == "forget" else [])


def commanded(given: Command, place: Place, done: bool) -> list[str]:
    """What is wrong when a command was cut short, a tick came, and it was called again; not where it was ``done``.

    Between a restore and its end no tick has anything to work on: there it is called again at once.
    """

    def work() -> list[str]:
        faults = oracle.standing(place)
        if done or given.case.name != "restore":
            faults += oracle.mending(kit.until_quiet(place))
        status = DONE if done else given.call(place)
        faults += [] if status in (DONE, USAGE) else [f"called again it ended with {status}"]  # USAGE: it was done
        return faults + _faults(place, given) + oracle.differences(oracle.outcome(place), given.case.wanted)

    return asked(work)


def _done(ended: Any) -> Any:
    if ended.status != 0:
        raise AssertionError(f"undisturbed work ended with {ended.status}: {ended.said[-2000:]}")
    return ended.value


def after(place: Place, ticked: Ticked) -> list[str]:
    """What is wrong between the fault and the tick that mends; to be called in a child."""
    return [*oracle.standing(place), *telling.told(place, ticked)]


def mended(place: Place, case: Case, ticked: Ticked = KILLED) -> list[str]:
    """Let ticks put the home right, and compare with what an undisturbed one would have left; what is wrong."""

    def work() -> list[str]:
        faults = after(place, ticked)
        killed = oracle.running(place)
        faults += oracle.mending(kit.until_quiet(place))
        faults += oracle.closed(place, killed)
        faults += oracle.settled(place, case.given)
        faults += [] if ticked.lasting else telling.over(place)  # what could not be noted, nobody takes back
        return faults + oracle.differences(oracle.outcome(place), case.wanted)

    return asked(work)
