"""DuckDB as the store uses it: a bounded connection, and every name and text in SQL quoted in one place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from attrition.params import Portfolio

__all__ = ["ALONE", "BESIDE", "OWN", "Room", "StoreError", "connect", "fields", "listed", "literal", "quoted"]

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


class StoreError(Exception):
    """The store and what is asked of it do not fit; the message says what to do."""


def connect(room: Room = Room("1GB", 2), temp: Path | None = None) -> Any:  # noqa: B008 -- it cannot change
    """A new DuckDB connection in memory: UTC, nothing fetched, no Python variable in scope.

    Args:
        room: what it may use.
        temp: the folder of the files that it goes on in; None: one of this process among the system's.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": room.memory,
            "threads": room.threads,
            "temp_directory": str(temp or Path(tempfile.gettempdir(), f"attrition-{os.getpid()}")),
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


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
