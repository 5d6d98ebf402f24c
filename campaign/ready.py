"""DuckDB databases opened before the fork: a tick makes eight, which took a fifth of its time.

They have no thread yet, so that they live on in a fork; there each gets its threads and the other settings that were
asked for when somebody connects. What is asked of them afterwards is as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

__all__ = ["databases"]

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
