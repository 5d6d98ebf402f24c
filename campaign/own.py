"""Mounts that only this process and its children see."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = ["mount", "mounts", "passable"]

NEW_NAMESPACE, REMOUNT, BIND, ALL_BELOW, PRIVATE = 0x00020000, 32, 0x1000, 0x4000, 0x40000


def mounts() -> None:
    """From now on what is mounted is this process's own; needs root.

    Raises:
        OSError: it may not.
    """
    _call("unshare", NEW_NAMESPACE)
    _call("mount", b"none", b"/", None, ALL_BELOW | PRIVATE, None)


def mount(at: Path, options: str, *, again: bool = False) -> None:
    """A file system in memory; ``again`` changes the options of one.

    Raises:
        OSError: it cannot be.
    """
    _call("mount", b"tmpfs", os.fsencode(at), b"tmpfs", REMOUNT if again else 0, options.encode())


def passable(path: Path) -> None:
    """Let every user pass through the folders above ``path``, of which each may forbid it: there stands another then,
    with the same folders in it.

    Raises:
        OSError: it cannot be.
    """
    for above in reversed(path.parents):
        if not above.stat().st_mode & 0o001:
            inside = [each for each in above.iterdir() if each.is_dir() and not each.is_symlink()]
            handles = {each.name: os.open(each, os.O_PATH) for each in inside}
            mount(above, "mode=755")
            for name, handle in handles.items():
                (above / name).mkdir()
                _call("mount", f"/proc/self/fd/{handle}".encode(), os.fsencode(above / name), None, BIND, None)
                os.close(handle)


def _call(name: str, *given: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*given) != 0:
        raise OSError(ctypes.get_errno(), name)
