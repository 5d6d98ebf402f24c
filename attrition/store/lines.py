"""On which lines of a CSV given rows stand: DuckDB reads rows in any order, and does not say whence."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from io import BufferedIOBase

import numpy as np
from numpy.typing import NDArray

__all__ = ["lines_of"]

PIECE = 2**18
WORD = 8  # bytes
FIRST, LAST = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, else any
BITS = 19  # of what is made of a line: with fewer too many pass that are not wanted


def lines_of(
    file: BufferedIOBase, delimiter: str, wanted: Iterable[tuple[int, list[str]]]
) -> Iterator[tuple[int, int]]:
    """The data lines of a CSV without line ends in fields whose fields are one of ``wanted``.

    Their numbers, each with that of ``wanted``; the first line is a header, and none of them.
    """
    fields = {tuple(each): number for number, each in wanted}
    plain = {delimiter.join(each).encode(): number for each, number in fields.items() if _bare(each, delimiter)}
    plain |= {line + b"\r": number for line, number in plain.items()}
    sieve, before = _Sieve(plain), 0
    for block in _blocks(file):
        lines, found = sieve.through(block)
        for at, line in found:
            if line in plain and before + at > 1:
                yield before + at, plain[line]
        for at, line in enumerate(block.split(b"\n"), start=1) if b'"' in block else ():
            if b'"' in line and line not in plain and before + at > 1:
                told = tuple(next(csv.reader([line.decode().rstrip("\r")], delimiter=delimiter)))
                if told in fields:
                    yield before + at, fields[told]
        before += lines


def _bare(fields: Iterable[str], delimiter: str) -> bool:
    """Whether these can stand in a file without quotes."""
    return not any(delimiter in field or '"' in field for field in fields)


def _blocks(file: BufferedIOBase) -> Iterator[bytes]:
    """A file in pieces of whole lines, each with its end."""
    rest = b""
    while piece := file.read(PIECE):
        whole = piece.rfind(b"\n") + 1
        if whole:
            yield rest + piece[:whole]
            rest = piece[whole:]
        else:
            rest += piece
    if rest:
        yield rest + b"\n"


class _Sieve:
    """Lets through few lines but those wanted, told by their first and last bytes: a loop over all takes far longer."""

    def __init__(self, wanted: Iterable[bytes]):
        self._may = np.zeros(2**BITS, dtype=bool)
        self._may[_keys(b"".join(line + b"\n" for line in wanted))[2]] = True

    def through(self, block: bytes) -> tuple[int, Iterator[tuple[int, bytes]]]:
        """How many lines a block has, and those which may be wanted, numbered from 1 on."""
        starts, ends, keys = _keys(block)
        places = np.flatnonzero(self._may[keys])
        return len(ends), ((int(at) + 1, block[starts[at] : ends[at]]) for at in places)


def _keys(block: bytes) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint64]]:
    """Of each line where it starts and ends, and what is made of its first and last word; 0 of one without a word."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    starts = np.concatenate([np.zeros(1, ends.dtype), ends + 1])[:-1]
    keys = np.zeros(len(ends), np.uint64)
    long = ends - starts >= WORD
    if long.any():
        words = np.ndarray(len(block) - WORD + 1, "<u8", block, strides=(1,))
        mixed = words[starts[long]] * FIRST ^ words[ends[long] - WORD] * LAST
        keys[long] = mixed >> np.uint64(64 - BITS)
    return starts, ends, keys
