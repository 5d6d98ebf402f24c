"""Folders among the system's temporary ones, which are there as long as their process is.

A name tells whose a folder is, so that what a process left that was killed is found, and removed, by the next one. It
is one that no person gives: ``attrition-20261130`` is somebody's backup of that day, and no process.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from attrition import safe

__all__ = ["alone", "prefix", "sweep"]

Kind = Literal["kernel", "notebook", "replay", "sample", "try"]
NAME = re.compile(rf"attrition-(?:{'|'.join(get_args(Kind))}|duckdb)-pid([0-9]{{1,9}})(?:-.*)?")


def prefix(kind: Kind) -> str:
    """What the name of a folder of this process begins with."""
    return f"attrition-{kind}-pid{os.getpid()}-"


def alone() -> Path:
    """The one folder of its kind that this process has: DuckDB makes it where memory is too small, and removes it."""
    return Path(tempfile.gettempdir(), f"attrition-duckdb-pid{os.getpid()}")


def sweep() -> list[Path]:
    """Remove this user's folders whose process is gone; those that could not be removed."""
    left = []
    for path in Path(tempfile.gettempdir()).glob("attrition-*"):
        named = NAME.fullmatch(path.name)
        with suppress(FileNotFoundError):  # another process was quicker, or is just done with its own
            if named and path.lstat().st_uid == os.getuid() and not safe.alive(int(named[1]), path):
                shutil.rmtree(path, ignore_errors=True)
                left += [path] if safe.there(path) else []
    return left
