# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Parquet as records of text, so that it is held to the same rules as a CSV; a line is a row's number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from attrition.store.engine import database, literal, quoted
from attrition.store.raw import Record, Refused, create_raw, fill, refuse_wide

__all__ = ["Parquet"]

ROWS = 1024  # fetched at a time


class Parquet:
    """A file of Parquet.

    Raises:
        Refused: it is none, or is damaged.
    """

    typed = True

    def __init__(self, path: Path):
        # A connection of its own: some damage makes DuckDB give up the whole database that met it.
        self._own = database()
        self._from = f"read_parquet({literal(path)}, hive_partitioning = false, file_row_number = true)"
        try:
            described = self._own.execute(f"DESCRIBE SELECT * FROM {self._from}").fetchall()
            self._count = self._own.execute(f"SELECT count(*) FROM {self._from}").fetchone()[0]
        except UnicodeEncodeError:
            raise Refused("the name of the file is not UTF-8") from None
        except duckdb.Error:
            raise Refused("not Parquet, or damaged") from None
        self.header = [name for name, *_ in described if name != "file_row_number"]
        refuse_wide(self.header)

    def count(self) -> int:
        """Rows."""
        return int(self._count)

    def load(self, connection: Any) -> None:
        """Make the table ``raw``."""
        names = create_raw(connection, self.header)
        fill(connection, names, self._records())  # what goes wrong here, such as a full disk, is not the file's fault

    def _records(self) -> Iterator[Record]:
        texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in self.header)
        try:
            found = self._own.execute(f"SELECT file_row_number + 1, {texts} FROM {self._from}")
            while rows := found.fetchmany(ROWS):
                for line, *fields in rows:
                    yield line, fields, None
        except (duckdb.Error, UnicodeDecodeError):
            raise Refused("damaged Parquet: its rows cannot be read") from None
