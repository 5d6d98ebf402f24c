"""The rights of an ordinary user, for a while: the superuser reads whatever its mode says."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = 0x20080522  # of the call, as capset(2) has it
OVERRIDE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def closed(path: Path, mode: int = 0) -> Iterator[None]:
    """A file or folder that nobody has a right to, also where the tests are the superuser's.

    Only this thread, and those that it starts, respect it; the rights come back at the end.
    """
    before = path.stat().st_mode & 0o7777
    path.chmod(mode)
    kept = _capabilities()
    try:
        _set([kept[0] & ~OVERRIDE, *kept[1:]])
        yield
    finally:
        _set(kept)
        path.chmod(before)


def _capabilities() -> list[int]:
    found = (ctypes.c_uint32 * 6)()
    _call("capget", found)
    return list(found)


def _set(wanted: list[int]) -> None:
    _call("capset", (ctypes.c_uint32 * 6)(*wanted))


def _call(name: str, data: ctypes.Array[ctypes.c_uint32]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint32 * 2)(VERSION, 0)
    if getattr(libc, name)(head, data):
        raise OSError(ctypes.get_errno(), name)
