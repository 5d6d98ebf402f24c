# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""The lines of a file of any format, so many at a time as memory is meant to hold."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

__all__ = ["ENDS", "batches", "is_text", "lines_in", "lines_of", "pieces_of"]

WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LINES, SIGNS = 10_000, 2**22
"""Of a file that are looked at at a time: a drop may have more than memory holds, and all of it in one line."""
OVERLAP = 2**12
"""Signs of a line that are looked at once more with its next piece: an id may begin in the one and end in the other."""
ENDS = ("\n", "\r")


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file of any format; of one that is not what it says it is, its bytes."""
    with path.open("rb") as file:
        head = file.read(4)
    try:
        if head == b"PAR1":
            yield from _rows(path)
        else:
            packed, wide = head[:2] == b"\x1f\x8b", head.startswith(WIDE)
            encoding = "utf-16" if wide else "utf-8"
            read = gzip.open if packed else open
            with read(path, "rt", encoding=encoding, errors="replace", newline="") as text:
                yield from pieces_of(text)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        yield from _bytes(path)


def _rows(path: Path) -> Iterator[str]:
    import duckdb

    from attrition.store.engine import connect, rows_in

    try:
        with connect() as db:
            found = db.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {rows_in([path])}")
            yield _line([name for name, *_ in found.description])
            while rows := found.fetchmany(LINES):
                yield from map(_line, rows)
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.Error, UnicodeDecodeError):
        yield from _bytes(path)


def _line(fields: Iterable[str | None]) -> str:
    """Fields as a line of a CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue()


def _bytes(path: Path) -> Iterator[str]:
    with path.open(encoding="latin-1", newline="") as text:
        yield from pieces_of(text)


def pieces_of(text: IO[str]) -> Iterator[str]:
    """The lines of a text; of one that is very long, as of a gzip that unpacks to gigabytes of zeros, its parts."""
    while piece := text.readline(SIGNS):
        yield piece


def batches(pieces: Iterable[str]) -> Iterator[tuple[list[str], list[str]]]:
    """A file's lines, or pieces of them, so many at a time as memory is meant to hold; and what to look at of each."""
    batch: list[str] = []
    told: list[str] = []
    signs, before = 0, ""
    for piece in pieces:
        batch.append(piece)
        told.append(before + piece)
        signs += len(piece)
        before = "" if piece.endswith(ENDS) else piece[-OVERLAP:]
        if len(batch) == LINES or signs > SIGNS:
            yield batch, told
            batch, told, signs = [], [], 0
    yield batch, told


def lines_in(text: str, newline: str = "") -> list[str]:
    """A text's lines with their ends; `str.splitlines` also ends one within a JSON document, where U+2028 stands."""
    return io.StringIO(text, newline=newline).readlines()


def is_text(data: bytes) -> bool:
    """Whether bytes that begin so may be a text in UTF-8."""
    return not data.startswith((b"PAR1", b"\x1f\x8b", *WIDE))
