"""A Delta table that many crashes may not spoil: opened, checked against its columns, and committed to once.

deltalake refuses a repeated application transaction only on a stale handle, so the number is
compared first, on a fresh one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, RemoveAction

from attrition import safe
from attrition.store.engine import StoreError

__all__ = [
    "InTable",
    "Staged",
    "clean",
    "commit",
    "files",
    "is_table",
    "laid",
    "open_table",
    "parts",
    "replace",
    "rewrite",
]

_TYPES = {
    "BIGINT": "long",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR": "string",
    "DATE": "date",
    "TINYINT": "byte",
}
# A row carries the version it came with and is never deleted, so every version can be read from the newest one, and the
# log need not be kept for that: a month for whoever reads the table by its log, a week for whoever is reading a file.
_KEEP = {
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}
_ABOUT = "hash 2"
"""The description of a table of clients: which hash its rows have (`store.canonical`). By another none would be found
again."""
AWAY = 7 * 24 * 3600
"""Seconds for which a file that is no longer in the table stays."""
LOGS = 10
"""Versions after which the log is summed up again, so that opening a table never reads more of them."""


@dataclass(frozen=True)
class Staged:
    """A Parquet file to add: where it was staged, its name in the table, and the SHA-256 it must have, if known."""

    source: Path
    name: str
    sha256: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InTable:
    """A file of a table, and what the log says of it: rows (None: nothing), and by ``min.<column>``, ``max.…``,
    ``null_count.…`` what is known of its columns.
    """

    path: Path
    rows: int | None
    bounds: Mapping[str, Any]


def is_table(folder: Path) -> bool:
    """Whether a table is in ``folder``. `DeltaTable.is_deltatable` also says no where the disk does not answer.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = safe.entries(folder / "_delta_log", "[0-9]*")
    return any(path.suffix in (".json", ".parquet") for path in entries)  # and not one whose writer was killed: .json#1


def open_table(folder: Path, columns: Mapping[str, str]) -> DeltaTable | None:
    """The table in ``folder`` at its newest version; None if there is none yet.

    Raises:
        StoreError: its columns are not ``columns`` (SQL types by name), its rows have another hash, or its log cannot
            be read.
        OSError: the folder of its log cannot be listed.
    """
    if not is_table(folder):
        return None
    try:
        table = DeltaTable(str(folder))
    except (DeltaError, OSError) as error:
        raise StoreError(f"{folder}: its Delta log cannot be read: {error}") from error
    _fit(folder, table, columns)
    return table


def files(folder: Path, table: DeltaTable | None) -> list[Path]:
    """The Parquet files of a table, in order of their names."""
    return sorted(folder / unquote(Path(uri).name) for uri in table.file_uris()) if table else []


def parts(folder: Path, table: DeltaTable | None) -> list[InTable]:
    """The files of a table with what its log says of each, in order of their names."""
    if table is None:
        return []
    found = table.get_add_actions(flatten=True)
    columns = {name: found[name].to_pylist() for name in found.column_names}
    bounds = [name for name in columns if name.startswith(("min.", "max.", "null_count."))]
    return sorted(
        (
            InTable(
                folder / unquote(path),
                columns["num_records"][at] if "num_records" in columns else None,
                {name: columns[name][at] for name in bounds if columns[name][at] is not None},
            )
            for at, path in enumerate(columns["path"])
        ),
        key=lambda part: part.path,
    )


def replace(folder: Path, table: DeltaTable, old: Sequence[Path], new: Path, stats: Mapping[str, Any]) -> int:
    """Commit one file in the place of several with the same rows; the version that this makes.

    What it replaces stays in the folder until nobody can be reading it (`clean`).

    Raises:
        StoreError: another process has changed these files meanwhile.
    """
    safe.sync(new)
    safe.sync(folder)
    now = time.time()
    removed = []
    for path in old:
        removed.append(RemoveAction(path.name, False, int(now * 1000), path.stat().st_size, {}))
        os.utime(path)  # since when nobody needs it
    size = new.stat().st_size
    added = AddAction(new.name, size, {}, int(now * 1000), False, json.dumps(stats))
    made_of = CommitProperties(custom_metadata={"compacted": str(len(old))}, max_commit_retries=0)
    try:
        table.create_write_transaction([added, *removed], "append", table.schema(), commit_properties=made_of)
    except DeltaError as error:
        raise StoreError(f"{folder}: another process committed meanwhile: {error}") from error
    version = table.version() + 1
    _sync_log(folder, version)
    return version


def clean(folder: Path, table: DeltaTable) -> None:
    """Sum up the log when it has grown, drop what of it is older than `_KEEP`, and files that long out of the table."""
    if table.metadata().configuration != _KEEP:  # of a table from before
        table.alter.set_table_properties(_KEEP)
    if _since_checkpoint(folder, table.version()) >= LOGS:
        table.create_checkpoint()
        _sync_log(folder, table.version())  # what follows drops entries that only it replaces
        table.cleanup_metadata()
    kept = {path.name for path in files(folder, table)}
    for path in safe.entries(folder, "*.parquet"):
        if path.name not in kept and time.time() - path.stat().st_mtime > AWAY:
            path.unlink()


def _since_checkpoint(folder: Path, version: int) -> int:
    try:
        return version - int(json.loads((folder / "_delta_log" / "_last_checkpoint").read_text())["version"])
    except (FileNotFoundError, ValueError, KeyError):
        return version


def commit(
    folder: Path,
    columns: Mapping[str, str],
    staged: Sequence[Staged],
    *,
    app: str,
    number: int,
    run: str,
    version: int | None = None,
) -> int:
    """Add staged files as one version, once; a call repeated after a crash anywhere goes on where that one ended.

    Args:
        folder: the table's; made, with an empty version 0, where there is none.
        columns: SQL types by name.
        staged: files on the same file system.
        app: name of the application transaction.
        number: its number, above all committed before; the last one again means "is it done?".
        run: kept in the commit.
        version: the version it must become; None: the next.

    Returns:
        The table's version with the files in it.

    Raises:
        StoreError: another run has committed meanwhile, a file is not the one staged, or columns do not fit.
    """
    table = open_table(folder, columns) or _create(folder, columns)
    last = table.transaction_version(app) or 0
    if number < last:
        raise StoreError(f"{folder}: {app} {number} comes late, {last} is committed: this run must not commit")
    if number > last:
        _commit_new(folder, table, staged, _properties(app, number, run, len(staged)), version)
        table = DeltaTable(str(folder))
    for part in staged:
        _verify(folder / part.name, part)
    _sync_log(folder, table.version())
    return table.version()


def _properties(app: str, number: int, run: str, files: int) -> CommitProperties:
    return CommitProperties(
        custom_metadata={"run": run, "added": str(files)},
        max_commit_retries=0,
        app_transactions=[Transaction(app, number)],
    )


def _commit_new(
    folder: Path, table: DeltaTable, staged: Sequence[Staged], properties: CommitProperties, version: int | None
) -> None:
    if version is not None and table.version() + 1 != version:
        raise StoreError(f"{folder} is at version {table.version()}, so the next is not {version}: ingest anew")
    actions: list[AddAction | RemoveAction] = []
    for part in staged:
        target = folder / part.name
        if safe.exists(part.source):  # gone: renamed by the call that this one repeats
            safe.sync(part.source)
            safe.move(part.source, target)
        _verify(target, part)
        stat = target.stat()
        actions.append(AddAction(part.name, stat.st_size, {}, int(stat.st_mtime * 1000), True, json.dumps(part.stats)))
    try:
        table.create_write_transaction(actions, "append", table.schema(), commit_properties=properties)
    except DeltaError as error:
        raise StoreError(f"{folder}: another process committed meanwhile: {error}") from error


def _create(folder: Path, columns: Mapping[str, str]) -> DeltaTable:
    safe.make_folder(folder)
    schema = Schema([Field(name, PrimitiveType(_TYPES[kind]), nullable=True) for name, kind in columns.items()])
    table = _new(folder, schema)
    _sync_log(folder, 0)
    safe.sync(folder)
    return table


def _new(folder: Path, schema: Schema) -> DeltaTable:
    hashed = any(column.name == "_hash" for column in schema.fields)
    return DeltaTable.create(str(folder), schema, description=_ABOUT if hashed else None, configuration=_KEEP)


def _fit(folder: Path, table: DeltaTable, columns: Mapping[str, str]) -> None:
    has = {column.name: str(getattr(column.type, "type", column.type)) for column in table.schema().fields}
    wants = {name: _TYPES[kind] for name, kind in columns.items()}
    faults = [f"{name!r} is not in the table" for name in wants if name not in has]
    faults += [f"{name!r} of the table is missing" for name in has if name not in wants]
    faults += [
        f"{name!r} was {has[name]}, now {wants[name]}" for name in wants if has.get(name, wants[name]) != wants[name]
    ]
    if faults:
        raise StoreError(
            f"{folder}: the columns changed: {'; '.join(faults)}. A table keeps its columns: "
            "give the portfolio with the new ones a new name"
        )
    if "_hash" in columns and table.metadata().description != _ABOUT:
        raise StoreError(
            f"{folder}: its rows were hashed by another version of Attrition, so what comes again would count as new. "
            "Make the table anew: move this folder away, and the drops of taken/ back into incoming/"
        )


def _verify(target: Path, part: Staged) -> None:
    if not safe.exists(target):
        raise StoreError(f"{part.source} is gone and {target} not there: ingest anew")
    if part.sha256 is not None and safe.sha256(target) != part.sha256:
        raise StoreError(f"{target} is not the file that was staged (SHA-256 differs): another run wrote it")


def _sync_log(folder: Path, version: int) -> None:
    log = folder / "_delta_log"
    names = (f"{version:020d}.json", f"{version:020d}.checkpoint.parquet", "_last_checkpoint")
    for path in (log / name for name in names):
        if safe.exists(path):
            safe.sync(path)
    safe.sync(log)


def laid(
    folder: Path, schema: Schema, there: Mapping[str, Mapping[str, Any]], version: int, app: str, number: int
) -> None:
    """Make a table of Parquet files that lie in ``folder``, as if it had come to ``version`` by many commits.

    Args:
        folder: it holds them and nothing else.
        schema: of the table.
        there: by name what Delta keeps of each.
        version: of the table, 1 or more.
        app: name of the application transaction,
        number: and the last number of it that the table knows.
    """
    table = _new(folder, schema)
    adds: list[AddAction | RemoveAction] = [_added(folder / name, stats) for name, stats in there.items()]
    table.create_write_transaction(
        adds, "append", table.schema(), commit_properties=_properties(app, number, "", len(adds))
    )
    # What was before is summed up in a checkpoint; then it and what it sums up take the number that is asked for.
    DeltaTable(str(folder)).create_checkpoint()
    log = folder / "_delta_log"
    (log / f"{0:020d}.json").unlink()
    for path in safe.entries(log, f"{1:020d}.*"):
        path.rename(path.with_name(path.name.replace(f"{1:020d}", f"{version:020d}", 1)))
    last = json.loads((log / "_last_checkpoint").read_text(encoding="utf-8"))
    safe.write(log / "_last_checkpoint", json.dumps({**last, "version": version}))


def rewrite(folder: Path, instead: Mapping[Path, Path | None], stats: Mapping[Path, Mapping[str, Any]]) -> int:
    """Commit one version in which files have other rows, or are gone; the table's version.

    Args:
        folder: the table's.
        instead: file of the table: what takes its place, in the table's folder; None for nothing.
        stats: of each new file, as Delta has them.

    Raises:
        StoreError: another process committed meanwhile.
    """
    table = DeltaTable(str(folder))
    there = {path.name for path in files(folder, table)}
    changed = {old: new for old, new in instead.items() if old.name in there}
    if not changed:
        return int(table.version())
    now = int(time.time() * 1000)
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(old.name, True, now, old.stat().st_size, {}) for old in changed
    ]
    for new in changed.values():
        if new is not None:
            safe.sync(new)
            actions.append(_added(new, stats[new]))
    safe.sync(folder)
    try:
        about = {"rewritten": str(len(changed)), "added": str(len(actions) - len(changed))}
        properties = CommitProperties(custom_metadata=about, max_commit_retries=0)
        table.create_write_transaction(actions, "append", table.schema(), commit_properties=properties)
    except DeltaError as error:
        raise StoreError(f"{folder}: another process committed meanwhile: {error}") from error
    version = int(table.version()) + 1
    _sync_log(folder, version)
    return version


def _added(path: Path, stats: Mapping[str, Any]) -> AddAction:
    about = path.stat()
    return AddAction(path.name, about.st_size, {}, int(about.st_mtime * 1000), True, json.dumps(stats))
