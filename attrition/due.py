"""What is due in a portfolio: drops that wait, rows not judged, scores owed, a run to go on with.

Standard library only, unless the YAML has changed since it was last read: most ticks find nothing due.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrition import accord, safe
from attrition.book import Book
from attrition.console import say
from attrition.home import Home, Place, UsageError
from attrition.runs import Run
from attrition.signals import Stop
from attrition.store import marks
from attrition.store.aside import rejected
from attrition.store.drops import speakable, spoken, waiting
from attrition.wishes import Wish

if TYPE_CHECKING:
    from attrition.params import Portfolio

__all__ = [
    "apart",
    "asked",
    "broken",
    "columns_fit",
    "drops",
    "fits",
    "oldest",
    "outgrown",
    "owed",
    "past_ingestion",
    "readable",
    "refuse",
    "settle_time",
    "unreplaced",
]

TRIED = 1000
"""How many runs by hand are looked past at most."""
LATELY = 100
"""Runs; among them one that failed, and drops are read before they are taken in."""


def refuse(place: Place, wish: Wish) -> None:
    """Read the YAML with what a person gives otherwise, before anything is made.

    Raises:
        UsageError: it is missing or wrong: a portfolio that is none gets no folder.
    """
    from attrition import overrides

    overrides.changed(place.params, wish.given)


def settle_time(place: Place, book: Book) -> float:
    """Seconds that a drop without its mark must lie still, from a good YAML; one known to be good is not read again.

    Raises:
        UsageError: the YAML is missing or wrong.
    """
    state = book.state()
    if safe.exists(place.params) and safe.sha256(place.params) == state.params_sha256:
        return state.settle
    from attrition import params

    portfolio = params.load(place.params)
    sources = bool(portfolio.sources)
    if outgrown(place, book):  # it is read at each tick until another model serves
        book.doubted(portfolio.settle, sources=sources)
    else:
        about = {"listing": portfolio.listing, "outcomes": portfolio.target.words}
        book.checked(portfolio.sha256, portfolio.settle, sources=sources, **about)
    return portfolio.settle


def outgrown(place: Place, book: Book) -> bool:
    """Whether a new YAML names other features than the champion knows, which cannot score then: another one is due.

    Raises:
        UsageError: the YAML is missing or wrong.
    """
    state = book.state()
    if state.champion is None or safe.sha256(place.params) == state.params_sha256:
        return False
    from attrition import params

    return not fits(place, state.champion, params.load(place.params))


def fits(place: Place, version: str, portfolio: Portfolio) -> bool:
    """Whether a model knows the features that a YAML names, or cannot be asked: whoever is to use it says why."""
    from attrition import registry

    try:
        manifest = registry.read_manifest(registry.version_path(place.models, version))
    except registry.ModelRefused:
        return True
    return manifest.fits(portfolio)


def unreplaced(place: Place, book: Book) -> bool:
    """Whether the champion was outgrown already when the last run ended well, by the same YAML and with the same rows.

    That run would have put another model in its place, had there been enough clients to train one: without new rows
    the next one could do no more.
    """
    if not outgrown(place, book):
        return False
    with suppress(FileNotFoundError, ValueError):  # somebody removed it: then it is made once more
        last = Run.read(place.executed / str(book.runs(limit=1)[0]["run"])).report
        told = (last["status"], last["decision"], last.get("params_sha256"), last["data_version"])
        return told == ("completed", "held", safe.sha256(place.params), book.state().data_version)
    return False


def asked(place: Place, book: Book, stop: Stop) -> bool:
    """Whether every source answered that the YAML names; what they have that is new waits now."""
    if not book.state().sources:
        return True
    from attrition.sources.asking import ask

    return ask(place, book, stop, partial(say, place))


def drops(place: Place, settle: float, stop: Stop) -> list[Path]:
    """The drops to take in; for the youngest that still settles, this waits once. Those that wait on are told of."""
    marks.sweep(place.incoming)
    found = waiting(place.incoming, settle, time.time())
    if found.unsettled:
        stop.sleep(found.unsettled)
        found = waiting(place.incoming, settle, time.time(), found.ahead)
    for path in found.held:
        say(place, f"{spoken(path.name)} waits: a process has it open for writing")
    return [speakable(path) for path in found.ready]


def readable(place: Place, book: Book, drops: Sequence[Path]) -> list[Path]:
    """The drops without those that their disk cannot read; these wait, and are told of.

    What fails once fails its run, and the next tick takes all in together as it would have done. Only where a run has
    failed of late each drop is read before: one that cannot be read for good would keep the others out.
    """
    if not drops or not any(line["status"] == "failed" for line in book.runs(limit=LATELY)):
        return list(drops)
    return [path for path in drops if _readable(place, path)]


def apart(drops: Sequence[Path]) -> list[Path]:
    """Without those that are called as the file with another one's rejected rows is: they would lie in one place."""
    taken = {rejected(drop.name) for drop in drops}
    return [drop for drop in drops if drop.name not in taken]


def _readable(place: Place, drop: Path) -> bool:
    try:
        if safe.is_regular(drop):
            safe.sha256(drop)
    except (FileNotFoundError, PermissionError):  # the ingest has its own word on it
        return True
    except OSError as error:
        if error.errno not in safe.BROKEN:
            raise
        say(place, f"{drop.name} waits, for its disk cannot read it: {error}; mend the disk, or send the file anew")
        return False
    return True


def owed(book: Book) -> bool:
    """Whether rows are not judged yet, or clients have no score of the champion."""
    state = book.state()
    return state.data_version > state.judged_version or state.scores_owed


def oldest(home: Home) -> Callable[[str], float]:
    """By what to order portfolios, so that the drop that has waited longest comes first."""

    def key(name: str) -> float:
        try:
            ready = waiting(home.place(name).incoming, 0, time.time()).ready
            return min((path.lstat().st_mtime for path in ready), default=math.inf)
        except OSError:  # its own tick says what is wrong there
            return math.inf

    return key


def broken(place: Place, book: Book) -> Run:
    """The last run, to go on with. Stages that were tried by hand since then change nothing of it.

    Raises:
        UsageError: it ended well, or there is none.
    """
    for last in book.runs(limit=TRIED):
        run = Run.read(place.executed / str(last["run"]))
        if "based_on" in run.report:
            continue
        if last["status"] in ("failed", "interrupted"):
            return run
        raise UsageError(f"{place.name}: nothing to resume: the last run {last['run']} is {last['status']}")
    raise UsageError(f"{place.name}: nothing to resume: no run yet")


def past_ingestion(run: Run) -> bool:
    """Whether a run came to a stage after the one that takes drops in."""
    return any(line["status"] not in ("pending", "skipped") for line in run.report["stages"][1:])


def columns_fit(place: Place, book: Book, portfolio: Portfolio) -> None:
    """Look whether the YAML's columns are those of the client table.

    Raises:
        UsageError: they are not, or an outcome means something else, or the table is damaged, or is not the book's.
    """
    from attrition.store.clients import Clients, StoreError
    from attrition.store.engine import Damaged

    accord.refuse_older(place, book)
    state = book.state()
    if state.data_version and state.outcomes not in (None, portfolio.target.words):
        raise UsageError(
            f"{place.params}: target: positive and negative were {state.outcomes} when its first rows came, and are "
            f"{portfolio.target.words} now. Those rows stay as they were read: take the change back, or give the "
            "portfolio with the new meaning a new name"
        )
    try:
        Clients(portfolio, place.clients)
    except Damaged as error:
        raise UsageError(f"{place.name}: {error}") from None
    except StoreError as error:
        raise UsageError(f"{place.params}: {error}") from None
