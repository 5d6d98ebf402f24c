"""A portfolio looked at: alone, with what others left half done put right, and whatever waits for work.

It asks the standard library only, as most visits find nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from attrition import due, safe
from attrition.accord import refuse_gone, refuse_split
from attrition.alone import alone
from attrition.book import Book
from attrition.console import DONE, FAILED, complain, now, say, stamp
from attrition.home import Home, Place
from attrition.recovery import recover
from attrition.runs import Run
from attrition.signals import Stop, heeded
from attrition.wishes import NONE, Wish

__all__ = ["Clock", "Visit", "visit"]

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Visit:
    """What there is to work on, and with.

    ``ours`` says whether the lock still is: where its file was removed another process may hold one of its own.
    ``closed`` are runs that were ended for others, without their pages yet.
    """

    place: Place
    book: Book
    stop: Stop
    ours: Callable[[], bool]
    drops: Sequence[Path]
    closed: Sequence[Run]
    wish: Wish
    clock: Clock


def visit(home: Home, name: str, work: Callable[[Visit], int], *, wish: Wish = NONE, clock: Clock = now) -> int:
    """Look at one portfolio, and let ``work`` do what there is to do; the exit status.

    Raises:
        Held: another run is at work.
        UsageError: the portfolio's YAML is missing or wrong, a restore of it was cut short, or what is asked cannot be
            done; nothing was started.
    """
    place = home.place(name)
    if wish.given or not safe.exists(place.book):
        due.refuse(place, wish)
    with heeded() as stop, alone(place, stamp(clock())) as ours, Book.open(place.book) as book:
        refuse_split(place)
        settle = due.settle_time(place, book)
        answered = bool(wish.stage) or due.asked(place, book, stop)
        waiting = [] if wish.stage else due.drops(place, settle, stop)
        closed, altered = recover(place, book, stamp(clock()))
        if closed:  # by a YAML of before: of that of now its list may be owed
            due.settle_time(place, book)
        refuse_gone(place, book)
        _forget(place, book)
        for run in closed:
            say(place, f"{run.name} had not ended: closed as {run.report['status']}")
        waiting = [path for path in waiting if safe.there(path)]  # but for those that were taken in by what was closed
        drops = due.readable(place, book, waiting)
        well = answered and len(drops) == len(waiting) and not altered
        drops = due.apart(drops)  # the others are the next tick's
        if wish.resume and due.past_ingestion(due.broken(place, book)):
            drops = []  # the same data version: they are the next tick's
        outgrown = not (wish.asks or wish.given) and due.outgrown(place, book)
        unreplaced = outgrown and not drops and due.unreplaced(place, book)
        if outgrown and not unreplaced:
            say(place, f"{place.params.name} names other features than the champion was trained on: another is due")
            wish = replace(wish, force=True)
        busy = drops or wish.asks or (due.owed(book) and not unreplaced)
        status = work(Visit(place, book, stop, ours, drops, closed, wish, clock)) if busy else DONE
        well = _model_serves(place, book) and well  # the work may have trained another in its place
        if not busy:
            status = _quiet(place, book, closed, well=well, at=stamp(clock()))
        return status if well else status or FAILED


def _forget(place: Place, book: Book) -> None:
    """End a forgetting that was cut short."""
    if not safe.exists(place.forgetting):
        return
    from attrition import forgetting

    done = forgetting.finish(place, book)
    note = done["note"] if done else ""
    say(place, f"a client whose forgetting was cut short is forgotten. {note}".strip())


def _model_serves(place: Place, book: Book) -> bool:
    """Whether the deployed model, if there is one, can serve as far as is seen without loading it; else it is told."""
    champion = book.state().champion
    trouble = champion and (_gone(place, champion) or _renamed(place, champion) or _unfit(place, book, champion))
    if trouble:
        complain(f"{stamp(now())} {place.name}: {trouble}")
    return not trouble


def _gone(place: Place, champion: str) -> str:
    gone = [path for path in place.version_files(champion) if not safe.exists(path)]
    how = f"put it back from a backup, roll back, or let runner.py tick {place.name} --force train another"
    return f"{gone[0]} is gone, and model {champion} is deployed: {how}" if gone else ""


def _renamed(place: Place, champion: str) -> str:
    """Whose model it is by its manifest, if another's. What else is in it is looked at by whoever loads it."""
    with suppress(OSError, ValueError, RecursionError, LookupError, TypeError):  # damaged: of that too
        facts = json.loads(place.version_files(champion)[1].read_bytes())
        of, version = str(facts["portfolio"]), str(facts["version"])
        if (of, version) != (place.name, champion):
            how = f"give all its folders that name again, or let runner.py tick {place.name} --force train another"
            return f"model {champion} was trained as {version} of {of}, and the API refuses it: {how}"
    return ""


def _unfit(place: Place, book: Book, champion: str) -> str:
    if not due.unreplaced(place, book):
        return ""
    why = f"{place.params.name} names other features than model {champion} knows"
    how = "send more, with outcomes, or take the change back; until then nobody is scored"
    return f"{why}, and too few clients count to train another: {how}"


def _quiet(place: Place, book: Book, closed: Sequence[Run], *, well: bool, at: str) -> int:
    """There is nothing to do but the pages that a tick owed when it was cut short."""
    if well:  # a source that is silent for weeks must not look like a portfolio without work
        book.quiet(at)
        say(place, "quiet: no drop is ready, every row is judged")
    if closed or safe.exists(place.at_work):
        from attrition import params, site

        site.write(place, params.load(place.params), book, closed)
    return DONE
