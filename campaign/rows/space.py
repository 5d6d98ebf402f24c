"""Row 6: a disk without room, or without inodes, in the middle of a tick; then there is room again."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from random import Random

from attrition.home import Place
from campaign import disk, kit, oracle, own, sink
from campaign.cases import case
from campaign.harness import Case, Result, asked, child, scratch

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
        for number in range(count):
            inodes, more_bytes = len(there) + chance.randrange(3, 70), size + chance.randrange(1_200_000)
            more = f"size={more_bytes}" if number % 2 else f"nr_inodes={inodes}"
            result.case(more, asked(partial(_full, given, folder / "disk", more)))
    return result


def _full(given: Case, at: Path, options: str) -> list[str]:
    at.mkdir(exist_ok=True)
    own.mounts()
    own.mount(at, "size=64m")
    place = Place(at, given.start.name)
    shutil.copytree(given.start.root, at, dirs_exist_ok=True)
    sink.brought(given.start.root, at)
    own.mount(at, options, again=True)
    ended = child(lambda: kit.tick(place))
    own.mount(at, "size=64m,nr_inodes=100k", again=True)

    def work() -> list[str]:
        faults = [*oracle.standing(place), *oracle.told(place, ended.value, ended.said)]
        faults += oracle.mending(kit.until_quiet(place))
        return faults + oracle.settled(place, given.given) + oracle.differences(oracle.outcome(place), given.wanted)

    return asked(work)
