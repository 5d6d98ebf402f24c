# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""A drop's bytes as numbered records of text: the table ``raw``, and in ``bad`` what is no record.

The CSV reader is Python's own, in strict mode: its counts and line numbers are exact, where a
sniffing reader may lose a header, a row or a whole file without a word.
"""

from __future__ import annotations

import codecs
import csv
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TextIO

import duckdb
import pandas as pd

from attrition.store.engine import connect, literal, quoted

__all__ = ["Readable", "Refused", "open_drop"]

FIELD = 2**20  # signs in one field
LINE = 4 * FIELD  # signs in one line
COLUMNS = 1000
BATCH = 20_000  # records held in Python at a time

FORM = "{'name': NULL, 'fault': fault, 'value': NULL}"  # a fault of a record's form, as `bad` holds it

Record = tuple[int, list[str], str | None]  # first line, fields as they stand, what is wrong with their form


class Refused(Exception):
    """A file of which nothing can be taken; the message is the reason, in plain words."""


class Readable(Protocol):
    """A drop that can be read: its header, its data records counted, and loaded."""

    header: list[str]

    def count(self) -> int:
        """Data records."""

    def load(self, connection: Any) -> None:
        """Make the table ``raw`` (line, c0, c1 …, all text) and put records of a wrong form into ``bad``."""


def open_drop(path: Path, delimiter: str) -> Readable:
    """Read a drop's header: Parquet if its name ends so, else CSV.

    Raises:
        Refused: it is no regular file, is empty, binary, damaged or not UTF-8, or may not be read.
    """
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        raise Refused("a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file")
    if path.stat().st_size == 0:
        raise Refused("an empty file")
    try:
        return _Parquet(path) if path.suffix.lower() == ".parquet" else _Csv(path, delimiter)
    except PermissionError:
        raise Refused("the file may not be read: its permissions forbid it") from None


class _Csv:
    def __init__(self, path: Path, delimiter: str):
        self._path, self._delimiter = path, delimiter
        _refuse_binary(path)
        _, fields, fault = next(self._records(), (1, None, None))
        if fields is None:
            raise Refused("an empty file")
        if fault is not None:
            raise Refused(f"the header has {fault}")
        _refuse_wide(fields)
        self.header = [name.strip() for name in fields]

    def count(self) -> int:
        return sum(1 for _ in self._records()) - 1

    def load(self, connection: Any) -> None:
        names = _create_raw(connection, self.header)
        records = islice(self._records(), 1, None)
        while batch := list(islice(records, BATCH)):
            whole = [(line, *fields) for line, fields, fault in batch if fault is None]
            _insert(connection, "raw", names, whole, "*")
            bad = [record for record in batch if record[2] is not None]
            _insert(connection, "bad", ["line", "raw", "fault"], bad, f"line, [{FORM}], raw")

    def _records(self) -> Iterator[Record]:
        """The header, then all data records; empty lines are none."""
        csv.field_size_limit(FIELD)
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            seen: list[str] = []  # the lines of the record at hand
            reader = csv.reader(_lines(file, seen), delimiter=self._delimiter, strict=True)
            width, start = None, 1
            while True:
                try:
                    fields, fault = next(reader), None
                except StopIteration:
                    return
                except csv.Error as error:
                    fields, fault = ["".join(seen).rstrip("\r\n")], _malformed(error, start)
                if fields:
                    width = len(fields) if width is None else width
                    if fault is None and len(fields) != width:
                        fault = f"expected {width} fields, found {len(fields)}"
                    yield start, fields, fault
                start = reader.line_num + 1
                seen.clear()


def _lines(file: TextIO, seen: list[str]) -> Iterator[str]:
    while line := file.readline(LINE):
        if len(line) == LINE:
            raise Refused(f"a line of more than {LINE:,} signs")
        seen.append(line)
        yield line


def _malformed(error: csv.Error, line: int) -> str:
    """The fault of one record; a fault that leaves the bounds of later records unknown refuses the file."""
    if "field limit" in str(error):
        raise Refused(f"a field of more than {FIELD:,} signs in the record of line {line}") from None
    if "end of data" in str(error):
        raise Refused(f"a quote opened in the record of line {line} is never closed") from None
    return "text after a closing quote"


def _insert(connection: Any, table: str, names: list[str], rows: list[Any], select: str) -> None:
    if rows:
        connection.register("batch", pd.DataFrame(rows, columns=names, dtype=object))
        connection.execute(f"INSERT INTO {table} SELECT {select} FROM batch")
        connection.unregister("batch")


def _refuse_binary(path: Path) -> None:
    decoder, place = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as file:
        while True:
            piece = file.read(FIELD)
            if place == 0 and piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise Refused("UTF-16, not UTF-8: save it as UTF-8")
            if (zero := piece.find(0)) >= 0:
                raise Refused(f"binary content, not text: byte {place + zero + 1} is zero")
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise Refused(f"not UTF-8: byte {place - held + error.start + 1}") from None
            if not piece:
                return
            place += len(piece)


class _Parquet:
    def __init__(self, path: Path):
        # A connection of its own: some damage makes DuckDB give up the whole database that met it.
        self._own = connect()
        self._from = f"read_parquet({literal(path)}, hive_partitioning = false, file_row_number = true)"
        try:
            described = self._own.execute(f"DESCRIBE SELECT * FROM {self._from}").fetchall()
            self._count = self._own.execute(f"SELECT count(*) FROM {self._from}").fetchone()[0]
        except UnicodeEncodeError:
            raise Refused("the name of the file is not UTF-8") from None
        except duckdb.Error:
            raise Refused("not Parquet, or damaged") from None
        self.header = [name for name, *_ in described if name != "file_row_number"]
        _refuse_wide(self.header)

    def count(self) -> int:
        return int(self._count)

    def load(self, connection: Any) -> None:
        names = _create_raw(connection, self.header)
        texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in self.header)
        try:
            found = self._own.execute(f"SELECT file_row_number + 1, {texts} FROM {self._from}")
            while rows := found.fetchmany(BATCH):
                _insert(connection, "raw", names, rows, "*")
        except (duckdb.Error, UnicodeDecodeError):
            raise Refused("damaged Parquet: its rows cannot be read") from None


def _create_raw(connection: Any, header: list[str]) -> list[str]:
    names = [f"c{place}" for place in range(len(header))]
    connection.execute(f"CREATE OR REPLACE TABLE raw (line BIGINT, {', '.join(f'{name} VARCHAR' for name in names)})")
    return ["line", *names]


def _refuse_wide(header: list[str]) -> None:
    if len(header) > COLUMNS:
        raise Refused(f"more than {COLUMNS:,} columns")
