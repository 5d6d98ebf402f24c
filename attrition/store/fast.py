# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""A plain drop read by DuckDB as a whole, to the very rows, faults and lines that the exact reader finds.

DuckDB may lose a row, a quote or a header of an unusual file without a word. So a CSV is looked through first, and
taken only if nothing in it is read in two ways: each quote opens a field, closes it or stands doubled within, no line
ends within quotes, one kind of line end. Its lines are counted on the way, and DuckDB must find as many rows: it
passes over an empty line. Whatever is otherwise is read by the exact reader.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import compress, count
from pathlib import Path
from typing import Any

import duckdb

from attrition.store.check import Opened, Texts
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
    texts: Texts


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
    for at in compress(count(), map(plain.__contains__, lines)):  # a loop over all lines would take twice as long
        if first + at > 1:
            yield first + at, plain[lines[at]]
    for at, line in enumerate(lines, first) if quotes else ():
        if b'"' in line and at > 1 and line not in plain:
            fields = tuple(next(csv.reader([line.decode().rstrip("\r")], delimiter=delimiter)))
            if fields in whole:
                yield at, whole[fields]


def _bare(fields: Iterable[str], delimiter: str) -> bool:
    """Whether these can stand in a file without quotes."""
    return not any(delimiter in field or '"' in field for field in fields)


@dataclass
class _Form:
    """What there is in a CSV that DuckDB can read."""

    lines: int = 0  # that end
    returns: int = 0
    ends: int = 0  # after the last line that is not empty
    texts: Texts = field(default_factory=lambda: Texts(tight=True, nulls=True, plain=True))
    quoted: bool = False

    @property
    def records(self) -> int:
        """Data lines, if the only empty ones are at its end."""
        return self.lines - self.ends  # without the header, and perhaps with a last line that does not end


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
    return Source(f"(SELECT file_row_number + 1 AS line, {texts} FROM {read})", drop.records.count(), Texts())


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
    return Source(f"(SELECT CAST(NULL AS BIGINT) AS line, * FROM {read})", form.records, form.texts)


def _bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _looked_through(path: Path, delimiter: bytes) -> _Form | None:
    """What a CSV is like; None if a quote or a line end in it may mean two things."""
    form, before, quotes = _Form(), b"\n", _Quotes(delimiter)
    with _bytes(path) as file:
        while piece := file.read(PIECE):
            if quotes.odd(piece) or (form.lines == 0 and piece.startswith((b"\n", b"\r"))):
                return None
            form.lines += piece.count(b"\n")
            form.returns += piece.count(b"\r")
            filled = piece.rstrip(b"\r\n")
            form.ends = piece[len(filled) :].count(b"\n") + (0 if filled else form.ends)
            form.texts = _kept(form.texts, before + piece, delimiter)
            before = piece[-3:]
    form.texts = replace(form.texts, tight=form.texts.tight and not before.endswith(SPACES))
    form.quoted = quotes.seen
    if quotes.odd(b"\n"):  # the last line may have no end
        return None
    whole = form.returns == 0 or (form.ends == 1 and form.returns == form.lines and _paired(path))
    return form if whole else None


def _kept(texts: Texts, block: bytes, delimiter: bytes) -> Texts:
    """What still holds of all fields after this block too."""
    tight = texts.tight and not _spaced(block, delimiter)
    plain = texts.plain and b"_" not in block and b"+" not in block
    return replace(texts, tight=tight, plain=plain)


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


def _spaced(block: bytes, delimiter: bytes) -> bool:
    """Whether a field begins or ends with a space of any kind."""
    edges = (delimiter, b"\n", b"\r", b'"')
    return any(
        space + edge in block or edge + space in block
        for space in SPACES
        if space != delimiter and space[:1] in block and space in block  # one byte is found five times as fast as two
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
