"""What stands in a drop word for word: quarantine keeps the text of a record beside the fields that were read from it.

Lines are counted as the readers count them: in a CSV one ends with LF, CR or both, in JSON lines with LF.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import itertools
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attrition.store.jsonlines import values
from attrition.store.raw import LINE, PIECE, form, packed

__all__ = ["texts"]

BROKEN = (csv.Error, EOFError, gzip.BadGzipFile, zlib.error)
"""A record may be in quarantine because it cannot be read; a gzip was sound, and is not if it was replaced since."""


def texts(path: Path, delimiter: str, records: Iterable[tuple[int, list[str | None]]]) -> Iterator[str | None]:
    """The text of each record (its first line, its fields; by line), without its last line's end.

    None where it is not there: Parquet has no text, and the drop may have been taken away or replaced since.
    """
    kind, records = form(path), iter(records)
    with _opened(path) as file:
        lines = _Lines(file, returns=kind == "csv") if file and kind != "parquet" else None
        for start, fields in records:
            seen: list[str] = []
            following, read = _following(lines, start, seen), None
            with suppress(StopIteration, *BROKEN):
                read = next(csv.reader(following, delimiter=delimiter, strict=True) if kind == "csv" else following)
            text = "".join(seen).rstrip("\r\n")
            yield text if fields in ([text], read) or (kind == "json" and _same_values(text, fields)) else None


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase | None]:
    """A drop's bytes; None if there is no file any more, but nothing, a link, or a pipe that nobody fills."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            raise
        yield None
        return
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        yield None
        return
    with os.fdopen(handle, "rb") as file, gzip.open(file) if packed(path) else nullcontext(file) as within:
        yield within


def _same_values(text: str, fields: list[str | None]) -> bool:
    """Whether an object has these values, whatever their order."""
    return sorted(values(text)) == sorted(field for field in fields if field is not None)


def _following(lines: _Lines | None, start: int, seen: list[str]) -> Iterator[str]:
    """The lines from one on, each in ``seen`` once it is asked for."""
    for number in itertools.count(start):
        line = lines.at(number) if lines else None
        if line is None:
            return
        seen.append(line.decode("utf-8-sig" if number == 1 else "utf-8", errors="backslashreplace"))
        yield seen[-1]


class _Lines:
    """A file's lines by their numbers, which may only rise; those between are counted, and not made."""

    def __init__(self, file: io.BufferedIOBase, *, returns: bool):
        self._file, self._returns = file, returns
        self._block, self._rest, self._before = b"", b"", 0
        self._bounds = np.zeros(1, np.intp)  # where the block's lines begin, and where the last one ends

    def at(self, number: int) -> bytes | None:
        """A line with its end; None if there is none."""
        while (place := number - self._before) >= len(self._bounds):
            if not self._go_on():
                return None
        return self._block[self._bounds[place - 1] : self._bounds[place]] if place > 0 else None

    def _go_on(self) -> bool:
        """Read the next lines; False if there are none."""
        self._before += len(self._bounds) - 1
        piece = self._file.read(PIECE)
        block = self._rest + piece
        ends = _ends(block, returns=self._returns) if piece else np.array([len(block)] if block else [], np.intp)
        self._bounds = np.append(np.intp(0), ends)
        self._block, self._rest = block, block[self._bounds[-1] :]
        return bool(piece or block) and len(self._rest) <= 4 * LINE


def _ends(block: bytes, *, returns: bool) -> NDArray[np.intp]:
    """Where lines end in a block; one that ends with a CR may go on with its LF."""
    signs = np.frombuffer(block, np.uint8)
    ended = signs == ord("\n")
    if returns and b"\r" in block:
        ended[:-1] |= (signs[:-1] == ord("\r")) & (signs[1:] != ord("\n"))
    return np.flatnonzero(ended) + 1
