"""YAML that says one thing: no key twice, no number that is none, nothing so deep that it ends the process."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

__all__ = ["Unread", "load"]

DEEPEST = 20
"""Lists and maps within each other; of some ten thousand the YAML library ends the process."""

_Safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it is there, takes a seventh of the time


class Unread(Exception):
    """One value of a YAML cannot be read; ``line``: where it stands, counted from 0."""

    def __init__(self, what: str, mark: Any):
        super().__init__(what)
        self.line: int = mark.line


class _Unique(_Safe):  # type: ignore[misc,valid-type]
    """Of a key that stands twice YAML keeps the last, silently: here it is an error."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """What looks like a number or a date and is none raises a ValueError that says neither where nor what of."""
        try:
            found = super().construct_object(node, deep)
        except (ValueError, OverflowError):
            raise Unread("no number or date, though it looks like one", node.start_mark) from None
        if isinstance(found, int) and found.bit_length() > 1000:  # Python itself would not write it out again
            raise Unread("too large a number", node.start_mark)
        return found

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value  # those that stand there: of a merge (<<) the library makes others
        found: dict[Any, Any] = super().construct_mapping(node, deep)  # which refuses a key that is a list
        times = Counter(self.construct_object(key, deep=True) for key, _ in pairs)
        if twice := [key for key, count in times.items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return found


def load(text: str) -> Any:
    """What a YAML says.

    Raises:
        Unread: a value of it cannot be read, or it is too deep.
        yaml.YAMLError: it is none, or a key stands twice.
    """
    depth = 0  # before any of it is built: the library does that by recursion
    for event in yaml.parse(text, _Safe):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Unread(f"more than {DEEPEST} lists and maps within each other", event.start_mark)
    return yaml.load(text, _Unique)  # noqa: S506 - a safe loader, stricter by some rules
