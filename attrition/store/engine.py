"""DuckDB as the store uses it: a bounded connection, and every name and text in SQL quoted in one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb

from attrition import safe, scratch
from attrition.params import Portfolio

__all__ = [
    "ALONE",
    "BESIDE",
    "OWN",
    "WIDE",
    "Room",
    "StoreError",
    "alike",
    "connect",
    "database",
    "fields",
    "listed",
    "literal",
    "quoted",
    "roomy",
    "rows_in",
    "sayable",
    "setting",
    "this",
]

Some = TypeVar("Some")
OWN = {"_row": "BIGINT", "_version": "BIGINT", "_hash": "BIGINT"}
"""Columns that the store adds to a portfolio's."""

_TYPES = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "category": "VARCHAR",
    "text": "VARCHAR",
    "date": "DATE",
}


class Room(NamedTuple):
    """What DuckDB may use for one task: ``memory`` it may hold (the rest lies in files), and ``threads``.

    ``keeps``: what it took may stay with the process, for the next task will need it.
    """

    memory: str
    threads: int
    keeps: bool = False


ALONE = Room("288MB", 2, keeps=True)
"""For a drop or a bucket by itself."""

BESIDE = Room("152MB", 1, keeps=True)
"""For one of two at a time."""

WIDE = Room("1GB", 2)
"""For all else."""


class StoreError(Exception):
    """The store and what is asked of it do not fit; the message says what to do."""


class Damaged(StoreError):
    """A file of it is not what was written."""


PATTERN = "*?["
"""Signs that make a path one."""
GROWN = 2**26
"""Bytes by which a block may have made the process grow; if by more, its database is closed."""

_idle: dict[Room, list[Any]] = {}
"""Databases that nobody uses at the moment."""


def database(room: Room = WIDE, temp: Path | None = None) -> Any:
    """A new DuckDB database in memory and a connection to it: UTC, nothing fetched, no Python variable in scope.

    Args:
        room: what it may use.
        temp: the folder of the files that it goes on in; None: one of this process among the system's.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": room.memory,
            "threads": room.threads,
            "async_threads": 0,  # eight a database, of which an ingest on two cores is a twentieth slower
            "temp_directory": str(temp or scratch.alone()),
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


@contextmanager
def connect(room: Room = WIDE, temp: Path | None = None) -> Iterator[Any]:
    """A connection to a `database`; tables and views that are made in the ``with`` block end with it.

    To make a database takes 14 ms, so one is used again, unless something went wrong in it, it went on in files, or its
    block took much memory (`GROWN`): DuckDB gives that back when a database is closed.
    """
    owner, going_on, before = _owner(room, temp), temp or scratch.alone(), _resident()
    sound = False
    try:
        with owner.cursor() as connection:
            connection.execute(f"SET temp_directory = {literal(going_on)}; ATTACH ':memory:' AS block; USE block")
            yield connection
            sound = _emptied(connection) and not safe.exists(going_on)  # it cannot be told to go on elsewhere
    finally:
        if sound and (room.keeps or _resident() - before < GROWN):
            _idle.setdefault(room, []).append(owner)
        else:
            owner.close()


def roomy(work: Callable[[Any], Some], task: Any) -> Some:
    """Do a ``task``, a dataclass with a ``room``; in `WIDE` if that is too small, as for hundreds of columns."""
    try:
        return work(task)
    except duckdb.OutOfMemoryException:
        return work(replace(task, room=WIDE))


@contextmanager
def setting(connection: Any, **values: Any) -> Iterator[None]:
    """Settings of a connection's database for a ``with`` block."""
    for name, value in values.items():
        connection.execute(f"SET {name} = {value}")
    try:
        yield
    finally:
        with suppress(duckdb.FatalException):  # given up by DuckDB
            for name in values:
                connection.execute(f"RESET {name}")


def _owner(room: Room, temp: Path | None) -> Any:
    try:
        return _idle[room].pop()
    except (KeyError, IndexError):
        return database(room, temp)


def _emptied(connection: Any) -> bool:
    """Take out of a database what was made in it; False if that cannot be, which says nothing of the work done."""
    try:
        connection.execute("USE memory; DETACH block")
    except duckdb.Error:
        return False
    return True


def _close_idle() -> None:
    """Before a fork, which their threads would not survive."""
    while _idle:
        _, owners = _idle.popitem()
        for owner in owners:
            owner.close()


os.register_at_fork(before=_close_idle)


def _resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


def fields(portfolio: Portfolio) -> dict[str, str]:
    """SQL types of a portfolio's columns in the order of its YAML, then of its target (1, 0 or NULL)."""
    types = {name: _TYPES[column.type] for name, column in portfolio.columns.items()}
    return {**types, portfolio.target.column: "TINYINT"}


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Names as a list of SQL identifiers."""
    return ", ".join(map(quoted, names))


def rows_in(files: Iterable[Path | str]) -> str:
    """SQL for the rows of files of Parquet: no more columns than these have, whatever the folders above are called.

    DuckDB takes a folder ``plan=Team`` for a column of its own, which hides the one in the file.
    """
    return f"read_parquet([{', '.join(map(this, files))}], hive_partitioning = false)"


def this(path: str | Path) -> str:
    """A path to be read, as an SQL string: DuckDB would take ``export[1].csv`` for a pattern, which is export1.csv."""
    return literal("".join(f"[{sign}]" if sign in PATTERN else sign for sign in str(path)))


def sayable(path: str | Path) -> bool:
    """Whether DuckDB can be told to read this path: in a pattern a backslash parts folders, and SQL is UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return "\\" not in str(path) or not set(PATTERN) & set(str(path))


def alike(one: str, other: str, names: Iterable[str]) -> str:
    """SQL for whether rows of two tables have the same in some columns, nothing being the same as nothing."""
    return " AND ".join(f"{one}.{quoted(name)} IS NOT DISTINCT FROM {other}.{quoted(name)}" for name in names)


def literal(text: str | Path) -> str:
    """A text as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"
