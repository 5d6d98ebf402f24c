"""A portfolio for one process alone: its lock, and no restore of it that has not ended. Standard library only."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from attrition import safe
from attrition.home import Place, UsageError

__all__ = ["STAGED", "Order", "alone", "refuse_while_restoring", "refuse_without_book"]

STAGED = ".restore"
"""Of a home: what a restore copies before it moves it in."""
ORDER = "order.json"


@dataclass(frozen=True)
class Order:
    """What a restore that has not ended was told to do, and how far it came."""

    source: str
    sha256: str  # of the backup's manifest
    names: Sequence[str]  # as they were given; none: all
    portfolios: Sequence[str]
    whole: bool = False  # all is copied, and is being moved in; before that nothing was

    @classmethod
    def of(cls, root: Path) -> Order | None:
        """That of a home; None where no restore is under way, or was cut short.

        Raises:
            UsageError: it cannot be understood.
        """
        path = root / STAGED / ORDER
        if not safe.exists(path):
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError):
            why = "says what a restore that was cut short had to do, and is damaged"
            how = f"remove {path.parent}, and data/, models/ and executed/ of what it was to restore; then restore anew"
            raise UsageError(f"{path} {why}: {how}") from None

    def write(self, root: Path) -> None:
        """Note it, so that it outlives this process."""
        safe.write(safe.make_folder(root / STAGED) / ORDER, json.dumps(asdict(self)))

    @staticmethod
    def done(root: Path) -> None:
        """The restore has ended: this first, as nothing else tells that it has not."""
        safe.unlink(root / STAGED / ORDER)
        safe.remove(root / STAGED)

    @property
    def command(self) -> str:
        """What to call to end it."""
        words = [word for name in self.names for word in ("--portfolio", name)]
        return shlex.join(["runner.py", "restore", self.source, *words])


@contextmanager
def alone(place: Place, since: str) -> Iterator[Callable[[], bool]]:
    """Hold the portfolio's lock for the length of a ``with`` block; what is given says whether it is still ours.

    Raises:
        Held: another process has it.
        NotLocal: on this file system the lock would hold on this machine only.
        UsageError: a restore of the portfolio was cut short, its book is gone, another one's folder stands in its own,
            or this is root in somebody else's portfolio.
    """
    _refuse_root(place)
    with safe.lock(place.lock, since) as ours:
        refuse_while_restoring(place)
        refuse_without_book(place)
        _refuse_nested(place)
        yield ours


def _refuse_root(place: Place) -> None:
    """What root wrote once, the user whose cron ticks could not change: a forgetting, begun and never to be ended."""
    if os.geteuid() != 0 or not safe.exists(place.data):
        return
    if owner := place.data.stat().st_uid:
        why = f"{place.data} belongs to user {owner}, who could not change what root writes there"
        raise UsageError(f"{place.name}: {why}: call it as that user (sudo -u '#{owner}' …)")


def refuse_without_book(place: Place) -> None:
    """A new book would know no file that was ever taken in, and call its first model as the one that serves is called.

    It is made before any of these, so that no crash leaves them without it.

    Raises:
        UsageError: it is gone, or empty, and there are rows or a model.
    """
    if safe.exists(place.book) and place.book.stat().st_size:
        return
    kept = [path for path in (place.clients / "_delta_log", place.current) if safe.exists(path)]
    if kept:
        folders = ", ".join(str(path) for path in (place.data, place.models, place.executed))
        raise UsageError(
            f"{place.book} is missing or empty, and {kept[0]} is there, which it accounts for: put the book back. "
            f"Where nobody has it, move {folders} away; then restore a backup, or begin anew with the drops in taken/"
        )


def _refuse_nested(place: Place) -> None:
    """Where a tick has made the folders of a new name, `mv` lays those of the old name into them: clients nobody asks.

    Raises:
        UsageError: there is a folder with a book.
    """
    for inner in (path for path in safe.entries(place.data) if safe.exists(path / place.book.name)):
        raise UsageError(
            f"{inner} has a book, and no tick asks for a portfolio within another: move it to {place.data.parent}. "
            f"If {place.name} is its new name, move {place.data} away first, and see that {place.models} and "
            f"{place.executed} are those of the old name too"
        )


def refuse_while_restoring(place: Place) -> None:
    """Half a home is none: a tick would begin a new book, and another one would come on top of it.

    Raises:
        UsageError: a restore of the portfolio is under way, or was cut short.
    """
    order = Order.of(place.root)
    if order is None or place.name not in order.portfolios:
        return
    instead = "" if order.whole else f"; or remove {place.root / STAGED}, as nothing of it is in its place yet"
    raise UsageError(f"{place.name}: a restore of it has not ended: end it with: {order.command}{instead}")
