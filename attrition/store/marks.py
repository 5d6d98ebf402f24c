"""A drop that something fetched, and the mark beside it that says up to where its source is read with it.

The mark goes into the book with the drop's rows, in one transaction: before that the source will be read again, after
it never. Standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrition import safe

__all__ = ["land", "of", "path", "waiting_of"]


def path(drop: Path) -> Path:
    """Where a drop's mark is; its name is no drop's."""
    return drop.with_name(f".{drop.name}.mark")


def land(beside: Path, drop: Path, *, source: str, key: str, mark: Any, sha256: str | None = None) -> None:
    """Make the finished file ``beside`` a drop with its mark, in one step; a drop of that name must not be there.

    Raises:
        FileExistsError: there is one.
    """
    if safe.there(drop):
        raise FileExistsError(f"{drop} is there already: it waits for the next tick")
    safe.sync(beside)
    about = {"sha256": sha256 or safe.sha256(beside), "source": source, "key": key, "mark": mark}
    safe.write(path(drop), json.dumps(about))
    safe.write(drop.with_name(f"{drop.name}.done"), "")
    safe.move(beside, drop)


def of(drop: Path, sha256: str | None) -> dict[str, Any] | None:
    """The mark of a drop with this content: source, key and mark; None if it has none of its own."""
    try:
        about: dict[str, Any] = json.loads(path(drop).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return about if about["sha256"] == sha256 else None


def waiting_of(incoming: Path, source: str) -> bool:
    """Whether a drop of this source waits, and is to be taken in before the source is read again."""
    for each in safe.entries(incoming, ".*.mark"):
        drop = each.with_name(each.name.removeprefix(".").removesuffix(".mark"))
        if safe.exists(drop) and json.loads(each.read_text(encoding="utf-8"))["source"] == source:
            return True
    return False
