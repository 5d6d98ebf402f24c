"""What a tick does first: close the runs whose process is gone, and mend what they left half done.

And last of all, where an error kept its own run from saying how it ended.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrition import safe
from attrition.book import Book
from attrition.commits import commit_run, mend_current, mend_latest
from attrition.console import complain, words_of
from attrition.home import Place
from attrition.runs import Run, latest, leftovers
from attrition.store import torn

__all__ = ["close", "recover"]

PARQUET = b"PAR1"
"""What a file of Parquet begins and ends with."""
LOST = "The process of this run went away {}; the next tick does what is missing."


def recover(place: Place, book: Book, now: str) -> tuple[list[Run], bool]:
    """Bring the portfolio to where its book and tables say it is; the caller holds the lock.

    Returns:
        The runs that were closed, whose pages are not written yet; and whether current.json named another model than
        is deployed, though no run of ours can have left it so: that is said, because it may have served.
    """
    if safe.exists(place.at_work) or safe.exists(place.forgetting):  # which commits to both tables, and is no run yet
        for table in (place.clients, place.scores):
            torn.mend(table)
    closed = close(place, book, now)
    if book.state().scored_version and not _usable(place.ranking, book):
        book.unscored()  # else the next list would have the clients of the next drop alone, or could not be made
        safe.unlink(place.ranking)
        complain(f"{now} {place.name}: {place.ranking.name} is gone or spoilt: all clients are scored once more")
    named = mend_current(place, book)
    altered = bool(named) and not _cut_short(book)
    if altered:
        why = "in place of the one that is deployed: it is written anew. See who, or what, changed it"
        complain(f"{now} {place.name}: current.json named {named} {why}")
    at_work = safe.exists(place.at_work)
    if at_work or not latest(place):
        mend_latest(place, book)
    if at_work:
        last = [place.executed / line["run"] for line in book.runs(limit=10)]  # killed while they got their pages
        lists = (place.executed.parent, place.executed, place.executed / "clients", place.executed / "models")
        for folder in (*lists, place.models, place.clients / "_hashes", *last):
            safe.sweep(folder)
    return closed, altered


def _usable(ranking: Path, book: Book) -> bool:
    """Whether the next list can go on from the last one.

    To read all of it takes as long as to make it: that is done where the last run failed, as it does of a spoilt one.
    """
    if not _whole(ranking):
        return False
    if "failed" not in [line["status"] for line in book.runs(1)]:
        return True
    from attrition.store.ranking import readable

    return readable(ranking)


def _whole(parquet: Path) -> bool:
    """Whether a file is there, and begins and ends as one of Parquet does."""
    try:
        with parquet.open("rb") as file:
            begins, end = file.read(len(PARQUET)), file.seek(0, os.SEEK_END)
            file.seek(max(0, end - len(PARQUET)))
            return begins == file.read() == PARQUET
    except FileNotFoundError:
        return False


def close(place: Place, book: Book, now: str, error: Exception | None = None) -> list[Run]:
    """End every run that is open: its process is gone, or it is this one, which an ``error`` kept from ending it."""
    closed = []
    for run in leftovers(place):
        _close(place, book, run, now, error)
        closed.append(run)
    for name in book.unfinished():  # published, or gone, before the book could say so
        folder = place.executed / name
        run = Run.read(folder) if safe.exists(folder) else Run.start(place, name, now, {})
        _close(place, book, run, now, error)
        closed.append(run)
    return closed


def _cut_short(book: Book) -> bool:
    """Whether the last run is the one that deployed, and may have ended before it could write current.json."""
    last, deployed = book.runs(1)[0], book.deployments(1)[0]
    return bool(last["run"] == deployed["run"] and last["status"] != "completed")


def _close(place: Place, book: Book, run: Run, now: str, error: Exception | None) -> None:
    if run.report["status"] == "running":
        line = book.run(run.name) or {"decision": None, "reason": None}
        at_work = [stage["name"] for stage in run.report["stages"] if stage["status"] == "running"]
        where = f"in stage {at_work[0]}" if at_work else "between two stages"
        why = f"The run failed {where}: {words_of(error)}" if error else LOST.format(where)
        reason = f"{line['reason'] or ''} {why}".strip()  # a decision that was made keeps its sentence
        run.end("failed" if error else "interrupted", now, decision=line["decision"], reason=reason)
    try:
        commit_run(place, book, run)
    except Exception as error:  # its scores cannot be published: the run failed, and the next tick goes on
        if run.report["status"] != "completed":
            raise
        run.end("failed", now, reason=f"Its results could not be published: {words_of(error)}")
        commit_run(place, book, run)
