# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""A plain drop read by DuckDB as a whole, to the very rows, faults and lines that the exact reader finds.

DuckDB may lose a row, a quote or a header of an unusual file without a word. So a CSV is looked through first, and
taken only if nothing in it is read in two ways: each quote opens a field, closes it or stands doubled within, no line
ends within quotes, one kind of line end, no empty line between others. Its lines are counted on the way, and DuckDB
must find as many rows. Whatever is otherwise is read by the exact reader.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from attrition.store.check import Opened
from attrition.store.engine import literal, quoted

__all__ = ["Source", "lines_of", "source"]

PIECE = 2**20
LINE = 2**17  # bytes, so that no field has more signs than the exact reader takes
SPACES = (b" ", b"\t", b"\v", b"\f", b"\xc2\xa0")
ODD = (duckdb.Error,)
"""What DuckDB says of a file that it cannot read as asked: a damaged Parquet may run out of its buffer, or worse."""


@dataclass(frozen=True)
class Source:
    """A drop as SQL can read it: ``rows`` has the columns line (NULL: not known), c0, c1 …; there are ``records``."""

    rows: str
    records: int
    tight: bool  # no field has spaces around it


def source(path: Path, drop: Opened, delimiter: str) -> Source | None:
    """A drop for DuckDB; None if only the exact reader can be trusted with it."""
    name = path.name.lower()
    if not _speakable(path):
        return None
    if name.endswith(".parquet"):
        return _parquet(path, drop)
    if name.removesuffix(".gz").endswith((".jsonl", ".ndjson")) or len(drop.header) < 2:
        return None
    form = _looked_through(path, delimiter.encode())
    return _csv(path, drop, delimiter, form) if form else None


def lines_of(path: Path, delimiter: str, wanted: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, int]]:
    """The data lines of a CSV for DuckDB whose fields are one of ``wanted``: their numbers, each with that one's."""
    whole = {tuple(fields): number for number, fields in wanted}
    plain = {delimiter.join(fields).encode(): number for fields, number in whole.items() if _bare(fields, delimiter)}
    plain |= {line + b"\r": number for line, number in plain.items()}
    first, rest = 1, b""
    with _bytes(path) as file:
        while piece := file.read(PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            yield from _found(lines, first, plain, whole, delimiter, quotes=b'"' in piece)
            first += len(lines)
    yield from _found([rest], first, plain, whole, delimiter, quotes=True)


def _found(
    lines: list[bytes],
    first: int,
    plain: dict[bytes, int],
    whole: dict[tuple[str, ...], int],
    delimiter: str,
    *,
    quotes: bool,
) -> Iterator[tuple[int, int]]:
    """Those of some lines, the ``first`` of which has this number, that are wanted; a header is none."""
    for at, line in enumerate(lines, first):
        if line in plain and at > 1:
            yield at, plain[line]
        elif quotes and b'"' in line and at > 1:
            fields = tuple(next(csv.reader([line.decode().rstrip("\r")], delimiter=delimiter)))
            if fields in whole:
                yield at, whole[fields]


def _bare(fields: Iterable[str], delimiter: str) -> bool:
    """Whether these can stand in a file without quotes."""
    return not any(delimiter in field or '"' in field for field in fields)


@dataclass
class _Form:
    """What there is in a CSV that DuckDB can read."""

    lines: int = 0  # that end, but for empty ones at the file's end
    ended: bool = True  # the last one too
    returns: int = 0
    tight: bool = True
    quoted: bool = False


def _speakable(path: Path) -> bool:
    """Whether the path can stand in SQL."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(path: Path, drop: Opened) -> Source:
    texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS c{place}" for place, name in enumerate(drop.records.header))
    read = f"read_parquet({literal(path)}, hive_partitioning = false, file_row_number = true)"
    return Source(f"(SELECT file_row_number + 1 AS line, {texts} FROM {read})", drop.records.count(), tight=False)


def _csv(path: Path, drop: Opened, delimiter: str, form: _Form) -> Source:
    width = range(len(drop.header))
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in width)
    end = r"\r\n" if form.returns else r"\n"
    # A thread that begins in the middle of a file has to guess whether it stands within quotes.
    quote = "quote = '\"', escape = '\"', parallel = false" if form.quoted else "quote = '', escape = ''"
    read = (
        f"read_csv({literal(path)}, auto_detect = false, header = true, delim = {literal(delimiter)}, "
        f"{quote}, columns = {{{columns}}}, strict_mode = true, new_line = '{end}', hive_partitioning = false, "
        f"max_line_size = {LINE}, buffer_size = {64 * LINE}, "
        f"compression = '{'gzip' if path.suffix.lower() == '.gz' else 'none'}')"
    )
    texts = ", ".join(f"coalesce(c{place}, '') AS c{place}" for place in width)
    records = form.lines + (not form.ended) - 1
    return Source(f"(SELECT CAST(NULL AS BIGINT) AS line, {texts} FROM {read})", records, form.tight)


def _bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _looked_through(path: Path, delimiter: bytes) -> _Form | None:
    """What a CSV is like; None if a quote, a line end or an empty line in it may mean two things."""
    form, before, over, quotes = _Form(), b"\n", False, _Quotes(delimiter)
    with _bytes(path) as file:
        while piece := file.read(PIECE):
            block = before + piece
            if quotes.odd(piece) or (over and piece.strip(b"\r\n")):
                return None
            form.returns += piece.count(b"\r")
            ends = piece.count(b"\n")
            if not over and (empty := _empty_line(block)) >= 0:
                if block[empty:].strip(b"\r\n"):
                    return None
                over = True
                ends -= block[empty + 1 :].count(b"\n")
            elif over:
                ends = 0
            form.lines += ends
            form.ended = piece.endswith(b"\n")
            form.tight = form.tight and not _spaced(block, delimiter)
            before = block[-3:]
    form.tight, form.quoted = form.tight and not before.endswith(SPACES), quotes.seen
    if quotes.odd(b"\n"):  # the last line may have no end
        return None
    whole = form.returns == 0 or (not over and form.ended and form.returns == form.lines and _paired(path))
    return form if whole else None


class _Quotes:
    """The quotes of a CSV, piece by piece, line by line."""

    def __init__(self, delimiter: bytes):
        mark = re.escape(delimiter)
        self._field = re.compile(rb'"(?<=[\n%b]")(?:[^"\r\n]++|"")*+"(?=[\r\n%b])' % (mark, mark))
        self._line, self.seen = b"\n", False

    def odd(self, piece: bytes) -> bool:
        """Whether one of the lines that end in this piece has a quote that neither encloses a field nor is doubled."""
        lines = self._line + piece
        whole = lines.rfind(b"\n")
        self._line, lines = lines[whole:], lines[: whole + 1]
        if len(self._line) > 2 * LINE:
            return True
        if b'"' not in lines:
            return False
        self.seen = True
        return b'"' in self._field.sub(b"", lines)


def _empty_line(block: bytes) -> int:
    """Where the end of the line before an empty one stands; -1: there is none."""
    found = [place for mark in (b"\n\n", b"\n\r\n") if (place := block.find(mark)) >= 0]
    return min(found, default=-1)


def _spaced(block: bytes, delimiter: bytes) -> bool:
    """Whether a field begins or ends with a space of any kind."""
    edges = (delimiter, b"\n", b"\r", b'"')
    return any(
        space + edge in block or edge + space in block
        for space in SPACES
        if space != delimiter and space in block
        for edge in edges
    )


def _paired(path: Path) -> bool:
    """Whether each carriage return stands before a line's end; there are as many of both."""
    before = b""
    with _bytes(path) as file:
        while piece := file.read(PIECE):
            if (before + piece).count(b"\r\n") != piece.count(b"\n"):
                return False
            before = piece[-1:]
    return True
