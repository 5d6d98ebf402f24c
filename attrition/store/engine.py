"""DuckDB as the store uses it: a bounded connection, and every name and text in SQL quoted in one place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from attrition.params import Portfolio

__all__ = ["OWN", "StoreError", "connect", "fields", "listed", "literal", "quoted"]

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


class StoreError(Exception):
    """The store and what is asked of it do not fit; the message says what to do."""


def connect(memory: str = "1GB", temp: Path | None = None) -> Any:
    """A new DuckDB connection in memory: two threads, UTC, nothing fetched, no Python variable in scope.

    Args:
        memory: what it may hold; beyond that it goes on in files.
        temp: the folder of these files; None: one of this process among the system's.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "threads": 2,
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
