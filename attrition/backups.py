"""A home copied while runs are at work.

A backup is a plain folder: the home's tree below ``home/`` and ``manifest.json`` with the SHA-256 of each file. No
lock is held: the book is copied by SQLite at one moment, and everything else is what that book speaks of. What it names
never changes once it is there (rows, predictions, models, published runs); what does is copied again until it fits.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attrition import bookkeeping, params, safe
from attrition.accord import refuse_older
from attrition.alone import refuse_while_restoring, refuse_without_book
from attrition.book import Book, State
from attrition.commits import mend_current, mend_latest
from attrition.home import PARTS, Home, Place, UsageError
from attrition.store import marks
from attrition.store.drops import DONE, UNFINISHED, being_written, is_drop, waiting

__all__ = ["FORMAT", "LOOSE", "MANIFEST", "TOPS", "TREE", "Made", "backup", "entry", "files_below"]

FORMAT = 1
MANIFEST = "manifest.json"
TREE = "home"
TOPS = ("params", "data", "models", "executed", "notebooks")
LOOSE = ("alerts.yaml", ".attrition")
ATTEMPTS = 20


@dataclass(frozen=True)
class Made:
    """How many files a backup has, how many bytes, and what it lacks.

    ``left_out``: files of incoming/ none of which was whole; ``odd``: links, pipes and the like, which are no files.
    """

    files: int
    bytes: int
    left_out: tuple[str, ...]
    odd: tuple[str, ...]


def backup(home: Home, target: Path, names: Sequence[str], at: str) -> Made:
    """Copy portfolios into the new folder ``target``.

    Raises:
        UsageError: there is such a folder already, or it would be in one of the home's, a name is of no portfolio, a
            client is being forgotten, a restore has not ended, or a book is gone.
        OSError: something cannot be read or written, or was forgotten or pruned meanwhile: call it once more.
    """
    if safe.exists(target):
        raise UsageError(f"{target} is there already: name a new folder")
    for folder in (home.root / name for name in TOPS):  # where it would be served, taken in, or copied with the next
        if target.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{target} is within {folder}, which is copied: name a folder outside {home.root}")
    for name in names:
        if not safe.is_file(home.place(name).params) and not home.place(name).in_use:
            raise UsageError(f"there is no portfolio {name}: {home.place(name).params} is missing")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    safe.make_folder(beside.parent)
    beside.mkdir(mode=0o700)
    try:
        tree = Home(safe.make_folder(beside / TREE))
        left_out = [path for name in names for path in _portfolio(home.place(name), tree.place(name))]
        _loose(home, tree)
        files = {str(path.relative_to(tree.root)): entry(path) for path in files_below(tree.root)}
        manifest = {"format": FORMAT, "at": at, "portfolios": list(names), "files": files}
        safe.write(beside / MANIFEST, json.dumps(manifest, indent=1))
        safe.publish(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    size = sum(int(str(each["bytes"])) for each in files.values())
    odd = [path for name in names for path in _odd(home.place(name))]
    lacks = (tuple(str(path.relative_to(home.root)) for path in each) for each in (left_out, odd))
    return Made(len(files), size, *lacks)


def _portfolio(place: Place, into: Place) -> list[Path]:
    """One portfolio: first what a run moves away, then its book, then all that the book speaks of.

    Which files of incoming/ were left out.
    """
    refuse_while_restoring(place)
    refuse_without_book(place)
    _refuse_while_forgetting(place)
    gone = _forgotten(place)
    for path in (place.params, *place.off):
        _put(path, into.params.with_name(path.name))
    left_out = _incoming(place, into)
    for path in files_below(place.test):
        _put(path, into.test / path.relative_to(place.test))
    _put(place.executed / "latest.json", into.executed / "latest.json")
    # Before the book, so that no run counts as told that the book lacks.
    _put(place.data / "alerts.json", into.data / "alerts.json")
    if not safe.exists(place.book):
        return left_out
    safe.make_folder(into.data)
    with Book.open(place.book, read_only=True) as now:
        refuse_older(place, now)
        for _ in range(ATTEMPTS):
            into.book.unlink(missing_ok=True)
            bookkeeping.copy(place.book, into.book)
            for path, copy in ((place.ranking, into.ranking), (place.call_list, into.call_list)):
                _put(path, copy)
            with Book.open(into.book, read_only=True) as book:  # in the form that the home's own has
                state, runs = book.state(), book.runs(limit=2**62)
            later = now.state()
            if (state.scored_version, state.scored_model) == (later.scored_version, later.scored_model):
                break
            time.sleep(0.2)  # a run is just publishing: once more
    ended = {str(run["run"]) for run in runs if run["status"] != "running"}
    _tables(place, into, state, max((int(run["number"]) for run in runs if run["run"] in ended), default=0))
    _settle(into, [str(run["run"]) for run in runs])
    _drops(place, into, ended)
    _folders(place, into, ended)
    _refuse_while_forgetting(place)
    if gone != _forgotten(place):
        raise UsageError(f"{place.name}: a client was forgotten meanwhile: call it once more")
    return left_out


def _forgotten(place: Place) -> int:
    """How many clients were."""
    if not safe.exists(place.book):
        return 0
    with Book.open(place.book, read_only=True):  # which says so, if nobody can read it before a tick
        return len(bookkeeping.forgotten(place.book))


def _incoming(place: Place, into: Place) -> list[Path]:
    """Copy the drops that a tick would take now, with what stands beside them; which files wait and are not whole.

    Of those a part would be restored, lie still, and be taken in.
    """
    ready, left_out = waiting(place.incoming, _settle_time(place), time.time()).ready, []
    for path in safe.entries(place.incoming):
        if path in ready and _whole(path, into.incoming / path.name):
            for beside in (marks.path(path), path.with_name(f"{path.name}{DONE}")):
                _put(beside, into.incoming / beside.name)
        elif safe.there(path) and (is_drop(path.name) or path.name.endswith(UNFINISHED)) and path.name[0] != ".":
            left_out.append(path)
    return left_out


def _settle_time(place: Place) -> float:
    """Seconds that a drop without its mark must lie still; where the YAML is wrong, only its mark makes it whole."""
    if not safe.exists(place.params) and safe.exists(place.book):  # switched off, or lost: as it was
        with Book.open(place.book, read_only=True) as book:
            return book.state().settle
    try:
        return params.load(place.params).settle
    except UsageError:
        return math.inf


def _whole(path: Path, copy: Path) -> bool:
    """Copy a drop; whether nobody was writing to it. One that a tick moved away meanwhile was whole before."""
    if safe.is_folder(path):  # of which nothing is ever read
        for each in files_below(path):
            _put(each, copy / each.relative_to(path))
        return True
    vouched, before = safe.exists(path.with_name(f"{path.name}{DONE}")), safe.identity(path)
    _put(path, copy)
    if safe.identity(path) in (before, None) and (vouched or not being_written(path)):
        return True
    copy.unlink(missing_ok=True)
    return False


def _refuse_while_forgetting(place: Place) -> None:
    """A copy of what is half erased would hold the client, and nothing that says so."""
    if safe.exists(place.forgetting):
        raise UsageError(f"{place.name}: a client is just being forgotten; if that was cut short, a tick ends it first")


def _tables(place: Place, into: Place, state: State, number: int) -> None:
    """Both tables: the rows up to the book's data version, the predictions of runs that it knows to have ended."""
    from attrition.store import past

    newest, ingests = past.moment(place.clients)
    at = newest if ingests == state.ingests else state.data_version  # else a run has committed rows since
    rows = {"to_version": state.data_version, "ingests": state.ingests, "at": at}
    past.clients(place.clients, into.clients, **rows, put=_put)
    past.predictions(place.scores, into.scores, to_run=number, put=_put)


def _settle(into: Place, runs: Sequence[str]) -> None:
    """Drops that the copied book has taken in do not wait any more: they lie where their run moves them."""
    waiting = {path.name for path in safe.entries(into.incoming)}
    with Book.open(into.book) as book:
        for run in runs[:50]:  # newest first: an older one has moved its drops long since
            for drop in book.drops(run):
                path = into.incoming / drop["name"]
                if drop["name"] in waiting and safe.is_file(path) and safe.sha256(path) == drop["sha256"]:
                    away = into.taken if drop["moved_to"] == "taken" else into.quarantine
                    marks.lift(path)
                    safe.move(path, safe.make_folder(away / run) / drop["name"])


def _drops(place: Place, into: Place, ended: set[str]) -> None:
    """The drops that the copied book has taken in, and the rows that were rejected; also those of a run at work."""
    with Book.open(into.book) as book:
        at_work = [run for run in book.unfinished() if book.drops(run)]
    for run in at_work:  # which may just be moving them: first from where they come, then from where they go
        staged = place.staging / run / "quarantine"
        for path in files_below(staged):
            _put(path, into.quarantine / run / path.relative_to(staged))
    known = ended.union(at_work)
    for folder, copy in ((place.taken, into.taken), (place.quarantine, into.quarantine)):
        for path in files_below(folder):
            if path.relative_to(folder).parts[0] in known:
                _put(path, copy / path.relative_to(folder))


def _folders(place: Place, into: Place, ended: set[str]) -> None:
    """Models, published runs, and the pages of the portfolio."""
    with Book.open(into.book) as book:
        versions = [str(model["version"]) for model in book.models()]
        mend_current(into, book)  # the home's own may speak of a newer deployment than the copied book
    for version in versions:
        for path in files_below(place.models / version):
            _put(path, into.models / path.relative_to(place.models))
    for run in sorted(ended):
        for path in files_below(place.executed / run):
            _put(path, into.executed / path.relative_to(place.executed))
    with Book.open(into.book) as book:
        mend_latest(into, book)  # what was copied may be older than the book
    for each in safe.entries(place.executed):
        if safe.is_file(each) and each.name != "latest.json" and not each.name.startswith("."):
            _put(each, into.executed / each.name)
    for name in ("models", "clients"):
        for path in files_below(place.executed / name):
            _put(path, into.executed / path.relative_to(place.executed))


def _loose(home: Home, tree: Home) -> None:
    """What belongs to all portfolios; the stages too, where they are the home's own."""
    for name in LOOSE:
        _put(home.root / name, tree.root / name)
    if home.root != PARTS:
        for path in files_below(home.root / "notebooks"):
            _put(path, tree.root / path.relative_to(home.root))


def _odd(place: Place) -> Iterator[Path]:
    """What is neither file nor folder, but for what is nobody's yet: the names of that begin with a dot."""
    for folder in (place.data, place.models, place.executed):
        for path in filter(safe.there, safe.below(folder)):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if not hidden and (safe.is_link(path) or not (safe.is_regular(path) or safe.is_folder(path))):
                yield path


def _put(path: Path, target: Path) -> None:
    """Copy one regular file as it is at this moment; none is fine, and so is one that is just moved away."""
    if not safe.is_regular(path) or path.name.endswith(".tmp"):
        return
    safe.make_folder(target.parent)
    try:
        shutil.copy2(path, target, follow_symlinks=False)
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def files_below(folder: Path) -> Iterator[Path]:
    """The regular files below a folder, as they are when they are looked at: a run may be moving them away."""
    return filter(_regular, safe.below(folder))


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def entry(path: Path) -> dict[str, object]:
    """What the manifest says of a file."""
    return {"sha256": safe.sha256(path), "bytes": path.stat().st_size}
