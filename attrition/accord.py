"""Whether a portfolio's files belong together: on one file system, and of one time.

Rows that come on top of an older copy have numbers that others have already, or of which the book knows nothing.
"""

from __future__ import annotations

from pathlib import Path

from attrition import safe
from attrition.book import Book
from attrition.home import Place, UsageError
from attrition.runs import latest

__all__ = ["refuse_gone", "refuse_older", "refuse_split"]

REMEDY = "put back the one that belongs to the others, or restore a backup of all; nothing was taken in"


def refuse_split(place: Place) -> None:
    """What a run made is renamed into its place in one step, which goes within one file system.

    Raises:
        UsageError: a folder is on another one, as by a link; or a link of incoming/ leads nowhere, as of a disk that is
            not mounted.
    """
    if safe.is_link(place.incoming) and not safe.exists(place.incoming):
        raise UsageError(f"{place.incoming} is a link to {place.incoming.readlink()}, which is not there: mount it")
    folders = (place.incoming, place.taken, place.quarantine, place.clients, place.scores, place.models, place.executed)
    device = place.data.stat().st_dev
    for folder in folders:
        if safe.exists(folder) and folder.stat().st_dev != device:
            raise UsageError(
                f"{folder} is on another file system than {place.data}, and what a run made is renamed into its place "
                "in one step: keep them on one. Drops from elsewhere: copy them into incoming/, or name a source"
            )


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
