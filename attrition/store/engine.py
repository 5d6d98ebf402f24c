"""DuckDB as the store uses it: a bounded connection, and every name and text in SQL quoted in one place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from attrition.params import Portfolio

__all__ = [
    "ALONE",
    "BESIDE",
    "OWN",
    "WIDE",
    "Room",
    "StoreError",
    "connect",
    "database",
    "fields",
    "listed",
    "literal",
    "quoted",
    "setting",
]

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
    """What DuckDB may use for one task: ``memory`` it may hold (the rest lies in files), and ``threads``."""

    memory: str
    threads: int


ALONE = Room("288MB", 2)
"""For a drop or a bucket by itself."""

BESIDE = Room("152MB", 1)
"""For one of two at a time."""

WIDE = Room("1GB", 2)
"""For all else."""


class StoreError(Exception):
    """The store and what is asked of it do not fit; the message says what to do."""


_idle: dict[tuple[int, Room], list[Any]] = {}
"""Databases that nobody uses at the moment, by process (their threads do not survive a fork) and room."""


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
            "temp_directory": str(temp or _shared()),
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


@contextmanager
def connect(room: Room = WIDE, temp: Path | None = None) -> Iterator[Any]:
    """A connection to a `database`, of which nothing is left after the ``with`` block but what it set (`setting`).

    To make a database takes 14 ms, so one is used again, unless something went wrong in it or it went on in files.
    """
    owner, going_on = _owner(room, temp), temp or _shared()
    sound = False
    try:
        with owner.cursor() as connection:
            connection.execute(f"SET temp_directory = {literal(going_on)}; ATTACH ':memory:' AS block; USE block")
            yield connection
            sound = _emptied(connection) and not going_on.exists()  # it cannot be told to go on elsewhere
    finally:
        if sound:
            _idle.setdefault((os.getpid(), room), []).append(owner)
        else:
            owner.close()


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
        return _idle[os.getpid(), room].pop()
    except (KeyError, IndexError):
        return database(room, temp)


def _emptied(connection: Any) -> bool:
    """Take out of a database what was made in it; False if DuckDB has given it up."""
    try:
        connection.execute("USE memory; DETACH block")
    except duckdb.FatalException:
        return False
    return True


def _shared() -> Path:
    return Path(tempfile.gettempdir(), f"attrition-{os.getpid()}")


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


def literal(text: str | Path) -> str:
    """A text as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"
