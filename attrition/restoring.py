"""A backup put back into a home that has none of its portfolios.

It may be damaged, or somebody's trap: every path, kind and hash is checked before anything of the home is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from attrition import params, safe, site
from attrition.alone import STAGED, Order
from attrition.backups import FORMAT, LOOSE, MANIFEST, TOPS, TREE, entry, files_below
from attrition.book import Book
from attrition.console import now, stamp
from attrition.home import NAME, Home, Place, UsageError

__all__ = ["restore"]

LOCK = "lock"


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
    if Order.of(home.root) is None:
        _chosen(_manifest(source), names)  # before anything is made: a source that was mistyped makes no home
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
    for path, said in files.items():
        pure = PurePosixPath(path)
        proper = pure.parts and not pure.is_absolute() and str(pure) == path and ".." not in pure.parts
        if not proper or "\0" in path or (pure.parts[0] not in TOPS and path not in LOOSE):
            raise UsageError(f"the backup names {path[:80]!r}, which is no part of a home: it is not to be trusted")
        if pure.parts[0] in TOPS[1:4] and not (len(pure.parts) > 2 and NAME.fullmatch(pure.parts[1])):
            raise UsageError(f"the backup names {path[:80]!r}, which is of no portfolio: it is not to be trusted")
        if pure.parts[0] == "data" and pure.parts[2:] == (LOCK,):
            raise UsageError(f"the backup names {path[:80]!r}, which no backup has: it is not to be trusted")
        if not isinstance(said, dict) or said.keys() != {"sha256", "bytes"}:
            raise UsageError(f"the manifest does not say what {path[:80]!r} must be")
    if link := next(filter(Path.is_symlink, safe.below(source)), None):
        raise UsageError(f"{link} is a link: a backup has none")
    found = {str(path.relative_to(source / TREE)) for path in files_below(source / TREE)}
    if odd := sorted(found ^ files.keys()):
        which = "is missing" if odd[0] in files else "is not in the manifest"
        raise UsageError(f"the backup is not whole: {odd[0]} {which}")
    for path, said in files.items():
        if entry(source / TREE / path) != said:
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
    return parts[1] if parts[0] in TOPS[1:4] else parts[1].partition(".")[0] if parts[0] == "params" else ""


def _fetch(path: Path, target: Path, said: dict[str, object]) -> None:
    """Copy one file without following a link, and hold the copy against its hash: it may have changed since."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as source, target.open("xb") as made:
        shutil.copyfileobj(source, made)
        about = os.fstat(source.fileno())
    target.chmod(stat.S_IMODE(about.st_mode) & 0o755)
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
    if entry(target) != said:
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
        for path, said in _entries(source, _manifest(source)).items():
            if not order.names or _portfolio_of(path) in order.portfolios:
                _fetch(source / TREE / path, safe.make_folder((staged / path).parent) / PurePosixPath(path).name, said)
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
        for source in filter(safe.exists, (*come.off, come.params)):
            target = safe.make_folder(have.params.parent) / source.name
            if safe.exists(target) and safe.sha256(target) != safe.sha256(source):
                safe.move(target, target.with_name(f"{target.name}.before-restore"))
            safe.move(source, target)
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
