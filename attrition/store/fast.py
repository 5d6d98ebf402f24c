# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""A plain drop read by DuckDB as a whole, to the very rows, faults and lines that the exact reader finds.

DuckDB may lose a row, a quote or a header of an unusual file without a word. So a CSV is looked through first, and
taken only if nothing in it is read in two ways: each quote opens a field, closes it or stands doubled within, no line
ends within quotes, one kind of line end. Its lines are counted on the way, and DuckDB must find as many rows: it
passes over an empty line. Whatever is otherwise is read by the exact reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import numpy as np

from attrition.store.check import Opened
from attrition.store.engine import literal, sayable, this
from attrition.store.parquet import Parquet
from attrition.store.raw import form, packed, unpacked
from attrition.store.rules import Texts

__all__ = ["Source", "source"]

PIECE = 2**18
LINE = 2**17  # bytes, so that no field has more signs than the exact reader takes
WIDE = b"\xc2"  # begins a space of two bytes, and other signs
SPACES = (b" ", b"\t", b"\v", b"\f", WIDE + b"\xa0")
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
    if not sayable(path):
        return None
    if isinstance(drop.records, Parquet):
        return Source(drop.records.rows, drop.records.count(), Texts())
    if form(path) == "json" or len(drop.header) < 2:
        return None
    found = _looked_through(path, delimiter.encode())
    return _csv(path, drop, delimiter, found) if found else None


@dataclass
class _Form:
    """What there is in a CSV that DuckDB can read."""

    lines: int = 0  # that end
    returns: int = 0
    ends: int = 0  # after the last line that is not empty
    texts: Texts = field(default_factory=lambda: Texts(tight=True, nulls=True, plain=True))
    quoted: bool = False

    def add(self, before: bytes, piece: bytes, delimiter: bytes) -> None:
        """Take in a piece of the file; ``before`` are the bytes in front of it."""
        signs = np.frombuffer(piece, np.uint8)  # `bytes.count` takes three times as long for what stands often
        ends = int(np.count_nonzero(signs == ord("\n")))
        bare = int(np.count_nonzero(signs <= ord(" "))) == ends  # no carriage return, tab or space
        self.lines += ends
        self.returns += 0 if bare else piece.count(b"\r")
        filled = piece.rstrip(b"\r\n")
        self.ends = piece[len(filled) :].count(b"\n") + (0 if filled else self.ends)
        self.texts = _kept(self.texts, before, piece, delimiter, bare=bare)

    @property
    def records(self) -> int:
        """Data lines, if the only empty ones are at its end."""
        return self.lines - self.ends  # without the header, and perhaps with a last line that does not end


def _csv(path: Path, drop: Opened, delimiter: str, found: _Form) -> Source:
    width = range(len(drop.header))
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in width)
    end = r"\r\n" if found.returns else r"\n"
    # A thread that begins in the middle of a file has to guess whether it stands within quotes.
    quote = "quote = '\"', escape = '\"', parallel = false" if found.quoted else "quote = '', escape = ''"
    read = (
        f"read_csv({this(path)}, auto_detect = false, header = true, delim = {literal(delimiter)}, "
        f"{quote}, columns = {{{columns}}}, strict_mode = true, new_line = '{end}', hive_partitioning = false, "
        f"max_line_size = {LINE}, buffer_size = {64 * LINE}, "
        f"compression = '{'gzip' if packed(path) else 'none'}')"
    )
    return Source(f"(SELECT CAST(NULL AS BIGINT) AS line, * FROM {read})", found.records, found.texts)


def _looked_through(path: Path, delimiter: bytes) -> _Form | None:
    """What a CSV is like; None if a quote or a line end in it may mean two things."""
    found, before, quotes = _Form(), b"\n", _Quotes(delimiter)
    with unpacked(path) as file:
        while piece := file.read(PIECE):
            if quotes.odd(piece) or (found.lines == 0 and piece.startswith((b"\n", b"\r"))):
                return None
            found.add(before, piece, delimiter)
            before = piece[-3:]
    found.texts = replace(found.texts, tight=found.texts.tight and not before.endswith(SPACES))
    if quotes.odd(b"\n"):  # the last line may have no end
        return None
    found.quoted = quotes.seen
    whole = found.returns == 0 or (found.ends == 1 and found.returns == found.lines and _paired(path))
    return found if whole else None


def _kept(texts: Texts, before: bytes, piece: bytes, delimiter: bytes, *, bare: bool) -> Texts:
    """What still holds of all fields after a piece too; ``before`` are the bytes in front of it.

    ``bare``: it has no sign up to the space but line feeds.
    """
    without = bare and WIDE not in piece and not before.endswith((*SPACES, WIDE))
    tight = texts.tight and (without or not _spaced(before + piece, delimiter))
    plain = texts.plain and b"_" not in piece and b"+" not in piece and (bare or b"\0" not in piece)
    return replace(texts, tight=tight, plain=plain)


class _Quotes:
    """The quotes of a CSV, piece by piece, line by line."""

    def __init__(self, delimiter: bytes):
        mark = re.escape(delimiter)
        self._field = re.compile(rb'"(?<=[\n%b]")(?:[^"\r\n]++|"")*+"(?=[\r\n%b])' % (mark, mark))
        self._line, self.seen = b"\n", False

    def odd(self, piece: bytes) -> bool:
        """Whether one of the lines that end in this piece has a quote that neither encloses a field nor is doubled."""
        quotes = b'"' in piece or b'"' in self._line
        lines = self._line + piece if quotes or b"\n" not in piece else piece
        whole = lines.rfind(b"\n")
        self._line = lines[whole:]
        if len(self._line) > 2 * LINE:
            return True
        lines = lines[: whole + 1] if quotes else b""
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
    with unpacked(path) as file:
        while piece := file.read(PIECE):
            if (before + piece).count(b"\r\n") != piece.count(b"\n"):
                return False
            before = piece[-1:]
    return True
