"""What is made ready before the forks: DuckDB databases, and memory in large pages.

A tick makes eight databases, which took a fifth of its time. They have no thread yet, so that they live on in a fork;
there each gets its threads and the other settings that were asked for when somebody connects. What is asked of them
afterwards is as ever.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

__all__ = ["databases", "large_pages"]

LARGE = 2**21
COLLAPSE = 25
"""MADV_COLLAPSE, since Linux 6.1."""

THREADLESS: dict[str, Any] = {"threads": 1, "async_threads": 0}
_ready: list[Any] = []
_connect = duckdb.connect


def databases(count: int) -> None:
    """Have so many ready in each fork from now on; whoever connects to more, or to a file, opens it as ever."""
    _ready.extend(_connect(config=THREADLESS) for _ in range(count - len(_ready)))
    vars(duckdb)["connect"] = _connected


def _connected(database: str = ":memory:", *, config: Mapping[str, Any] | None = None) -> Any:
    if database != ":memory:" or not _ready:
        return _connect(database, config=dict(config or {}))
    found = _ready.pop()
    wanted = dict(config or {})
    for name in THREADLESS.keys() - wanted:
        found.execute(f"RESET {name}")
    for name, value in wanted.items():
        if THREADLESS.get(name) != value:
            found.execute(f"SET {name} = '{value}'")
    return found


def large_pages() -> None:
    """Have memory in large pages from here on, where the system can: a fork takes half as long, a case a tenth less."""
    madvise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, may, _, _, file, *name = line.split()
        begin, end = (int(each, 16) for each in span.split("-"))
        if "w" in may and file == "0" and name != ["[stack]"]:
            for at in range(-(-begin // LARGE) * LARGE, end - LARGE + 1, LARGE):
                madvise(ctypes.c_void_p(at), ctypes.c_size_t(LARGE), COLLAPSE)
