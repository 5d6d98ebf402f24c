"""A drop that we laid there ourselves, and the mark beside it: whose it is, and up to where its source is read with it.

The mark goes into the book with the drop's rows, in one transaction: before that the source will be read again, after
it never. It vouches for that one file, so that a kill at any moment leaves nothing that vouches for a later one of the
name. Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrition import safe

__all__ = ["land", "lift", "of", "path", "released", "sweep", "vouched", "waiting_of"]


def path(drop: Path) -> Path:
    """Where a drop's mark is; its name is no drop's."""
    return drop.with_name(safe.derived(drop.name, ".", ".mark"))


def released(incoming: Path, number: int) -> Path:
    """Where a corrected file is written before it is a drop; `sweep` finds it there when that was cut short."""
    return incoming / f".{number}.released.{os.getpid()}.tmp"


def land(beside: Path, drop: Path, *, source: str, key: str, mark: Any, sha256: str | None = None) -> None:
    """Make the finished file ``beside`` a drop with its mark, in one step; a drop of that name must not be there.

    Raises:
        FileExistsError: there is one.
    """
    if safe.there(drop):
        raise FileExistsError(f"{drop} is there already: it waits for the next tick")
    safe.sync(beside)
    about = {"sha256": sha256 or safe.sha256(beside), "source": source, "key": key, "mark": mark}
    about |= {"drop": drop.name, "beside": beside.name, "file": safe.identity(beside)}
    safe.write(path(drop), json.dumps(about))
    safe.move(beside, drop)


def of(drop: Path, sha256: str | None) -> dict[str, Any] | None:
    """The mark of a drop with this content: source, key and mark; None if it has none of its own."""
    about = _read(path(drop))
    return about if about and about["sha256"] == sha256 else None


def vouched(drop: Path) -> bool:
    """Whether its mark says that this very file is whole, and not that another of its name was."""
    about, seen = _read(path(drop)), safe.identity(drop)
    return about is not None and seen is not None and about.get("file") == [*seen]


def lift(drop: Path) -> bool:
    """Take what vouches for a drop away, before it goes itself: left behind, it might speak for a later one.

    Returns:
        Whether its owner had said that it is whole.
    """
    done = drop.with_name(f"{drop.name}.done")
    said = safe.exists(done)
    if said:
        done.unlink(missing_ok=True)
    path(drop).unlink(missing_ok=True)
    return said


def waiting_of(incoming: Path, source: str) -> bool:
    """Whether a drop of this source waits, and is to be taken in before the source is read again."""
    return any(about["source"] == source and safe.exists(drop) for _, drop, about in _all(incoming))


def sweep(incoming: Path) -> None:
    """Remove what a `land` left that was killed before its drop was there."""
    for pattern in ("..*.mark.*.tmp", ".*.released.*.tmp"):  # other names may be of an upload by somebody else's tool
        safe.sweep(incoming, pattern)
    for mark, drop, about in _all(incoming):
        # In this order: of one that is just landing, the file beside goes when the drop comes.
        landing = "beside" in about and safe.there(incoming / about["beside"])
        if not landing and not safe.there(drop):
            if "beside" not in about:  # of an earlier version, which vouched by this too
                drop.with_name(f"{drop.name}.done").unlink(missing_ok=True)
            mark.unlink(missing_ok=True)


def _all(incoming: Path) -> Iterator[tuple[Path, Path, dict[str, Any]]]:
    """The marks, each with its drop and what it says."""
    for each in safe.entries(incoming, ".*.mark"):
        if about := _read(each):
            name = about.get("drop", each.name.removeprefix(".").removesuffix(".mark"))  # of an earlier version
            yield each, incoming / name, about


def _read(mark: Path) -> dict[str, Any] | None:
    """What a mark says; None if there is none, it is not one of ours, or nobody can read it.

    Then its drop is one that others laid there, and its source is read again: what that brings twice are duplicates.
    """
    try:
        about = json.loads(mark.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError):
        return None
    except OSError as error:
        if error.errno not in safe.BROKEN:
            raise
        return None
    return about if isinstance(about, dict) and {"sha256", "source", "key", "mark"} <= about.keys() else None
