"""Whether a portfolio's tables are those of which its book speaks: an older copy of one of them fits no other file.

Rows that come on top of an older copy have numbers that others have already, or of which the book knows nothing.
"""

from __future__ import annotations

from pathlib import Path

from attrition import safe
from attrition.book import Book
from attrition.home import Place, UsageError
from attrition.runs import latest

__all__ = ["refuse_gone", "refuse_older"]

REMEDY = "put back the one that belongs to the others, or restore a backup of all; nothing was taken in"


def refuse_gone(place: Place, book: Book) -> None:
    """A look at two names, which each tick has time for.

    Raises:
        UsageError: the book knows of rows or of scores, and their table is gone.
    """
    state = book.state()
    if state.data_version and not safe.exists(place.clients / "_delta_log"):
        raise UsageError(f"{place.clients} is gone, and {place.book} knows of {state.ingests} ingests: {REMEDY}")
    if state.scored_model and not safe.exists(place.scores / "_delta_log") and _has_lines(place.ranking):
        raise UsageError(f"{place.scores} is gone, which holds the predictions of {place.ranking}: {REMEDY}")


def refuse_older(place: Place, book: Book) -> None:
    """Compare the last number of each table with that of the book; a tick may be at work.

    Raises:
        UsageError: of book and tables one is an older copy, or a table is gone.
    """
    from attrition.store.past import last

    refuse_gone(place, book)
    known, scored = book.state().ingests, _number(latest(place).get("assess", ""))
    had, predicted = last(place.clients, "ingest"), last(place.scores, "scores")
    most = book.state().ingests + bool(book.unfinished())
    if not known <= had <= most:
        older, newer = (place.clients, place.book) if had < known else (place.book, place.clients)
        numbers = f"{had} ingests are in {place.clients}, and {place.book} knows of {known}"
        raise UsageError(f"{older} is an older copy than {newer}: {numbers}: {REMEDY}")
    if predicted < scored and _has_lines(place.ranking):
        numbers = f"its last predictions are of run {predicted}, and those of run {scored} were published"
        raise UsageError(f"{place.scores} is an older copy than {place.book}: {numbers}: {REMEDY}")


def _number(run: str) -> int:
    digits = run.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def _has_lines(ranking: Path) -> bool:
    """Whether anybody is in it: where all clients are forgotten no prediction is left, nor a table of any."""
    if not safe.exists(ranking):
        return False
    from attrition.store.ranking import lines

    return lines(ranking) > 0
