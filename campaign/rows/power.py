"""Row 4: the power is cut before each step of a tick, or of a command that changes a home, and what was not synced is
lost, torn or out of order.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

from attrition.home import Place
from campaign import disk, kit, shim, sink
from campaign.cases import CASES, COMMANDS, case, command, commanded, mended
from campaign.harness import Case, Named, Result, child, scratch

Work = Callable[[Place], int]
Mend = Callable[[Place, bool], list[str]]
State = tuple[str, disk.Tree, bool]
"""Of a disk: what was lost, what is there, and whether the power was cut when all was done and had been said to be."""
ROUNDS = 12
"""How often chance may choose anew what is left."""


def run(count: int, seed: int) -> Result:
    """Recover from ``count`` states of the disk, spread over all; no state twice."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        for number, (given, work, mend) in enumerate(_histories(folder)):
            whole, place = recorded(given, folder, work)
            result.case(f"{given.name}, nothing passed the list of steps by", _same(whole, place))
            wanted = (count - result.cases) // (len(CASES) + len(COMMANDS) - number)
            states = _sample([*_states(whole, chance, wanted)], wanted, chance)
            result.each(states, partial(_one, given, mend, place), folder)
            sink.gone(place.root)
    return result


def _histories(folder: Path) -> Iterator[tuple[Case, Work, Mend]]:
    """Each home, what is done in it, and what is asked after that was cut short."""
    for name in COMMANDS:  # first, as some have few states that differ: the ticks have the rest of what is asked for
        called = command(name, folder)
        yield called.case, called.call, partial(commanded, called)
    for name in CASES:
        given = case(name, folder)
        yield given, kit.tick, partial(_ticked, given)


def _ticked(given: Case, place: Place, _done: bool) -> list[str]:
    return mended(place, given)


def _one(given: Case, mend: Mend, whole: Place, state: State, folder: Path) -> Named:
    words, tree, done = state
    place = Place(folder / "home", given.start.name)
    disk.materialise(tree, place.root)
    told = tree.get(f"data/{whole.name}/alerts.json") == (whole.data / "alerts.json").read_bytes()
    sink.brought((whole if told else given.start).root, place.root)  # it is noted after it was heard
    wrong = mend(place, done)
    sink.gone(place.root)
    return f"{given.name}, {words}", wrong


def recorded(given: Case, folder: Path, work: Work = kit.tick) -> tuple[disk.Disk, Place]:
    """An undisturbed tick, or other ``work``, as the disk saw it."""
    place, log = Place(folder / f"{given.name}-recorded", given.start.name), folder / "log"
    shutil.copytree(given.start.root, place.root)
    sink.brought(given.start.root, place.root)
    start, numbers = disk.tree(place.root), disk.numbers(place.root)
    ended = child(lambda: work(place), shim.Fault(shim.Mode.NOTE), place.root, log)
    if ended.value != 0:
        raise AssertionError(f"what was recorded failed: {ended.said[-2000:]}")
    return disk.Disk(place.root, start, numbers, shim.read(log)), place


def _same(whole: disk.Disk, place: Place) -> list[str]:
    """All steps replayed make the tree that is there: no call that changed a file went by unseen."""
    replayed, there = whole.after(whole.length, lambda _: 1.0), disk.tree(place.root)
    return [f"{path} is not what the steps say" for path in replayed | there if replayed.get(path) != there.get(path)]


def _states(whole: disk.Disk, chance: Random, wanted: int) -> Iterator[State]:
    """All states that differ, and of those that chance makes more until there are as many as wanted."""
    seen: set[tuple[str, bool]] = set()
    cuts: Sequence[int] = range(whole.length + 1)
    if 4 * wanted < len(cuts):  # a short form: to replay them all takes longer than to ask the few
        cuts = sorted({*chance.sample(cuts, 4 * wanted), whole.length})
    for again in range(ROUNDS):
        for number in cuts:
            for words, keep in disk.ways(chance).items():
                if again and not words.startswith("some"):
                    continue
                tree, done = whole.after(number, keep), number == whole.length
                if (state := (disk.tree_hash(tree), done)) not in seen:
                    seen.add(state)
                    yield f"cut before step {number}, {words}{f', again {again}' if again else ''}", tree, done
        if len(seen) >= wanted:
            return


def _sample(states: list[State], count: int, chance: Random) -> list[State]:
    """So many of the states: first those of when all was done, which are few."""
    done = [state for state in states if state[2]]
    if len(done) >= count:
        return chance.sample(done, max(1, count))
    others = [state for state in states if not state[2]]
    return [*done, *chance.sample(others, min(len(others), count - len(done)))]
