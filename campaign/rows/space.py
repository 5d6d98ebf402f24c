"""Row 6: a disk without room, or without inodes, in the middle of a tick; then there is room again."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from random import Random

from attrition.home import Place
from campaign import disk, kit, own, sink, telling
from campaign.cases import case, mended
from campaign.harness import Case, Result, child, scratch
from campaign.telling import Ticked

PAGE = 4096


def run(count: int, seed: int) -> Result:
    """A tmpfs as large as the home and a random part of what a tick needs, by bytes and by inodes in turn."""
    result, chance = Result(), Random(seed)
    if os.geteuid() != 0:
        result.skipped = "mounting a file system needs root"
        return result
    with scratch() as folder:
        given = case("second", folder)
        there = disk.tree(given.start.root)
        size = sum(-(-len(content or b"") // PAGE) * PAGE for content in there.values())
        number = 0
        while result.cases < count:  # those that had room enough are none
            inodes, more_bytes = len(there) + chance.randrange(3, 70), size + chance.randrange(1_200_000)
            more = f"size={more_bytes}" if number % 2 else f"nr_inodes={inodes}"
            if (faults := _full(given, folder / "disk", more, log=number % 6 < 2)) is not None:
                result.case(more, faults)
            number += 1
    return result


def _full(given: Case, at: Path, options: str, *, log: bool) -> list[str] | None:
    """What is wrong after a tick; None if nothing is, as it had room enough. ``log``: its log is on the disk too."""
    ended = child(partial(_filled, given, at, options, log))
    if ended.status:
        return [f"no answer, but {ended.status}: {ended.said.strip()[-600:]}"]
    found: list[str] | None = ended.value
    return found


def _filled(given: Case, at: Path, options: str, log: bool) -> list[str] | None:
    at.mkdir(exist_ok=True)
    own.mounts()
    own.mount(at, "size=64m")
    place = Place(at, given.start.name)
    shutil.copytree(given.start.root, at, dirs_exist_ok=True)
    sink.brought(given.start.root, at)
    own.mount(at, options, again=True)
    logged = place.executed.parent / "cron.log"
    ended = child(partial(_logging, place, logged) if log else partial(kit.tick, place))
    own.mount(at, "size=64m,nr_inodes=100k", again=True)
    ticked = Ticked(ended.value, ended.said, telling.runs(given.start), lasting=True, unsaid=log)
    faults = mended(place, given, ticked)
    return None if ended.value == 0 and not faults else faults


def _logging(place: Place, log: Path) -> int:
    """A tick with its log on the same disk, where `schedule` has it."""
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    return kit.tick(place)
