"""JSON lines as records of text: an object a line, a key a column, each line held apart from the next."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from attrition.store.raw import COLUMNS, FIELD, Record, Refused, Text, create_raw, fill

__all__ = ["JsonLines", "values"]

Object = dict[str, Any]


class _Fault(Exception):
    """What is wrong with one line."""


class JsonLines:
    """A file of JSON lines. Its header are the keys of all its lines, in order of their first appearance.

    A number keeps the text it was written with. A list or an object is a fault where its key is one of ``known``.

    Raises:
        Refused: no line has anything, or there are too many keys.
    """

    typed = True

    def __init__(self, text: Text, known: Collection[str]):
        self._text, self._known = text, {name.lower() for name in known}
        keys: dict[str, None] = {}
        self._count = 0
        for _, record, _ in self._objects():
            self._count += 1
            keys |= dict.fromkeys(record)
            if len(keys) > COLUMNS:
                raise Refused(f"more than {COLUMNS:,} columns")
        if self._count == 0:
            raise Refused("an empty file")
        self.header = list(keys)

    def count(self) -> int:
        """Lines that are not empty."""
        return self._count

    def load(self, connection: Any) -> None:
        """Make the table ``raw``."""
        fill(connection, create_raw(connection, self.header), self._records())

    def _records(self) -> Iterator[Record]:
        for number, record, fault in self._objects():
            if isinstance(fault, tuple):
                yield number, [fault[0]], fault[1]
            else:
                yield number, [record.get(name) for name in self.header], None

    def _objects(self) -> Iterator[tuple[int, Object, tuple[str, str] | None]]:
        """Line number, texts by key, and of a line that is no record its text and what is wrong."""
        for number, line in enumerate(self._text.lines("\n"), start=1):
            if not line.strip():
                continue
            try:
                record = _parsed(line)
                yield number, {name: self._as_text(name, value) for name, value in record.items()}, None
            except _Fault as fault:
                yield number, {}, (line.rstrip("\r\n"), str(fault))

    def _as_text(self, name: str, value: object) -> str | None:
        if isinstance(value, dict | list) and name.lower() in self._known:
            raise _Fault(f"a list or an object under {name[:64]!r}")
        text = _as_text(value)
        if text and len(text) > FIELD:
            raise _Fault(f"more than {FIELD:,} signs under {name[:64]!r}")
        return text


def values(line: str) -> list[str]:
    """The values of a line's object as texts, but for those that are null; none if it is no such line."""
    try:
        texts = map(_as_text, _parsed(line).values())
        return [text for text in texts if text is not None]
    except _Fault:
        return []


def _as_text(value: object) -> str | None:
    if isinstance(value, dict | list):
        return "…"
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _parsed(line: str) -> Object:
    """One line's object, its numbers as they are written."""
    try:
        found = json.loads(line, object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError:
        raise _Fault("not JSON that can be read: too deep") from None
    except ValueError:
        raise _Fault("not JSON") from None
    if not isinstance(found, dict):
        raise _Fault("not a JSON object")
    if "\\ud" in line.lower() and not _speakable(found):
        raise _Fault("half a surrogate pair, which is no sign")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Fault("a key stands twice")
    return found


def _speakable(found: Object) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
