"""The library of `shim.c` in Python: built once, loaded before all others, armed for one piece of work."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

__all__ = [
    "CHANGES",
    "CLOCK",
    "Fault",
    "Kind",
    "Mode",
    "Step",
    "arm",
    "available",
    "build",
    "disarm",
    "loaded",
    "read",
    "steps",
]

SOURCE = Path(__file__).with_name("shim.c")
HEAD = struct.Struct("<BBHIQq")
LOADED = "CAMPAIGN_SHIM"
"""Set in a process that has the library."""
CLOCK = "CAMPAIGN_CLOCK"
"""By how many seconds the clock of a process that has the library is off."""


class Mode(IntEnum):
    """What the library does at its step."""

    OFF, NOTE, KILL_BEFORE, KILL_AFTER, KILL_HALF, FAIL, SHORT, HOLD = range(8)


class Kind(IntEnum):
    """What a step is."""

    OPEN, CREATE, WRITE, CUT, RENAME, LINK, UNLINK, MKDIR, RMDIR, SYNC, LOOK, READ, ASK = range(1, 14)


CHANGES = tuple(kind for kind in Kind if kind not in (Kind.OPEN, Kind.LOOK, Kind.READ, Kind.ASK))
"""The steps after which a disk is not as before, or is it for good."""


@dataclass(frozen=True)
class Fault:
    """What happens at which step; the number counts those of ``kinds`` only."""

    mode: Mode
    number: int = -1
    errno: int = 0
    lasting: bool = False  # an error stays until the process ends
    kinds: tuple[Kind, ...] = CHANGES

    def __str__(self) -> str:
        error = f" {os.strerror(self.errno)}" if self.errno else ""
        return f"{self.mode.name.lower()}{error}{' for good' if self.lasting else ''} at step {self.number}"


@dataclass(frozen=True)
class Step:
    """One thing that was done to the disk; ``data`` is what was written, or a second path."""

    kind: Kind
    inode: int
    offset: int  # or the length of a file that was cut
    path: str
    data: bytes


def available() -> str:
    """Why the library cannot be had; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "the shim is for Linux"
    return "" if shutil.which("cc") else "no C compiler (Debian: gcc, libc6-dev)"


def build() -> Path:
    """The compiled library, in a folder of this user's among temporary files; compiled if its source is new."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"attrition-campaign-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else: remove it, or set TMPDIR")
    target = folder / f"shim-{digest}.so"
    if not target.exists():
        beside = target.with_suffix(f".{os.getpid()}")
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(beside), str(SOURCE), "-ldl"]
        subprocess.run([*command, "-lpthread"], check=True)
        beside.replace(target)
    return target


def loaded() -> bool:
    """Whether this process has the library."""
    return LOADED in os.environ


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def arm(root: Path, fault: Fault, log: int = -1) -> None:
    """From now on, in this process: ``fault`` below ``root``, and each change written to the file handle ``log``."""
    mask = sum(1 << kind for kind in fault.kinds)
    given = (fault.mode, ctypes.c_long(fault.number), fault.errno, fault.lasting, mask, log)
    _library().shim_arm(os.fsencode(root), *given)


def disarm() -> None:
    """Nothing more."""
    _library().shim_disarm()


def steps() -> int:
    """How many steps were made since the library was armed."""
    count = _library().shim_steps
    count.restype = ctypes.c_long
    return int(count())


def read(log: Path) -> list[Step]:
    """What a process did to the disk."""
    return list(_records(log.read_bytes()))


def _records(data: bytes) -> Iterator[Step]:
    at = 0
    while at < len(data):
        kind, _, first, second, inode, offset = HEAD.unpack_from(data, at)
        at += HEAD.size
        path, content = data[at : at + first], data[at + first : at + first + second]
        at += first + second
        yield Step(Kind(kind), inode, offset, os.fsdecode(path), content)


def again(module: str, words: Sequence[str]) -> None:
    """Replace this process by one of itself that has the library, unless it has."""
    if loaded():
        return
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {
        **os.environ,
        **threads,
        "PIP_NO_INDEX": "1",
        "LD_PRELOAD": str(build()),
        LOADED: "1",
        "PYTHONHASHSEED": "0",
    }
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *words], environment)
