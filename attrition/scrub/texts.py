"""Which lines of a text are of a client, or speak of him; and the text without them."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from attrition import safe
from attrition.scrub.reading import ENDS, batches, is_text, lines_in, lines_of, pieces_of
from attrition.scrub.whom import GONE, Whom

__all__ = ["cut", "fields_of", "in_file", "written_over"]

DELIMITERS = (",", ";", "\t", "|")


def in_file(path: Path, whom: Whom) -> bool:
    """Whether a file of any format holds the id as a word."""
    spoken = lines_of(path)
    header = next(spoken, "")
    return any(any(_of_client(told, whom, header)) for _, told in batches(chain([header], spoken)))


def cut(path: Path, whom: Whom, his: Iterable[tuple[int, int]] = ()) -> int:
    """Cut the lines with the id out of a text, and those from one to before another of ``his``; no text goes whole."""
    with path.open("rb") as file:
        text = is_text(file.read(4))
    if not text:
        safe.unlink(path)
        return 1
    from attrition.store.raw import form

    end, beside = (
        "\n" if form(path) == "json" else "",
        path.with_name(safe.derived(path.name, ".", f".{os.getpid()}.tmp")),
    )
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline=end) as lines, beside.open("wb") as kept:
            begun, gone = 0, False  # the line that is read: where it begins there, and whether it is his
            for piece, its in _marked(lines, whom, sorted(his)):
                gone = gone or its
                if gone:
                    kept.seek(begun)
                    kept.truncate()
                else:
                    kept.write(piece.encode("utf-8", errors="surrogateescape"))
                if piece.endswith(ENDS):
                    begun, gone = kept.tell(), False
        safe.sync(beside)
        safe.move(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return 1


def _marked(text: IO[str], whom: Whom, spans: list[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    """The pieces of a text, each with whether it is of the client, or on a line within one of ``spans``."""
    number, header = 1, None
    for pieces, told in batches(pieces_of(text)):
        header = header if header is not None or not told else told[0]
        for piece, its in zip(pieces, _of_client(told, whom, header or ""), strict=True):
            while spans and spans[0][1] <= number:
                del spans[0]
            yield piece, its or (bool(spans) and spans[0][0] <= number)
            number += piece.endswith(ENDS)


def written_over(path: Path, whom: Whom) -> int:
    """Blank the lines with the id in a log where they stand; what is no text goes as a whole.

    Not a byte is moved and the file stays the one that it is: a tick, or the API, has it open and goes on writing.
    """
    if not is_text(data := path.read_bytes()):
        return cut(path, whom)
    lines = lines_in(data.decode("utf-8", errors="surrogateescape"))
    with path.open("r+b") as file:
        for line, his in zip(lines, _of_client(lines, whom, lines[0]), strict=True):
            size = len(line.encode("utf-8", errors="surrogateescape"))
            if his:
                file.write(GONE.encode()[: size - 1].ljust(size - 1) + b"\n")
            else:
                file.seek(size, os.SEEK_CUR)
        file.flush()
        os.fsync(file.fileno())
    return 1


def _of_client(lines: Sequence[str], whom: Whom, header: str) -> list[bool]:
    """Which lines of a file are of the client, or speak of him.

    Of an id like any number these are the lines that have it where an id stands. In others it may stand in any column,
    but not as a part of somebody else's id: smith is not smith.john.
    """
    parted, names = _columns(header, whom)
    found = []
    for line, row in zip(lines, _rejected(lines, whom), strict=True):
        if row is not None:
            found.append(row)
        elif not whom.plain:
            found.append(bool(whom.token.search(line)) and not _of_another(line, whom, parted, names))
        elif line.startswith("{") or not names:  # JSON, or a log
            found.append(bool(whom.token.search(line)) and bool(whom.names.search(line)))
        else:
            at, fields = names.index(str(whom.portfolio.id)), fields_of(line, parted)
            found.append(len(fields) > at and fields[at] == whom.client)
    return found


def _of_another(line: str, whom: Whom, parted: str, names: Sequence[str]) -> bool:
    """Whether a line is a row of somebody else, and has the client's id nowhere but within that one's."""
    row: dict[str, Any] = {}
    if line.startswith("{"):
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
    elif len(fields := fields_of(line, parted)) == len(names):
        row = dict(zip(names, fields, strict=True))
    others = str(row.pop(str(whom.portfolio.id), ""))
    return _within(others, whom) and not whom.token.search(json.dumps(row, ensure_ascii=False))


def _within(field: str, whom: Whom) -> bool:
    """Whether a field is one word of which the client's id is a part."""
    return bool(whom.token.search(field)) and not whom.token.fullmatch(field) and len(field.split()) == 1


def _rejected(lines: Iterable[str], whom: Whom) -> list[bool | None]:
    """Which lines are rows in quarantine that may be the client's: which field is the id nobody knows there.

    Of a row of a wrong form there is the text alone, within which the id is a word. None: it is no such line.
    """
    from attrition.store import whose

    rows = [_set_aside(line) for line in lines]
    words = [[*row, *re.split(whose.BETWEEN, row[0])] if len(row) == 1 else row for row in rows]
    his = whose.among(whom.portfolio, whom.client, {word.strip() for row in words for word in row})
    return [
        any(word.strip() in his for word in among)
        or (len(row) == 1 and any(map(whom.token.search, row)))
        or (not whom.plain and any(whom.token.search(each) and not _within(each.strip(), whom) for each in row))
        if row
        else None
        for row, among in zip(rows, words, strict=True)
    ]


def _set_aside(line: str) -> list[str]:
    """The fields of a row in quarantine; none of any other line."""
    if not line.startswith('{"file": '):
        return []
    try:
        row = json.loads(line)
        fields = row.get("fields", row.get("raw"))
    except ValueError:
        return []
    return [str(field) for field in fields] if isinstance(fields, list) else []


def _columns(header: str, whom: Whom) -> tuple[str, list[str]]:
    """What parts the fields of a file, and their names; none if the id is not among them.

    Other signs that may part fields stand within them: 12,17 is one field where a semicolon parts them.
    """
    for way in (whom.portfolio.delimiter, *DELIMITERS):
        if whom.portfolio.id in (names := fields_of(header, way)):
            return way, names
    return whom.portfolio.delimiter, []


def fields_of(line: str, parted: str) -> list[str]:
    """The fields of a line of a CSV, also of one that breaks its rules."""
    try:
        fields = next(csv.reader([line.strip("\r\n\ufeff")], delimiter=parted), [])
    except csv.Error:  # too long, or a zero byte
        fields = line.split(parted)
    return [field.strip(' "') for field in fields]
