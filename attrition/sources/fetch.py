"""Fetch what the sources of one portfolio have that is new, into its ``incoming/``.

A process of its own, so that what it imports, what a driver leaks and what hangs ends with it. It prints one JSON
document: an account a source, and the ``seen`` marks of what turned out to be known; or why none
could be asked. No secret is in it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrition import params, safe
from attrition.book import Book
from attrition.home import Home, Place, UsageError
from attrition.params import Portfolio, Source
from attrition.sources.landing import Landing, SourceError

__all__ = ["fetch", "main"]

SET_DEATH_SIGNAL = 1  # prctl(2)


def fetch(place: Place, portfolio: Portfolio, book: Book) -> dict[str, Any]:
    """Ask every source; what fails one does not stop the next.

    Returns:
        ``sources``: by name how many ``drops`` it brought and what ``failed``; ``seen``: marks to remember.
    """
    safe.make_folder(place.incoming)
    for left in safe.entries(place.incoming, ".*.fetched"):  # by a process that ended in the middle
        left.unlink()
    said, seen = {}, []
    for source in portfolio.sources:
        landing = Landing(place.incoming, source.name, book, portfolio.settle)
        failed = _guarded(_kind(source), source, landing)
        said[source.name] = {"drops": landing.drops, "failed": failed}
        seen += landing.seen
    return {"sources": said, "seen": seen}


def _kind(source: Source) -> Callable[[Source, Landing], None]:
    if source.url is not None:
        from attrition.sources import files

        return files.fetch
    from attrition.sources import postgres

    return postgres.fetch


def _guarded(kind: Callable[[Source, Landing], None], source: Source, landing: Landing) -> str | None:
    """What went wrong, for a person; None if nothing did."""
    try:
        kind(source, landing)
    except (SourceError, UsageError) as error:
        return str(error)
    except Exception as error:  # whatever a driver raises: its text may hold what it was given
        return f"{type(error).__name__} in the driver; its text is not shown, for it may hold a secret"
    return None


def main(root: str, name: str, runner: str) -> None:
    """Fetch for one portfolio, within the time that a stage may take, and not longer than the runner lives."""
    if sys.platform == "linux":  # or a drop would land when nobody awaits it
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(runner):
        return
    place = Home(Path(root)).place(name)
    try:
        portfolio = params.load(place.params)
    except UsageError as error:  # of a YAML that an earlier version took: the runner reads only one that has changed
        print(json.dumps({"refused": str(error)}))
        return
    signal.alarm(portfolio.deadline)
    with Book.open(place.book, read_only=True) as book:
        print(json.dumps(fetch(place, portfolio, book)))


if __name__ == "__main__":
    main(*sys.argv[1:])
