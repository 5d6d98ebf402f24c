"""A drop's bytes as numbered records of text: the table ``raw``, and in ``bad`` what is no record.

Its name says what a file is: Parquet, JSON lines (`.jsonl`, `.ndjson`) or else CSV, text with `.gz` behind it as well.
The CSV reader is Python's own, in strict mode: its counts and line numbers are exact, where a
sniffing reader may lose a header, a row or a whole file without a word.
"""

from __future__ import annotations

import csv
import stat
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from attrition.store.jsonlines import JsonLines
from attrition.store.parquet import Parquet
from attrition.store.raw import FIELD, LINE, Readable, Record, Refused, Text, create_raw, fill, form, refuse_wide

__all__ = ["UNREADABLE", "Readable", "Refused", "open_drop"]

UNREADABLE = "the file may not be read: its permissions forbid it"


def open_drop(path: Path, delimiter: str, known: Collection[str] = ()) -> Readable:
    """Read a drop's header; ``known`` are the names of columns that matter.

    Raises:
        Refused: it is no regular file, is empty, binary, damaged or not UTF-8, or may not be read.
    """
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        raise Refused("a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file")
    if path.stat().st_size == 0:
        raise Refused("an empty file")
    kind = form(path)
    try:
        if kind == "parquet":
            return Parquet(path)
        return JsonLines(Text(path), known) if kind == "json" else _Csv(Text(path), delimiter)
    except PermissionError:
        raise Refused(UNREADABLE) from None


class _Csv:
    typed = False

    def __init__(self, text: Text, delimiter: str):
        self._text, self._delimiter = text, delimiter
        _, fields, fault = next(self._records(), (1, None, None))
        if fields is None:
            raise Refused("an empty file")
        if fields[0].lstrip().startswith(("[", '{"')):
            raise Refused("JSON, and by its name a CSV: write an object a line, and name it .jsonl")
        if fault is not None:
            raise Refused(f"the header has {fault}")
        refuse_wide(fields)
        self.header = [name.strip() for name in fields]

    def count(self) -> int:
        return sum(1 for _ in self._records()) - 1

    def load(self, connection: Any) -> None:
        fill(connection, create_raw(connection, self.header), islice(self._records(), 1, None))

    def _records(self) -> Iterator[Record]:
        """The header, then all data records; empty lines are none."""
        seen: list[str] = []  # the lines of the record at hand
        reader = csv.reader(_noted(self._text.lines(), seen), delimiter=self._delimiter, strict=True)
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


def _noted(lines: Iterator[str], seen: list[str]) -> Iterator[str]:
    """The lines, those of the record at hand in ``seen``: one that goes on over all the file is not held."""
    signs = 0
    for number, line in enumerate(lines, start=1):
        signs = signs + len(line) if seen else len(line)
        if signs > LINE:
            raise Refused(f"a record of more than {LINE:,} signs, on lines {number - len(seen)} to {number}")
        seen.append(line)
        yield line


def _malformed(error: csv.Error, line: int) -> str:
    """The fault of one record; a fault that leaves the bounds of later records unknown refuses the file."""
    if "field limit" in str(error):
        raise Refused(f"a field of more than {FIELD:,} signs in the record of line {line}") from None
    if "end of data" in str(error):
        raise Refused(f"a quote opened in the record of line {line} is never closed") from None
    return "text after a closing quote"
