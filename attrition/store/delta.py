"""A Delta table that many crashes may not spoil: opened, checked against its columns, and committed to once.

deltalake refuses a repeated application transaction only on a stale handle, so the number is
compared first, on a fresh one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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

__all__ = ["Staged", "commit", "copy", "files", "open_table", "replace", "transactions"]

_TYPES = {
    "BIGINT": "long",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR": "string",
    "DATE": "date",
    "TINYINT": "byte",
}
# A model names the version it was trained on: no version may ever be cleaned away.
_KEEP = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


@dataclass(frozen=True)
class Staged:
    """A Parquet file to add: where it was staged, its name in the table, and the SHA-256 it must have, if known."""

    source: Path
    name: str
    sha256: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)


def open_table(folder: Path, columns: Mapping[str, str]) -> DeltaTable | None:
    """The table in ``folder`` at its newest version; None if there is none yet.

    Raises:
        StoreError: its columns are not ``columns`` (SQL types by name), or its log cannot be read.
    """
    if not (folder / "_delta_log").is_dir():
        return None
    try:
        if not DeltaTable.is_deltatable(str(folder)):
            return None
        table = DeltaTable(str(folder))
    except (DeltaError, OSError) as error:
        raise StoreError(f"{folder}: its Delta log cannot be read: {error}") from error
    _fit(folder, table, columns)
    return table


def files(folder: Path, table: DeltaTable | None) -> list[Path]:
    """The Parquet files of a table, in order of their names."""
    return sorted(folder / unquote(Path(uri).name) for uri in table.file_uris()) if table else []


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
        _commit_new(folder, table, staged, _properties(app, number, run), version)
        table = DeltaTable(str(folder))
    for part in staged:
        _verify(folder / part.name, part)
    _sync_log(folder, table.version())
    return table.version()


def _properties(app: str, number: int, run: str) -> CommitProperties:
    return CommitProperties(
        custom_metadata={"run": run}, max_commit_retries=0, app_transactions=[Transaction(app, number)]
    )


def _commit_new(
    folder: Path, table: DeltaTable, staged: Sequence[Staged], properties: CommitProperties, version: int | None
) -> None:
    if version is not None and table.version() + 1 != version:
        raise StoreError(f"{folder} is at version {table.version()}, so the next is not {version}: ingest anew")
    actions: list[AddAction | RemoveAction] = []
    for part in staged:
        target = folder / part.name
        if part.source.exists():  # gone: renamed by the call that this one repeats
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
    table = DeltaTable.create(str(folder), schema, configuration=_KEEP)
    _sync_log(folder, 0)
    safe.sync(folder)
    return table


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


def _verify(target: Path, part: Staged) -> None:
    if not target.exists():
        raise StoreError(f"{part.source} is gone and {target} not there: ingest anew")
    if part.sha256 is not None and safe.sha256(target) != part.sha256:
        raise StoreError(f"{target} is not the file that was staged (SHA-256 differs): another run wrote it")


def _sync_log(folder: Path, version: int) -> None:
    log = folder / "_delta_log"
    safe.sync(log / f"{version:020d}.json")
    safe.sync(log)


def transactions(folder: Path, app: str) -> dict[int, int]:
    """Version by number of the application's transactions, as the log has them; none where there is no table."""
    found = {}
    for path in sorted((folder / "_delta_log").glob("[0-9]*.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            txn = json.loads(line).get("txn")
            if txn and txn["appId"] == app:
                found[int(txn["version"])] = int(path.stem)
    return found


def copy(folder: Path, target: Path, version: int, place: Callable[[Path, Path], None]) -> None:
    """Copy a table as it was at a version: its log up to there, and the files that it had then.

    Args:
        folder: the table's; what is committed meanwhile is not seen.
        target: made.
        version: the newest that the copy knows.
        place: copies one file.

    Raises:
        StoreError: a file of that version is gone: a client was forgotten since.
    """
    log = safe.make_folder(target / "_delta_log")
    for path in sorted((folder / "_delta_log").glob("[0-9]*")):
        if int(path.name.partition(".")[0]) <= version:
            place(path, log / path.name)
    for path in files(folder, DeltaTable(str(folder), version=version)):
        if not path.exists():
            raise StoreError(f"{path} is gone, which version {version} had: a client was forgotten since")
        place(path, target / path.name)


def replace(folder: Path, instead: Mapping[Path, Path | None], stats: Mapping[Path, Mapping[str, Any]]) -> int:
    """Commit one version in which files of the table are replaced, and remove them for good.

    Args:
        folder: the table's.
        instead: file of the table: what takes its place, in the table's folder; None for nothing.
        stats: of each new file, as Delta has them.

    Returns:
        The table's version.

    Raises:
        StoreError: another process committed meanwhile.
    """
    table = DeltaTable(str(folder))
    actions: list[AddAction | RemoveAction] = []
    there = {path.name for path in files(folder, table)}
    for old, new in instead.items():
        if old.name not in there:
            continue
        now = int(old.stat().st_mtime * 1000)
        actions.append(RemoveAction(path=old.name, data_change=True, deletion_timestamp=now, size=old.stat().st_size))
        if new is not None:
            safe.sync(new)
            size = new.stat().st_size
            actions.append(AddAction(new.name, size, {}, now, True, json.dumps(stats[new])))
    if actions:
        try:
            properties = CommitProperties(max_commit_retries=0)
            table.create_write_transaction(actions, "append", table.schema(), commit_properties=properties)
        except DeltaError as error:
            raise StoreError(f"{folder}: another process committed meanwhile: {error}") from error
        table = DeltaTable(str(folder))
        _sync_log(folder, table.version())
    return table.version()
