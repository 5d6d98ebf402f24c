# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""One drop, from its bytes to checked rows in buckets by their hash, so that equal rows of all drops meet in one."""

from __future__ import annotations

import errno
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any

import duckdb

from attrition import safe
from attrition.params import Portfolio
from attrition.store import canonical, fast, repeats
from attrition.store.aside import rejected
from attrition.store.check import (
    BAD,
    Checked,
    Opened,
    accounted,
    bad_rows,
    check,
    opened,
    reasons,
    refuse,
    sorted_out,
    tell_faults,
)
from attrition.store.engine import ALONE, WIDE, Room, connect, fields, listed, literal, quoted, rows_in, setting
from attrition.store.lines import lines_of
from attrition.store.manifest import Drop
from attrition.store.raw import Refused, unpacked
from attrition.store.reading import UNREADABLE
from attrition.store.verbatim import texts

__all__ = [
    "Arrival",
    "Taken",
    "bucketed",
    "by_bucket",
    "files_of",
    "into_buckets",
    "quarantine",
    "rows_of",
    "take",
    "whole",
]

MANY = 50_000
"""Rows of one drop with faults, from which on the exact reader is as quick."""

BUFFERED = 2**18
"""Rows in memory, sorted by bucket, until they are written: with fewer a bucket's pieces are many and small."""

TOLD = {"told": "good", "told_bad": "bad"}
"""Folders for drops of outcomes alone, and the table that goes into each."""
ASIDE = -1
"""The bucket of rows with faults."""


@dataclass(frozen=True)
class Arrival:
    """A drop to take: the ``number``-th of an ingest into ``buckets`` (a power of two), all below ``staging``."""

    portfolio: Portfolio
    number: int
    path: Path
    staging: Path
    buckets: int
    room: Room = ALONE

    @property
    def work(self) -> Path:
        """Where its rows go."""
        return self.staging / "work"


@dataclass(frozen=True)
class Taken:
    """What became of it: its account, duplicates not told apart yet, and whether it brought outcomes alone."""

    drop: Drop
    told: bool


def take(task: Arrival) -> Taken:
    """Check one drop: good rows go into buckets (`rows_of`), the others into ``quarantine/``.

    Of outcomes alone the rows go to ``told/`` and what cannot be taken to ``told_bad/``, a file a drop.

    Raises:
        FileNotFoundError: the drop is gone.
        PermissionError: it could be read at one moment and not at another: the next tick takes it in.
    """
    # Before it is read: if it changes meanwhile, the hash is not that of the new content, which is thus not moved away.
    sha256, size = _identity(task.path)
    with whole(task.work / f"arrived-{task.number:06d}") as folder:
        for way, room in ((_quickly, task.room), (_exactly, task.room), (_exactly, WIDE), (_not_at_all, task.room)):
            # Each has its own database: some damage makes DuckDB give up one.
            with suppress(duckdb.OutOfMemoryException), connect(room, folder / "spilt") as connection:
                checked = way(connection, task, folder)
                if checked:
                    return _account(connection, task, checked, sha256, size)
            _nothing(task, folder)
    raise MemoryError(f"{task.path}: there is too little memory even to set it aside")


def _exactly(connection: Any, task: Arrival, folder: Path) -> Checked:
    """Make ``good`` and ``bad`` by `check`; the rows go into buckets, or those of outcomes alone into ``told/``."""
    checked = check(connection, task.portfolio, task.path)
    if checked.outcomes:
        for table, rows in TOLD.items():
            target = safe.make_folder(task.work / table) / f"{task.number:06d}.parquet"
            connection.execute(
                f"COPY (SELECT CAST({task.number} AS BIGINT) AS _drop, * FROM {rows}) "
                f"TO {literal(target)} (FORMAT parquet)"
            )
    else:
        into_buckets(
            connection,
            task.portfolio,
            f"SELECT CAST({task.number} AS BIGINT) AS _drop, * FROM good",
            folder,
            task.buckets,
        )
    return checked


def _not_at_all(connection: Any, task: Arrival, _folder: Path) -> Checked:
    return refuse(connection, task.portfolio, task.path, f"its rows take more memory than {WIDE.memory}: split it")


def _account(connection: Any, task: Arrival, checked: Checked, sha256: str | None, size: int) -> Taken:
    if _sometimes_readable(task.path, sha256, checked.refused):
        raise PermissionError(errno.EACCES, "it could not be read for a moment", str(task.path))
    (bad,) = connection.execute("SELECT count(*) FROM bad").fetchone()
    drop = Drop(
        name=task.path.name,
        sha256=sha256,
        size=size,
        rows_in=checked.rows,
        ingested=0 if checked.refused else checked.rows - bad,
        duplicates=0,
        quarantined=checked.rows if checked.refused else bad,
        reasons=_reasons(connection, task, checked),
        notes=list(checked.notes),
        to="quarantine" if checked.refused else "taken",
    )
    return Taken(drop, checked.outcomes)


def _reasons(connection: Any, task: Arrival, checked: Checked) -> dict[str, int]:
    """How often each fault occurs; the rows that have one are in quarantine then."""
    if checked.refused:
        return {checked.refused: checked.rows}
    return quarantine(connection, task.portfolio, task.path, task.staging)


def _sometimes_readable(path: Path, sha256: str | None, refused: str | None) -> bool:
    """Whether a drop could be read at one moment and not at another.

    It would be set aside though nothing is wrong with it; or without its hash stay in its place, and come again.
    """
    if sha256 is None:
        return not refused or _identity(path)[0] is not None
    return refused == UNREADABLE


def _identity(path: Path) -> tuple[str | None, int]:
    if not safe.is_regular(path):
        path.lstat()  # gone is no empty drop
        return None, 0
    try:
        return safe.sha256(path), path.stat().st_size
    except PermissionError:
        return None, path.stat().st_size


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name when all is written; of two that write it, the first is kept."""
    beside = safe.make_folder(folder.with_name(f".{folder.name}-{uuid.uuid4().hex}"))
    try:
        yield beside
        shutil.rmtree(beside / "spilt", ignore_errors=True)
        if not safe.exists(folder):
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _quickly(connection: Any, task: Arrival, folder: Path) -> Checked | None:
    """Make ``good``, a view of what is in the buckets, and ``bad``, as `check` does; None: only that can."""
    with suppress(Refused, *fast.ODD):
        drop = opened(task.portfolio, task.path)
        if drop.outcomes or drop.misfit or drop.made:  # DuckDB does not tell a row's line
            return None
        found = fast.source(task.path, drop, task.portfolio.delimiter)
        if found is None:
            return None
        into_buckets(connection, task.portfolio, _rows(task, drop, found), folder, task.buckets, faulty=True)
        checked = _tables(connection, task, drop, found, folder)
        if checked.rows == found.records and _with_lines(connection, task):
            return checked
    return None


def _tables(connection: Any, task: Arrival, drop: Opened, found: fast.Source, folder: Path) -> Checked:
    """Make ``good`` and ``bad`` of what is in the buckets; the rows of a CSV in ``bad`` have no lines yet."""
    connection.execute(f"CREATE TABLE bad ({BAD})")
    if faulty := rows_of([folder], ASIDE):
        places = ", ".join(f"_said[{place + 2}] AS c{place}" for place in range(len(drop.header)))
        said = f"(SELECT from_json({quoted(_carrier(task.portfolio))}, '[\"VARCHAR\"]') AS _said FROM {faulty})"
        line = "CAST(_said[1] AS BIGINT) AS line"
        connection.execute(f"CREATE TABLE raw AS SELECT {line}, {places} FROM {said}")
        tell_faults(connection, drop, replace(found.texts, nulls=False))
    files = [file for bucket in range(task.buckets) for file in files_of([folder], bucket)]
    if files:
        connection.execute(f"CREATE VIEW good AS SELECT {listed(fields(task.portfolio))} FROM {rows_in(files)}")
    else:
        kinds = ", ".join(f"{quoted(name)} {kind}" for name, kind in fields(task.portfolio).items())
        connection.execute(f"CREATE TABLE good ({kinds})")
    return accounted(connection, drop)


def _nothing(task: Arrival, folder: Path) -> None:
    """Undo what one way has written, before another begins."""
    for bucket in safe.entries(folder, "_bucket=*"):
        shutil.rmtree(bucket)
    for table in TOLD:
        (task.work / table / f"{task.number:06d}.parquet").unlink(missing_ok=True)


def _rows(task: Arrival, drop: Opened, found: fast.Source) -> str:
    # Rows with faults belong to no drop, so that none is taken for the equal of a good one (`repeats`).
    number = f"CASE WHEN _bad THEN NULL ELSE CAST({task.number} AS BIGINT) END"
    return f"SELECT {number} AS _drop, * FROM ({sorted_out(drop, found.rows, found.texts)})"


def _with_lines(connection: Any, task: Arrival) -> bool:
    """Give the rows of ``bad`` from a CSV their lines, found by their fields; False if there are too many."""
    (missing,) = connection.execute("SELECT count(*) FROM bad WHERE line IS NULL").fetchone()
    if missing > MANY:
        return False
    if missing:
        connection.execute(
            "CREATE TABLE kinds AS SELECT row_number() OVER () AS kind, raw, any_value(faults) AS faults "
            "FROM bad GROUP BY raw"
        )
        wanted = connection.execute("SELECT kind, raw FROM kinds").fetchall()
        with unpacked(task.path) as file:
            places = list(lines_of(file, task.portfolio.delimiter, wanted))
        connection.execute("CREATE TABLE places (line BIGINT, kind BIGINT)")
        columns = [line for line, _ in places], [kind for _, kind in places]
        connection.execute("INSERT INTO places SELECT unnest($1::BIGINT[]), unnest($2::BIGINT[])", list(columns))
        connection.execute(
            "CREATE OR REPLACE TABLE bad AS SELECT line, faults, raw FROM places JOIN kinds USING (kind)"
        )
        return bool(connection.execute("SELECT count(*) FROM bad").fetchone() == (missing,))
    return True


def into_buckets(
    connection: Any, portfolio: Portfolio, rows: str, folder: Path, buckets: int, *, faulty: bool = False
) -> None:
    """Write the rows that the SQL ``rows`` selects (_drop, columns, target) by bucket.

    ``faulty``: rows with faults are among them, as ``_bad`` says, and go into one of their own (`ASIDE`), with their
    line and fields as a list in JSON in their `_carrier`.
    """
    kept = {name: quoted(name) for name in ("_drop", *fields(portfolio), "_hash")}
    hashed = f"SELECT *, {canonical.hashed(portfolio)} AS _hash FROM ({repeats.numbered(portfolio, rows)})"
    bucket = bucketed(buckets)
    if faulty:
        said = "CAST(to_json(list_prepend(CAST(_line AS VARCHAR), _raw)) AS VARCHAR)"
        carrier = _carrier(portfolio)
        kept[carrier] = f"CASE WHEN _bad THEN {said} ELSE {kept.get(carrier, 'NULL')} END"
        bucket = f"CASE WHEN _bad THEN {ASIDE} ELSE {bucket} END"
    columns = ", ".join(f"{value} AS {quoted(name)}" for name, value in kept.items())
    by_bucket(connection, f"SELECT {columns}, {bucket} AS _bucket FROM ({hashed})", folder, buckets)


def _carrier(portfolio: Portfolio) -> str:
    """The column in which a row with faults carries what it said: a text, of which it has no use itself.

    One more, empty in nearly all rows, takes a twentieth of an ingest; there is one only where no column is a text.
    """
    return next((name for name, kind in fields(portfolio).items() if kind == "VARCHAR"), "_aside")


def by_bucket(connection: Any, rows: str, folder: Path, buckets: int) -> None:
    """Write the rows that the SQL ``rows`` selects by their ``_bucket``, for `files_of`."""
    write = (
        f"COPY ({rows}) TO {literal(folder)} (FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1, "
        "PARTITION_BY (_bucket), OVERWRITE_OR_IGNORE)"
    )
    with setting(connection, preserve_insertion_order=False, partitioned_write_flush_threshold=BUFFERED // buckets):
        connection.execute(write)


def bucketed(buckets: int) -> str:
    """SQL for the bucket of a row: the leading bits of its hash, so that a bucket's hashes lie between two bounds."""
    bits = buckets.bit_length() - 1
    return f"CAST(_hash >> {63 - bits} AS INTEGER)" if bits else "0"


def files_of(folders: list[Path], bucket: int) -> list[Path]:
    """The files of one bucket that `by_bucket` wrote into ``folders``."""
    return sorted(file for folder in folders for file in safe.entries(folder / f"_bucket={bucket}", "*.parquet"))


def rows_of(folders: list[Path], bucket: int) -> str | None:
    """SQL to read one bucket of what `by_bucket` wrote into ``folders``; None if it is empty."""
    files = files_of(folders, bucket)
    return rows_in(files) if files else None


def quarantine(connection: Any, portfolio: Portfolio, path: Path, folder: Path) -> dict[str, int]:
    """Write the rows that cannot be taken, one JSON a line, below ``folder``/quarantine, and count their faults.

    Of each there is where it stands, why it cannot be taken, its text (`texts`), and the fields read from that.
    """
    counts = reasons(connection)
    if counts:
        target = safe.make_folder(folder / "quarantine") / rejected(path.name)
        beside = target.with_name(f".{uuid.uuid4().hex}")
        try:
            with beside.open("w", encoding="utf-8", errors="backslashreplace") as file:
                rows, again = tee(bad_rows(connection))
                words = texts(path, portfolio.delimiter, ((row.line, row.raw) for row in again))
                for row, text in zip(rows, words, strict=True):
                    about = {"file": path.name, "line": row.line, "reason": row.reason}
                    line = {**about, "raw": text, "fields": row.raw}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
            beside.rename(target)
        finally:
            beside.unlink(missing_ok=True)
    return counts
