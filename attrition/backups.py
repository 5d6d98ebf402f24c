"""A home copied while runs are at work, and put back.

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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from attrition import bookkeeping, params, safe, site
from attrition.alone import STAGED, Order, refuse_while_restoring
from attrition.book import Book, State
from attrition.commits import mend_current, mend_latest
from attrition.console import now, stamp
from attrition.home import NAME, PARTS, Home, Place, UsageError
from attrition.store import marks
from attrition.store.drops import DONE, UNFINISHED, being_written, is_drop, waiting

__all__ = ["Made", "backup", "restore"]

FORMAT = 1
MANIFEST = "manifest.json"
TREE = "home"
TOPS = ("params", "data", "models", "executed", "notebooks")
LOOSE = ("alerts.yaml", ".attrition")
LOCK = "lock"
ATTEMPTS = 20


@dataclass(frozen=True)
class Made:
    """How many files a backup has, how many bytes, and which files of incoming/ it lacks: none of them was whole."""

    files: int
    bytes: int
    left_out: tuple[str, ...]


def backup(home: Home, target: Path, names: Sequence[str], at: str) -> Made:
    """Copy portfolios into the new folder ``target``.

    Raises:
        UsageError: there is such a folder already, a portfolio without a YAML is named, a client is being forgotten, or
            a restore has not ended.
        OSError: something cannot be read or written, or was forgotten or pruned meanwhile: call it once more.
    """
    if safe.exists(target):
        raise UsageError(f"{target} is there already: name a new folder")
    if target.resolve().is_relative_to((home.root / "executed").resolve()):
        raise UsageError(f"{target} would be served with the pages: name a folder outside {home.root}")
    for name in names:
        if not safe.is_file(home.place(name).params):
            raise UsageError(f"there is no portfolio {name}: {home.place(name).params} is missing")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    safe.make_folder(beside.parent)
    beside.mkdir(mode=0o700)
    try:
        tree = Home(safe.make_folder(beside / TREE))
        left_out = [path for name in names for path in _portfolio(home.place(name), tree.place(name))]
        _loose(home, tree)
        files = {str(path.relative_to(tree.root)): _entry(path) for path in _walk(tree.root)}
        manifest = {"format": FORMAT, "at": at, "portfolios": list(names), "files": files}
        safe.write(beside / MANIFEST, json.dumps(manifest, indent=1))
        safe.publish(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    size = sum(int(str(each["bytes"])) for each in files.values())
    return Made(len(files), size, tuple(str(path.relative_to(home.root)) for path in left_out))


def restore(home: Home, source: Path, names: Sequence[str]) -> list[str]:
    """Put portfolios of a backup into a home that has none of them; all if none is named. Their names.

    Everything is read, compared with the manifest and copied beside first; then it is moved in. Meanwhile, and until a
    call after a crash has ended it, nobody else works on these portfolios. Such a call begins anew, or goes on where
    the one before was moving in.

    Raises:
        Held: a tick, or another restore, is at work.
        UsageError: the backup is not whole, holds what is no part of a home, or a portfolio is there already; or
            another restore is half done.
    """
    at = stamp(now())
    with safe.lock(home.root / ".restore.lock", at):
        order = Order.of(home.root)
        if order and order.whole:
            _refuse_another(order, source, names)
        else:
            chosen = _chosen(_manifest(source), names)
            order = Order(str(source), safe.sha256(source / MANIFEST), list(names), chosen)
        with _locked(home, order.portfolios, at):
            _move_in(home, order if order.whole else _staged(home, source, order))
        return list(order.portfolios)


# ---- copying what a book speaks of


def _portfolio(place: Place, into: Place) -> list[Path]:
    """One portfolio: first what a run moves away, then its book, then all that the book speaks of.

    Which files of incoming/ were left out.
    """
    refuse_while_restoring(place)
    _refuse_while_forgetting(place)
    _put(place.params, into.params)
    left_out = _incoming(place, into)
    for path in _walk(place.test):
        _put(path, into.test / path.relative_to(place.test))
    _put(place.executed / "latest.json", into.executed / "latest.json")
    # Before the book, so that no run counts as told that the book lacks.
    _put(place.data / "alerts.json", into.data / "alerts.json")
    if not safe.exists(place.book):
        return left_out
    safe.make_folder(into.data)
    with Book.open(place.book, read_only=True) as now:  # which says so, if nobody can read it before a tick
        for _ in range(ATTEMPTS):
            into.book.unlink(missing_ok=True)
            bookkeeping.copy(place.book, into.book)
            for path, copy in ((place.ranking, into.ranking), (place.call_list, into.call_list)):
                _put(path, copy)
            with Book.open(into.book) as book:
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
    if len(bookkeeping.forgotten(place.book)) != len(bookkeeping.forgotten(into.book)):
        raise UsageError(f"{place.name}: a client was forgotten meanwhile: call it once more")
    return left_out


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
    """Seconds that a drop without its mark must lie still; where no YAML says so, only its mark makes it whole."""
    try:
        return params.load(place.params).settle
    except UsageError:
        return math.inf


def _whole(path: Path, copy: Path) -> bool:
    """Copy a drop; whether nobody was writing to it. One that a tick moved away meanwhile was whole before."""
    if safe.is_folder(path):  # of which nothing is ever read
        for each in _walk(path):
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
        for path in _walk(staged):
            _put(path, into.quarantine / run / path.relative_to(staged))
    known = ended.union(at_work)
    for folder, copy in ((place.taken, into.taken), (place.quarantine, into.quarantine)):
        for path in _walk(folder):
            if path.relative_to(folder).parts[0] in known:
                _put(path, copy / path.relative_to(folder))


def _folders(place: Place, into: Place, ended: set[str]) -> None:
    """Models, published runs, and the pages of the portfolio."""
    with Book.open(into.book) as book:
        versions = [str(model["version"]) for model in book.models()]
        mend_current(into, book)  # the home's own may speak of a newer deployment than the copied book
    for version in versions:
        for path in _walk(place.models / version):
            _put(path, into.models / path.relative_to(place.models))
    for run in sorted(ended):
        for path in _walk(place.executed / run):
            _put(path, into.executed / path.relative_to(place.executed))
    with Book.open(into.book) as book:
        mend_latest(into, book)  # what was copied may be older than the book
    for each in safe.entries(place.executed):
        if safe.is_file(each) and each.name != "latest.json" and not each.name.startswith("."):
            _put(each, into.executed / each.name)
    for name in ("models", "clients"):
        for path in _walk(place.executed / name):
            _put(path, into.executed / path.relative_to(place.executed))


def _loose(home: Home, tree: Home) -> None:
    """What belongs to all portfolios; the stages too, where they are the home's own."""
    for name in LOOSE:
        _put(home.root / name, tree.root / name)
    if home.root != PARTS:
        for path in _walk(home.root / "notebooks"):
            _put(path, tree.root / path.relative_to(home.root))


def _put(path: Path, target: Path) -> None:
    """Copy one regular file as it is at this moment; none is fine, and so is one that is just moved away."""
    if not safe.is_regular(path) or path.name.endswith(".tmp"):
        return
    safe.make_folder(target.parent)
    try:
        shutil.copy2(path, target, follow_symlinks=False)
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def _walk(folder: Path) -> Iterator[Path]:
    """The regular files below a folder, as they are when they are looked at: a run may be moving them away."""
    return filter(_regular, safe.below(folder))


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _entry(path: Path) -> dict[str, object]:
    return {"sha256": safe.sha256(path), "bytes": path.stat().st_size}


# ---- reading a backup that may be damaged, or somebody's trap


def _manifest(source: Path) -> dict[str, object]:
    path = source / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{source} is no backup: {error}") from None
    parts = found if isinstance(found, dict) else {}
    if parts.get("format") != FORMAT or not isinstance(parts.get("files"), dict):
        raise UsageError(f"{path} is not of a backup that this version can read")
    return found  # type: ignore[no-any-return]


def _chosen(manifest: dict[str, object], names: Sequence[str]) -> list[str]:
    given = manifest.get("portfolios")
    has = [each for each in given if isinstance(each, str) and NAME.fullmatch(each)] if isinstance(given, list) else []
    if missing := [name for name in names if name not in has]:
        raise UsageError(f"the backup has no portfolio {missing[0][:40]!r}; it has {', '.join(has) or 'none'}")
    return list(names) or has


def _entries(source: Path, manifest: dict[str, object]) -> dict[str, dict[str, object]]:
    """The files of a backup, each held against its hash.

    Raises:
        UsageError: one is missing, changed, a link, no part of a home, or not in the manifest.
    """
    files = manifest["files"]
    assert isinstance(files, dict)
    for path, entry in files.items():
        pure = PurePosixPath(path)
        proper = pure.parts and not pure.is_absolute() and str(pure) == path and ".." not in pure.parts
        if not proper or "\0" in path or (pure.parts[0] not in TOPS and path not in LOOSE):
            raise UsageError(f"the backup names {path[:80]!r}, which is no part of a home: it is not to be trusted")
        if pure.parts[0] in TOPS[1:4] and not (len(pure.parts) > 2 and NAME.fullmatch(pure.parts[1])):
            raise UsageError(f"the backup names {path[:80]!r}, which is of no portfolio: it is not to be trusted")
        if pure.parts[0] == "data" and pure.parts[2:] == (LOCK,):
            raise UsageError(f"the backup names {path[:80]!r}, which no backup has: it is not to be trusted")
        if not isinstance(entry, dict) or entry.keys() != {"sha256", "bytes"}:
            raise UsageError(f"the manifest does not say what {path[:80]!r} must be")
    if link := next(filter(Path.is_symlink, safe.below(source)), None):
        raise UsageError(f"{link} is a link: a backup has none")
    found = {str(path.relative_to(source / TREE)) for path in _walk(source / TREE)}
    if odd := sorted(found ^ files.keys()):
        which = "is missing" if odd[0] in files else "is not in the manifest"
        raise UsageError(f"the backup is not whole: {odd[0]} {which}")
    for path, entry in files.items():
        if _entry(source / TREE / path) != entry:
            raise UsageError(f"the backup is damaged: {path} is not what was backed up (SHA-256 differs)")
    return files


def _refuse_what_is_there(home: Home, names: Sequence[str], *, alone: bool) -> None:
    there = set(names) | (set(home.portfolios()) if alone else set())
    for name in sorted(there):
        place = home.place(name)
        for folder in (place.data, place.models, place.executed):
            if safe.is_link(folder) or any(path != place.lock for path in safe.entries(folder)):
                hint = "" if name in names else "; --portfolio restores one beside it"
                raise UsageError(f"{folder} is there already: nothing is ever restored over it{hint}")


def _portfolio_of(path: str) -> str:
    parts = PurePosixPath(path).parts
    if len(parts) < 2:
        return ""
    return parts[1] if parts[0] in TOPS[1:4] else parts[1].removesuffix(".yaml") if parts[0] == "params" else ""


def _fetch(path: Path, target: Path, entry: dict[str, object]) -> None:
    """Copy one file without following a link, and hold the copy against its hash: it may have changed since."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as source, target.open("xb") as made:
        shutil.copyfileobj(source, made)
        about = os.fstat(source.fileno())
    target.chmod(stat.S_IMODE(about.st_mode) & 0o755)
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
    if _entry(target) != entry:
        raise UsageError(f"{path} changed while it was read: nothing was restored")


# ---- moving it in


@contextmanager
def _locked(home: Home, names: Sequence[str], at: str) -> Iterator[None]:
    with ExitStack() as locks:
        for name in sorted(names):
            locks.enter_context(safe.lock(home.place(name).lock, at))
        yield


def _refuse_another(order: Order, source: Path, names: Sequence[str]) -> None:
    """What is half moved in is ended by the call that began it, wherever its backup lies now, if anywhere."""
    manifest = source / MANIFEST
    same = safe.sha256(manifest) == order.sha256 if safe.is_file(manifest) else str(source) == order.source
    if not same or set(names) != set(order.names):
        half = f"a restore of {', '.join(order.portfolios)} is half done, and this would be another one"
        raise UsageError(f"{half}: nothing was done. End that one first with: {order.command}")


def _staged(home: Home, source: Path, order: Order) -> Order:
    """Copy what the backup has beside the home, and say that it is whole there."""
    _refuse_what_is_there(home, order.portfolios, alone=not order.names)
    staged = home.root / STAGED
    safe.remove(staged)
    order.write(home.root)  # before anything is there, so that no tick begins what this one would come on top of
    try:
        for path, entry in _entries(source, _manifest(source)).items():
            if not order.names or _portfolio_of(path) in order.portfolios:
                _fetch(source / TREE / path, safe.make_folder((staged / path).parent) / PurePosixPath(path).name, entry)
    except UsageError:  # by which it ends: nothing is left to end
        Order.done(home.root)
        raise
    safe.sync_below(staged)
    whole = replace(order, whole=True)
    whole.write(home.root)
    return whole


def _move_in(home: Home, order: Order) -> None:
    """Move what was staged into its place; once more does what is left to do.

    A model comes after the book that knows it, and the YAML last.
    """
    staged = home.root / STAGED
    for name in order.portfolios:
        have, come = home.place(name), Home(staged).place(name)
        for target, source in ((have.data, come.data), (have.executed, come.executed), (have.models, come.models)):
            if safe.exists(source):
                safe.make_folder(target.parent)
                _move(source, target)
        if safe.exists(come.params):
            if safe.exists(have.params) and safe.sha256(have.params) != safe.sha256(come.params):
                safe.move(have.params, have.params.with_name(f"{have.params.name}.before-restore"))
            safe.move(come.params, safe.make_folder(have.params.parent) / have.params.name)
    for name in LOOSE:
        if safe.exists(staged / name) and not safe.exists(home.root / name):
            safe.move(staged / name, home.root / name)
    if safe.exists(staged / "notebooks") and not safe.exists(home.root / "notebooks"):
        safe.move(staged / "notebooks", home.root / "notebooks")
    for name in order.portfolios:
        _lists(home.place(name))
    Order.done(home.root)


def _move(source: Path, target: Path) -> None:
    """Move what a name has to where nothing has it; of a folder that is there, as the lock's is, what lies in it."""
    if safe.is_folder(source) and safe.is_folder(target):
        for each in safe.entries(source):
            _move(each, target / each.name)
    elif safe.there(target):
        raise UsageError(f"{target} has come while it was restored: move it away, and call this once more")
    else:
        safe.move(source, target)


def _lists(place: Place) -> None:
    """The folders that a backup of an early moment lacks, and the pages that list what there is."""
    safe.make_folder(place.incoming)
    safe.make_folder(place.executed)
    safe.sweep(place.executed, deep=True)  # of a call that was killed while it wrote them
    safe.sweep(place.executed.parent)
    if not safe.exists(place.book):
        return
    try:
        portfolio = params.load(place.params)
    except UsageError:  # the backup's YAML was wrong too; a tick says so, and a page comes when it is mended
        return
    with Book.open(place.book) as book:
        site.write(place, portfolio, book)
