# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Parquet as records of text, so that it is held to the same rules as a CSV; a line is a row's number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from attrition.store.engine import database, literal, quoted, rows_in, sayable, this
from attrition.store.raw import Record, Refused, create_raw, fill, refuse_wide

__all__ = ["Parquet"]

ROWS = 1024  # fetched at a time
NUMBER = "file_row_number"
"""What DuckDB calls the number of a row, and no column can be called."""
MIDNIGHT = " 00:00:00+00"
WHOLE = 2**53
"""Below it a double is one whole number."""


class Parquet:
    """A file of Parquet; ``rows``: SQL for its records as text, with the columns line, c0, c1 ….

    Raises:
        Refused: it is none, or is damaged.
    """

    typed = True

    def __init__(self, path: Path):
        # A connection of its own: some damage makes DuckDB give up the whole database that met it.
        self._own = database()
        self._from = f"read_parquet({this(path)}, hive_partitioning = false, file_row_number = true)"
        if not sayable(path):
            raise Refused("DuckDB cannot be told this name: it has a backslash, or is not UTF-8")
        try:
            read = rows_in([path])
            kinds = {name: kind for name, kind, *_ in self._own.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()}
            if NUMBER in map(str.lower, kinds):
                raise Refused(f"a column called {NUMBER}: give it another name")
            self._count = self._own.execute(f"SELECT count(*) FROM {self._from}").fetchone()[0]
            nodes = self._own.execute(f"SELECT name, num_children FROM parquet_schema({this(path)})").fetchall()
        except duckdb.Error:
            raise Refused("not Parquet, or damaged") from None
        self.header = _columns(nodes)
        if len(self.header) != len(kinds):
            raise Refused("not Parquet, or damaged")
        refuse_wide(self.header)
        texts = (f"{_text(name, kind)} AS c{place}" for place, (name, kind) in enumerate(kinds.items()))
        self.rows = f"(SELECT {NUMBER} + 1 AS line, {', '.join(texts)} FROM {self._from})"

    def count(self) -> int:
        """Rows."""
        return int(self._count)

    def load(self, connection: Any) -> None:
        """Make the table ``raw``."""
        names = create_raw(connection, self.header)
        fill(connection, names, self._records())  # what goes wrong here, such as a full disk, is not the file's fault

    def _records(self) -> Iterator[Record]:
        try:
            found = self._own.execute(f"FROM {self.rows}")
            while rows := found.fetchmany(ROWS):
                for line, *fields in rows:
                    yield line, fields, None
        except (duckdb.Error, UnicodeDecodeError):
            raise Refused("damaged Parquet: its rows cannot be read") from None


def _columns(nodes: list[tuple[str, int | None]]) -> list[str]:
    """The names of a file's columns, as its schema has them: DuckDB calls the second of ``Fee`` and ``fee`` fee_1.

    ``nodes`` is the schema's tree from its root on, each with the number of those that follow below it.
    """
    names, left = [], 0  # below a column
    for name, children in nodes[1:]:
        if left == 0:
            names.append(name)
        left = max(left - 1, 0) + (children or 0)
    return names


def _text(name: str, kind: str) -> str:
    """SQL for a column's values as a CSV would have them, whatever type its writer had for them.

    pandas makes doubles of whole numbers where one is missing, which is NaN there, and times of days.
    """
    value = quoted(name)
    plain = f"CAST({value} AS VARCHAR)"
    if kind in ("DOUBLE", "FLOAT"):
        whole = f"{value} = trunc({value}) AND abs({value}) < {WHOLE}"
        short = f"CAST(TRY_CAST({value} AS BIGINT) AS VARCHAR)"
        return f"CASE WHEN isnan({value}) THEN NULL WHEN {whole} THEN {short} ELSE {plain} END"
    if kind.startswith("DECIMAL"):
        return f"CASE WHEN {value} = trunc({value}) THEN CAST(CAST({value} AS HUGEINT) AS VARCHAR) ELSE {plain} END"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"CASE WHEN ends_with({plain}, {literal(MIDNIGHT)}) THEN {plain}[:-{len(MIDNIGHT) + 1}] ELSE {plain} END"
    if kind in ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"):
        return f"CASE WHEN {value} = CAST({value} AS DATE) THEN CAST(CAST({value} AS DATE) AS VARCHAR) ELSE {plain} END"
    return plain
