"""What waits in ``incoming/``, and what of it is complete. Standard library only: every quiet tick runs this."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Waiting", "is_drop", "speakable", "waiting"]

UNFINISHED = (".tmp", ".part")
DONE = ".done"


@dataclass(frozen=True)
class Waiting:
    """Drops to take now, by name, and the seconds until the youngest other one is complete (0.0: there is none)."""

    ready: list[Path]
    unsettled: float


def waiting(incoming: Path, settle: float, now: float) -> Waiting:
    """Look at ``incoming``; a folder that is not there holds nothing.

    A drop is any entry, a folder too, whose name does not start with ``.`` or end in ``.tmp``,
    ``.part`` or ``.done``. It is ready when ``<name>.done`` stands beside it, or when it has been
    left alone for ``settle`` seconds before ``now`` (seconds since the epoch).
    """
    try:
        with os.scandir(incoming) as entries:
            found = {entry.name: entry for entry in entries}
    except FileNotFoundError:
        return Waiting([], 0.0)
    ready, unsettled = [], 0.0
    for name in sorted(name for name in found if is_drop(name)):
        try:
            wait = 0.0 if name + DONE in found else _wait(found[name].stat(follow_symlinks=False), settle, now)
        except FileNotFoundError:  # gone since the folder was read
            continue
        if wait > 0:
            unsettled = max(unsettled, wait)
        else:
            ready.append(incoming / name)
    return Waiting(ready, unsettled)


def is_drop(name: str) -> bool:
    """Whether a file of this name is one to take in."""
    return not name.startswith(".") and not name.endswith((*UNFINISHED, DONE))


def _wait(stat: os.stat_result, settle: float, now: float) -> float:
    # A copy may carry a time from a clock that runs ahead; the inode's own time is then the better witness.
    touched = stat.st_mtime if stat.st_mtime <= now else stat.st_ctime
    return min(settle, touched + settle - now)


def speakable(path: Path) -> Path:
    """The drop under a name that can be written down: bytes that are not UTF-8 are renamed to ``%XX``."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raw = os.fsencode(path.name)
        name = raw.decode("utf-8", errors="backslashreplace").replace("\\x", "%")
        return path.rename(path.with_name(name))
    return path
