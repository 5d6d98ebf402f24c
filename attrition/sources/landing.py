"""Where a source puts what it fetched: into ``incoming/``, whole, with the mark that says up to where it was read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from attrition import safe
from attrition.book import Book
from attrition.store import marks

__all__ = ["Landing", "SourceError"]


class SourceError(Exception):
    """A source did not give what it should; the message holds no secret."""


class Landing:
    """One source's side of ``incoming/``.

    Attributes:
        settle: seconds that a file must have been left alone.
        drops: how many were landed.
        seen: marks that may be remembered at once, because all that they speak of is in the ledger.
    """

    def __init__(self, incoming: Path, source: str, book: Book, settle: float):
        self.settle = settle
        self.drops = 0
        self.seen: list[dict[str, Any]] = []
        self._incoming, self._source, self._book = incoming, source, book

    def mark(self, key: str) -> Any:
        """Up to where this was read, as committed; None if it never was."""
        return self._book.mark(self._source, key)

    def waits(self) -> bool:
        """Whether an earlier drop of this source was not taken in yet."""
        return marks.waiting_of(self._incoming, self._source)

    def name(self, key: str, mark: Any, name: str) -> str:
        """A drop's name: the same for the same key and mark."""
        digest = hashlib.sha256(f"{key}\0{mark}".encode(errors="surrogateescape")).hexdigest()[:8]
        return f"{self._source}-{digest}-{re.sub(r'[^A-Za-z0-9._+-]', '_', name)[-100:]}"

    def there(self, name: str) -> bool:
        """Whether a drop of this name waits already."""
        return safe.exists(self._incoming / name)

    def beside(self, name: str) -> Path:
        """Where to write a drop before it is one."""
        return self._incoming / f".{name}.fetched"

    def land(self, name: str, key: str, mark: Any) -> None:
        """Make what was written beside a drop."""
        beside = self.beside(name)
        about = {"source": self._source, "key": key, "mark": mark}
        marks.land(beside, self._incoming / name, **about, sha256=safe.sha256(beside))
        self.drops += 1

    def known(self, key: str, mark: Any) -> None:
        """Of this nothing is new: only the mark is."""
        self.seen.append({"source": self._source, "key": key, "mark": mark})
