# ruff: noqa: S608 -- every name in it is the store's own
"""What all readers of drops share: the table ``raw``, the reasons why nothing can be taken, text plain or packed."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import pandas as pd

__all__ = [
    "COLUMNS",
    "FIELD",
    "LINE",
    "PIECE",
    "Readable",
    "Record",
    "Refused",
    "Text",
    "create_raw",
    "fill",
    "form",
    "packed",
    "refuse_wide",
    "unpacked",
]

FIELD = 2**17  # signs in one field: the limit of Python's csv, which is one for the whole process and left as it is
LINE = 2**22  # signs in one line
PIECE = 2**18  # bytes looked through at a time
COLUMNS = 1000
BATCH = 20_000  # records held in Python at a time,
SIGNS = 2**24  # and signs, unless one record has more
UNPACKED = 2**26  # bytes that any gzip may unpack to
RATIO = 250  # a larger one may unpack to so many times its size: tables reach 20, a bomb 1,000

FORM = "{'name': NULL, 'fault': fault, 'value': NULL}"  # a fault of a record's form, as `bad` holds it
KINDS = {b"\x1f\x8b": "packed by gzip: name it .csv.gz", b"PK\x03\x04": "a ZIP archive or a workbook: save it as CSV"}


Record = tuple[int, list[Any], str | None]
"""Its first line, its fields as they stand (a text or None), and what is wrong with its form, or None."""


class Refused(Exception):
    """A file of which nothing can be taken; the message is the reason, in plain words."""


class Readable(Protocol):
    """A drop that can be read: its header, its data records counted, and loaded.

    ``typed``: its numbers are numbers, whose text has a point, however people write them.
    """

    header: list[str]
    typed: bool

    def count(self) -> int:
        """Data records."""

    def load(self, connection: Any) -> None:
        """Make the table ``raw`` (line, c0, c1 …, all text) and put records of a wrong form into ``bad``."""


class Text:
    """A file of UTF-8, plain or packed by gzip, found sound to its last byte before the first record is read.

    Raises:
        Refused: it is binary or not UTF-8; or its gzip is cut short, damaged, or unpacks to far too much.
    """

    def __init__(self, path: Path):
        self._path, self._packed = path, packed(path)
        try:
            self._look_through()
        except EOFError:
            raise Refused("a gzip that is cut short: nothing of it was taken") from None
        except (gzip.BadGzipFile, zlib.error):
            raise Refused("not gzip, or damaged: nothing of it was taken") from None

    def lines(self, newline: str = "") -> Iterator[str]:
        """The lines with their ends as they stand; with ``newline`` a line ends there only.

        Raises:
            Refused: a line is too long.
        """
        with unpacked(self._path) as file, _decoded(file, newline) as text:
            while line := text.readline(LINE):
                if len(line) == LINE:
                    raise Refused(f"a line of more than {LINE:,} signs")
                yield line

    def _look_through(self) -> None:
        decoder, place = codecs.getincrementaldecoder("utf-8")(), 0
        most = max(UNPACKED, RATIO * self._path.stat().st_size)
        with unpacked(self._path) as file:
            while True:
                piece = file.read(PIECE)
                if place == 0:
                    _refuse_kind(piece)
                if (zero := piece.find(0)) >= 0:
                    raise Refused(f"binary content, not text: byte {place + zero + 1} is zero")
                held = len(decoder.getstate()[0])
                try:
                    decoder.decode(piece, final=not piece)
                except UnicodeDecodeError as error:
                    at = place - held + error.start + 1
                    raise Refused(f"not UTF-8: byte {at}; save it as UTF-8") from None
                if not piece:
                    return
                place += len(piece)
                if self._packed and place > most:
                    raise Refused(f"a gzip that unpacks to more than {most:,} bytes")


def form(path: Path) -> Literal["parquet", "json", "csv"]:
    """What a drop is, as its name says."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return "parquet"
    return "json" if name.removesuffix(".gz").endswith((".jsonl", ".ndjson")) else "csv"


def packed(path: Path) -> bool:
    """Whether its name says that a drop is packed by gzip."""
    return path.suffix.lower() == ".gz"


def unpacked(path: Path) -> io.BufferedIOBase:
    """A drop's bytes, open to be read: those within if it is packed."""
    return gzip.open(path, "rb") if packed(path) else path.open("rb")


def _decoded(file: Any, newline: str) -> TextIO:
    """A file's bytes as text, without the mark that some put before UTF-8."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)


def _refuse_kind(piece: bytes) -> None:
    if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Refused("UTF-16, not UTF-8: save it as UTF-8")
    for mark, kind in KINDS.items():
        if piece.startswith(mark):
            raise Refused(f"binary content, not text: {kind}")


def create_raw(connection: Any, header: list[str]) -> list[str]:
    """An empty table ``raw`` for records with these fields; its columns' names."""
    names = [f"c{place}" for place in range(len(header))]
    typed = "".join(f", {name} VARCHAR" for name in names)
    connection.execute(f"CREATE OR REPLACE TABLE raw (line BIGINT{typed})")
    return ["line", *names]


def fill(connection: Any, names: list[str], records: Iterable[Record]) -> None:
    """Add records to ``raw``, those with a fault to ``bad``, so many at a time as memory is meant to hold."""
    batch, signs = [], 0
    for record in records:
        batch.append(record)
        signs += sum(len(field) for field in record[1] if field)
        if len(batch) == BATCH or signs > SIGNS:
            _add(connection, names, batch)
            batch, signs = [], 0
    _add(connection, names, batch)


def _add(connection: Any, names: list[str], batch: list[Record]) -> None:
    whole = [(line, *fields) for line, fields, fault in batch if fault is None]
    _insert(connection, "raw", names, whole, "*")
    bad = [record for record in batch if record[2] is not None]
    _insert(connection, "bad", ["line", "raw", "fault"], bad, f"line, [{FORM}], raw")


def _insert(connection: Any, table: str, names: list[str], rows: list[Any], select: str) -> None:
    if rows:
        connection.register("batch", pd.DataFrame(rows, columns=names, dtype=object))
        connection.execute(f"INSERT INTO {table} SELECT {select} FROM batch")
        connection.unregister("batch")


def refuse_wide(header: list[str]) -> None:
    """Raise Refused if there are too many columns."""
    if len(header) > COLUMNS:
        raise Refused(f"more than {COLUMNS:,} columns")
