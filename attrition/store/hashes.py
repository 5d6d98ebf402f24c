# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Which rows the store has already, told by sorted hashes beside each of its files: a few looks, however much it holds.

A file of a Delta table never changes, so neither do its hashes: what is there is right, what is not is made anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attrition import safe
from attrition.store.engine import connect, rows_in

__all__ = ["FOLDER", "Hashes", "among", "drop_others", "extent", "known", "make", "merged"]

FOLDER = "_hashes"
"""Below the table's folder; Delta leaves names with a leading _ alone."""

Hashes = npt.NDArray[np.int64]


def known(parts: Iterable[Path], hashes: Hashes) -> tuple[list[Path], Hashes]:
    """The files ``parts`` of a table that have one of ``hashes``, which are sorted; and those that they have."""
    found, where = [np.empty(0, dtype=np.int64)], []
    for part in parts:
        held = _held(part)
        low, high = np.searchsorted(held, hashes[[0, -1]]) if len(hashes) else (0, 0)
        held = held[low : high + 1]
        if not len(held):
            continue
        few, many = (hashes, held) if len(hashes) < len(held) else (held, hashes)
        hits = among(many, few)
        if len(hits):
            where.append(part)
            found.append(np.asarray(hits))
    return where, np.concatenate(found)


def among(many: Hashes, few: Hashes) -> Hashes:
    """Those of ``few`` that are in ``many``, which is sorted."""
    if not len(many):
        return few[:0]
    places = np.minimum(np.searchsorted(many, few), len(many) - 1)
    found: Hashes = few[many[places] == few]
    return found


def merged(given: Iterable[Hashes]) -> Hashes:
    """All hashes, sorted, each once; np.unique takes ten times as long."""
    every: Hashes = np.concatenate([*given])
    every.sort(kind="stable")  # which is quick where runs of it are sorted already
    once: Hashes = every[np.diff(every, prepend=every[:1] - 1) > 0]
    return once


def extent(part: Path) -> tuple[int, float]:
    """How many rows a file has, and the share of all hashes that lie between its least and its greatest."""
    held = _held(part)
    return len(held), (int(held[-1]) - int(held[0])) / 2**63 if len(held) else 0.0


def make(parts: Iterable[Path]) -> None:
    """Write the hashes of those files that have none yet."""
    for part in parts:
        if _read(part) is None:
            safe.make_folder(part.parent / FOLDER)
            hashes = _sorted(part)
            safe.write(_beside(part), np.append(np.int64(len(hashes)), hashes).astype("<i8").tobytes())


def drop_others(folder: Path, parts: Iterable[Path]) -> None:
    """Remove the hashes of files that the table in ``folder`` has no more."""
    wanted = {_beside(part) for part in parts}
    if gone := [path for path in safe.entries(folder / FOLDER) if path not in wanted]:
        for path in gone:
            path.unlink()
        safe.sync(folder / FOLDER)


def _beside(part: Path) -> Path:
    return part.parent / FOLDER / f"{part.name}.int64"


def _held(part: Path) -> Hashes:
    held = _read(part)
    return _sorted(part) if held is None else held


def _read(part: Path) -> Hashes | None:
    """The hashes beside a file, behind their number; None if they are not there, or not as many."""
    path = _beside(part)
    if not safe.exists(path) or (size := path.stat().st_size) < 8 or size % 8:
        return None
    held = np.memmap(path, dtype="<i8", mode="r")
    return held[1:] if size == 8 * (int(held[0]) + 1) else None


def _sorted(part: Path) -> Hashes:
    with connect() as connection:
        found = connection.execute(f"SELECT _hash FROM {rows_in([part])}")
        hashes: Hashes = np.asarray(found.fetchnumpy()["_hash"], dtype=np.int64)
    hashes.sort()
    return hashes
