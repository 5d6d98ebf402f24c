"""Row 10: drops that grow, are renamed, come twice or late, or are replaced while a tick reads them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random

from attrition import params
from attrition.home import Place
from attrition.store.clients import Clients
from campaign import kit, oracle, sink
from campaign.harness import Named, Result, Started, asked, scratch

SETTLE = 0.3


def run(count: int, seed: int) -> Result:
    """``count`` schedules: files arrive while ticks run; in the end each row is in the table once."""
    result = Result()
    with scratch() as folder:
        result.each(range(count), partial(_schedule, seed), folder)
    return result


def _schedule(seed: int, number: int, folder: Path) -> Named:
    place = kit.home(folder / f"home{number}")
    place.params.write_text(place.params.read_text().replace("settle: 0", f"settle: {SETTLE}"))
    over = folder / f"over{number}"
    ticks = Started(partial(_ticking, place, over))
    try:
        final, ever = _arrive(place, Random(seed * 100_003 + number))
    finally:
        over.touch()
    ended = ticks.ended()
    well = ended.status == 0 and not any(ended.value)
    wrong = [] if well else [f"the ticks ended with {ended.status}, {ended.value}: {ended.said[-300:]}"]
    wrong += asked(lambda: _whole(place, final, ever))
    sink.gone(place.root)
    return f"schedule {number}", wrong


def _ticking(place: Place, over: Path) -> list[int]:
    """Ticks, one after the other, until all is ``over``."""
    statuses = [kit.tick(place)]
    while not over.exists():
        statuses.append(kit.tick(place))
    return statuses


def _arrive(place: Place, chance: Random) -> tuple[set[str], set[str]]:
    """Let files arrive in odd ways; the rows that must be in the table in the end, and all that were ever written."""
    final: dict[str, list[str]] = {}
    ever: set[str] = set()
    for number in range(chance.randint(3, 6)):
        lines = kit.rows(number + 10, chance.randint(3, 12))
        ever |= set(lines)
        name = f"drop{number}.csv"
        way = chance.choice(["whole", "grows", "renamed", "twice", "replaced", "marked"])
        time.sleep(chance.uniform(0, 0.3))
        if way == "grows":
            _grow(place.incoming / name, lines, chance)
        elif way == "marked":
            (place.incoming / name).write_text("\n".join([kit.HEADER, *lines]) + "\n")
            (place.incoming / f"{name}.done").touch()
        else:
            kit.drop(place, name, lines)
        if way == "renamed":
            _tried(lambda a=place.incoming / name: a.rename(a.with_name(f"late-{a.name}")))  # type: ignore[misc]
        elif way == "twice":
            time.sleep(chance.uniform(0, 0.4))
            kit.drop(place, chance.choice([name, f"again-{name}"]), lines)
        elif way == "replaced":
            lines = kit.rows(number + 50, chance.randint(3, 12))
            ever |= set(lines)
            time.sleep(chance.uniform(0, 0.6))
            kit.drop(place, name, lines)
        final[name] = lines
    return {line for lines in final.values() for line in lines}, ever


def _grow(path: Path, lines: list[str], chance: Random) -> None:
    stands_still = chance.choice([None, chance.randrange(len(lines))])
    still = chance.choice([SETTLE * 2, SETTLE * 8])  # for so long that it is taken for whole, and that it was taken in
    with path.open("w") as file:
        file.write(kit.HEADER + "\n")
        for number, line in enumerate(lines):
            file.write(line[: len(line) // 2])
            file.flush()
            time.sleep(still if number == stands_still else chance.uniform(0, 0.02))
            file.write(line[len(line) // 2 :] + "\n")


def _tried(work: Callable[[], object]) -> None:
    with contextlib.suppress(FileNotFoundError):  # taken already
        work()


def _whole(place: Place, final: set[str], ever: set[str]) -> list[str]:
    time.sleep(SETTLE)
    drops = oracle.given(place)
    statuses = kit.until_quiet(place)
    rows = Clients(params.load(place.params), place.clients).frame()
    there = {f"{row.client},{row.day:%Y-%m-%d},{row.plan}" for row in rows.itertuples()}
    wrong = [f"the ticks after it ended with {statuses}"] if any(statuses) else []
    wrong += oracle.settled(place, drops, replaced=True)
    if lost := _short(final) - there:
        wrong.append(f"lost: {sorted(lost)[:3]}")
    if made_up := there - _short(ever):
        wrong.append(f"in nobody's file: {sorted(made_up)[:3]}")
    return wrong


def _short(lines: Iterable[str]) -> set[str]:
    return {",".join(line.split(",")[:3]) for line in lines}
