"""What waits in ``incoming/``, and what of it is complete. Standard library only: every quiet tick runs this."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from attrition import safe
from attrition.store import marks

__all__ = [
    "DONE",
    "UNFINISHED",
    "Waiting",
    "being_written",
    "is_drop",
    "names",
    "speakable",
    "spoken",
    "waiting",
]

UNFINISHED = (".tmp", ".part")
DONE = ".done"
Seen = tuple[int, int, int, int]
"""What a file was at one look: its inode, size and times."""


@dataclass(frozen=True)
class Waiting:
    """Drops to take now, by name, and the seconds until the youngest other one is complete (0.0: there is none).

    Those that have lain still long enough, and that a process has open for writing all the same, are ``held``. Those
    whose times all lie ahead of the clock are ``ahead``, as they are now: only a second look tells whether they lie
    still.
    """

    ready: list[Path]
    unsettled: float
    held: Sequence[Path] = ()
    ahead: Mapping[str, Seen] = field(default_factory=dict)


def waiting(incoming: Path, settle: float, now: float, before: Mapping[str, Seen] | None = None) -> Waiting:
    """Look at ``incoming``; a folder that is not there holds nothing.

    A drop is any entry, a folder too, whose name does not start with ``.`` or end in ``.tmp``,
    ``.part`` or ``.done``. It is ready when ``<name>.done`` stands beside it, when we laid it there ourselves
    (`marks.vouched`), or when it has been left alone for ``settle`` seconds before ``now`` (seconds since the
    epoch) and is not `being_written`: an upload that stands still is not over.

    ``before``: those that were ``ahead`` at a look ``settle`` seconds ago. The clock was set back since they were
    written, and they would wait until it is where it was: those that are the same still have been left alone.
    """
    try:
        with os.scandir(incoming) as entries:
            found = {entry.name: entry for entry in entries}
    except FileNotFoundError:
        return Waiting([], 0.0)
    ready, unsettled, held, ahead = [], 0.0, [], {}
    for name in sorted(name for name in found if is_drop(name)):
        try:
            whole = name + DONE in found or marks.vouched(incoming / name)
            about = found[name].stat(follow_symlinks=False)
        except FileNotFoundError:  # gone since the folder was read
            continue
        wait = 0.0 if whole else _wait(about, settle, now)
        if wait > 0 and min(about.st_mtime, about.st_ctime) > now:
            ahead[name] = _seen(about)
            wait = 0.0 if (before or {}).get(name) == ahead[name] else settle
        if wait > 0:
            unsettled = max(unsettled, wait)
        elif not whole and being_written(incoming / name):
            held.append(incoming / name)
        else:
            ready.append(incoming / name)
    return Waiting(ready, unsettled, tuple(held), ahead)


def is_drop(name: str) -> bool:
    """Whether a file of this name is one to take in."""
    return not name.startswith(".") and not name.endswith((*UNFINISHED, DONE))


def being_written(path: Path) -> bool:
    """Whether a process has this file open for writing, as far as one may know: a lease on it would be refused.

    It is not known, and said to be False: of another user's file, on a file system without leases, off Linux, of a
    writer on another kernel. File systems that refuse a lease for reasons of their own are those of `safe.REMOTE`.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except BlockingIOError:  # somebody has a lease to write (Samba takes such), and is told now to give it up
        return True
    except OSError:
        return False
    try:
        # Who opens it while we have the lease is told to wait, and we to let go: by default with SIGIO, which kills.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        return False
    finally:
        os.close(file)  # and the lease ends
    return False


def _wait(about: os.stat_result, settle: float, now: float) -> float:
    # A copy may carry a time from a clock that runs ahead; the inode's own time is then the better witness.
    touched = about.st_mtime if about.st_mtime <= now else about.st_ctime
    return min(settle, touched + settle - now)


def _seen(about: os.stat_result) -> Seen:
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def speakable(path: Path) -> Path:
    """The drop under a name that can be written down: bytes that are not UTF-8 are renamed to ``%XX``."""
    name = spoken(path.name)
    if name == path.name:
        return path
    free = next(each for each in names(path.with_name(safe.derived(name))) if not safe.there(each))
    marks.lift(path)
    return path.rename(free)


def names(path: Path) -> Iterator[Path]:
    """A drop's name, and those that it gets where that one is another's."""
    yield path
    yield from (path.with_name(safe.derived(path.name, f"{number}-")) for number in count(1))


def spoken(name: str) -> str:
    """A name as it can be written down: bytes that are not UTF-8 are ``%XX``."""
    raw = os.fsencode(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("utf-8", errors="backslashreplace").replace("\\x", "%")
