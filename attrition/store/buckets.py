# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""One bucket of arrived rows: which of them are new, and those rows with their numbers as a file of the table."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attrition import safe
from attrition.params import Portfolio
from attrition.store import hashes
from attrition.store.arrivals import bucketed, by_bucket, files_of, whole
from attrition.store.engine import ALONE, Room, alike, connect, fields, listed, literal, quoted, rows_in
from attrition.store.manifest import Part

__all__ = ["Asked", "Bucket", "Gathering", "New", "Numbering", "gather", "number", "number_days", "settle", "stats"]

MANY = 100_000_000
"""Values that each bucket may read for the few rows it needs; more are read once for all, which has its own cost."""


GROUP, VALUES, VECTOR = 122_880, 2**22, 2048
"""Rows of a row group, as DuckDB has them; values in one, for it is in memory until it is written; rows at least."""


@dataclass(frozen=True)
class New:
    """The new rows of a bucket, how many of each drop: those of the arrived ``files``, as far as their hashes tell.

    ``columns``: SQL for what there is of each row; ``doubtful``: a file of hashes that others have too, here or in the
    store, and one of the new rows that have those, None if there are none; ``days``: how many rows a day and drop.
    ``alike``: some have one hash and yet differ.
    """

    bucket: int
    told: bool
    drops: dict[int, int]
    columns: str
    files: list[Path]
    doubtful: tuple[Path, Path] | None
    days: Path
    alike: bool

    @property
    def rows(self) -> str:
        """SQL for them."""
        arrived = f"SELECT {self.columns} FROM {rows_in(self.files)}"
        if self.doubtful is None:
            return arrived
        hashes, kept = map(rows_in, ([each] for each in self.doubtful))
        sure = f"({arrived}) ANTI JOIN {hashes} USING (_hash)"
        return f"SELECT {self.columns} FROM {sure} UNION ALL SELECT {self.columns} FROM {kept}"


@dataclass(frozen=True)
class Bucket:
    """Arrived rows of one bucket, below ``folders``, to be held against the ``store`` and the rows ``beside`` too.

    ``gathered``: folders with what was asked for (`Asked`) of files that many buckets need; None: nothing was yet.
    """

    portfolio: Portfolio
    number: int
    buckets: int
    folders: list[Path]
    store: list[Path]
    beside: list[New]
    told: bool
    work: Path
    room: Room = ALONE
    gathered: list[Path] | None = None

    def shared(self, parts: list[Path]) -> list[Path]:
        """Those of the store's files with hashes of more than two buckets, if they hold more than each should read."""
        extents = {part: hashes.extent(part) for part in parts}
        wide = [part for part, (_, share) in extents.items() if share * self.buckets > 2]
        rows = sum(extents[part][0] for part in wide)
        return wide if rows * len(fields(self.portfolio)) > MANY else []

    def target(self, what: str) -> Path:
        """Where something of it goes."""
        return self.work / f"{what}-{self.number:04d}-{int(self.told)}.parquet"


@dataclass(frozen=True)
class Asked:
    """A bucket that needs rows of files ``parts`` that many need: those with the hashes in a file of their own."""

    bucket: int
    parts: list[Path]
    hashes: Path


@dataclass(frozen=True)
class Gathering:
    """A file of the store, of which buckets ask for the rows with one of the ``hashes`` (files), by bucket."""

    part: Path
    hashes: list[Path]
    columns: str
    buckets: int
    target: Path
    room: Room = ALONE


@dataclass(frozen=True)
class Numbering:
    """The new rows of a bucket to be numbered: ``days`` says from where on, by day and drop (`number_days`)."""

    portfolio: Portfolio
    new: list[New]
    days: Path
    version: int
    target: Path
    room: Room = ALONE


def settle(task: Bucket) -> New | Asked:
    """Which rows are new: the first of equals, if the store does not have it; or what must be gathered for that.

    The hashes tell which rows may have an equal; of these alone the other columns are read and compared.
    """
    files = files_of(task.folders, task.number)
    columns = f"_drop, {listed(fields(task.portfolio))}, _hash"
    new = New(task.number, task.told, {}, columns, files, None, task.target("days"), alike=False)
    if not files:
        return new
    with connect(task.room, task.target("spilt")) as connection:
        connection.execute(f"CREATE VIEW arrived AS {new.rows}")
        asked = _hashes(connection, "arrived")
        parts, known = hashes.known(task.store, asked)
        shared = task.shared(parts)
        if shared and task.gathered is None:
            return Asked(task.number, shared, _hashes_written(connection, known, task.target("asked")))
        held = [part for part in parts if part not in shared] + files_of(task.gathered or [], task.number)
        doubtful = _doubtful(connection, task, asked, known)
        if len(doubtful):
            kept, alike = _kept(connection, task, held, doubtful)
            hashed = _hashes_written(connection, doubtful, task.target("doubtful"))
            new = replace(new, doubtful=(hashed, kept), alike=alike)
        counted = f"SELECT _drop, {_day(task.portfolio)} AS _day, count(*) AS _rows FROM ({new.rows}) GROUP BY ALL"
        connection.execute(f"CREATE TABLE counted AS {counted}")
        _written(connection, "FROM counted", new.days)
        drops = connection.execute("SELECT _drop, sum(_rows) FROM counted GROUP BY _drop ORDER BY _drop").fetchall()
    return replace(new, drops={drop: int(rows) for drop, rows in drops})


def gather(task: Gathering) -> Path:
    """Write the rows that are asked for of one file of the store, for `files_of`; where they are."""
    wanted = f"SELECT _hash FROM {rows_in(task.hashes)}"
    with whole(task.target) as folder, connect(task.room, folder / "spilt") as connection:
        read = rows_in([task.part])
        rows = f"SELECT {task.columns}, {bucketed(task.buckets)} AS _bucket FROM {read} WHERE _hash IN ({wanted})"
        by_bucket(connection, rows, folder, task.buckets)
    return task.target


def _kept(connection: Any, task: Bucket, held: list[Path], doubtful: hashes.Hashes) -> tuple[Path, bool]:
    """The new rows among those with ``doubtful`` hashes as a file, and whether some have one hash and differ."""
    names = fields(task.portfolio)
    connection.register("doubtful", pd.DataFrame({"_hash": doubtful}))
    # Within bounds, for a file may hold other buckets too.
    asked = f"_hash BETWEEN {int(doubtful.min())} AND {int(doubtful.max())} AND _hash IN (FROM doubtful)"
    # A table, for of all rows that arrived DuckDB would tell first which are known, and then which are asked for.
    connection.execute(f"CREATE TABLE near AS SELECT * FROM arrived WHERE {asked}")
    new = "near"
    for known in (*([rows_in(held)] if held else []), *(f"({each.rows})" for each in task.beside)):
        new = _without(names, new, f"(SELECT {listed(names)}, _hash FROM {known} WHERE {asked})")
    every = f"{listed(names)}, _hash"
    connection.execute(f"CREATE TABLE first AS SELECT min(_drop) AS _drop, {every} FROM {new} GROUP BY {every}")
    (alike,) = connection.execute("SELECT count(DISTINCT _hash) < count(*) FROM first").fetchone()
    return _written(connection, "FROM first", task.target("kept")), alike


def _doubtful(connection: Any, task: Bucket, asked: hashes.Hashes, known: hashes.Hashes) -> hashes.Hashes:
    """Of the hashes ``asked`` of arrived rows those that others have too, here or in the store (``known``)."""
    beside = [hashes.among(asked, _hashes(connection, f"({each.rows})")) for each in task.beside]
    return hashes.merged([asked[1:][asked[1:] == asked[:-1]], known, *beside])


def _hashes_written(connection: Any, found: hashes.Hashes, target: Path) -> Path:
    connection.register("found", pd.DataFrame({"_hash": found}))
    return _written(connection, "FROM found", target)


def _hashes(connection: Any, rows: str) -> hashes.Hashes:
    """The hashes of rows, sorted."""
    found = np.asarray(connection.execute(f"SELECT _hash FROM {rows}").fetchnumpy()["_hash"], dtype=np.int64)
    found.sort()
    return found


def _without(names: dict[str, str], rows: str, known: str) -> str:
    """SQL for ``rows`` without those that are ``known``."""
    return f"(FROM {rows} AS one ANTI JOIN {known} AS other ON {alike('one', 'other', ('_hash', *names))})"


def _written(connection: Any, rows: str, target: Path, form: str = "") -> Path:
    """Rows as a file of Parquet that appears whole."""
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        connection.execute(f"COPY ({rows}) TO {literal(beside)} (FORMAT parquet{form})")
        return beside.rename(target)
    finally:
        beside.unlink(missing_ok=True)


def number_days(new: list[New], last: int, target: Path) -> None:
    """Write how far each row of ``new`` must be moved on from its place in its bucket: by bucket, day and drop.

    Numbers go on from ``last`` in order of the as-of date (unknown first), of a day those that an outcome made
    last, then of the drop, so that what came later is newer, then of the hash; and since a bucket holds the hashes
    between two bounds, no sort of all rows is needed.
    """
    with connect(ALONE, target.with_suffix(".spilt")) as connection:
        connection.execute("CREATE TABLE days (_bucket BIGINT, _told BOOLEAN, _day DATE, _drop BIGINT, _rows BIGINT)")
        for each in new:
            days = f"SELECT {each.bucket}, {each.told}, _day, _drop, _rows FROM {rows_in([each.days])}"
            connection.execute(f"INSERT INTO days {days}")
        # From the place in its bucket (less what stands before it there) to the place among all.
        before = "sum(_rows) OVER (ORDER BY _day NULLS FIRST, _told, _drop, _bucket)"
        own = "OVER (PARTITION BY _bucket ORDER BY _day NULLS FIRST, _told, _drop)"
        shift = f"CAST({last} + {before} - sum(_rows) {own} AS BIGINT) AS _shift"
        turn = f"CAST(row_number() {own} AS INTEGER) AS _turn"
        _written(connection, f"SELECT _bucket, _told, _day, _drop, {shift}, {turn} FROM days", target)


def number(task: Numbering) -> Part:
    """Write the new rows of one bucket as a file of the table, in order of ``_row``."""
    columns = fields(task.portfolio)
    names, group = listed(columns), max(VECTOR, min(GROUP, VALUES // len(columns)))
    rows = " UNION ALL ".join(_with_shift(task, each) for each in task.new)
    # No more than tells rows apart: each column and key that is sorted costs as much as a tenth of the sort.
    order = f"_turn, _hash{f', {names}' if any(each.alike for each in task.new) else ''}"
    with connect(task.room, task.target.with_name(f".{task.target.name}.{uuid.uuid4().hex}.spilt")) as connection:
        # Numbered as they come out of the sort: a window with an order of its own would hold all rows at once.
        numbered = (
            f"SELECT {names}, CAST(_shift + row_number() OVER () AS BIGINT) AS _row, "
            f"CAST({task.version} AS BIGINT) AS _version, _hash FROM (FROM ({rows}) ORDER BY {order})"
        )
        # A dictionary is for columns of few values; of the others it is only known late that it was made for nothing.
        form = f", COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 1000, ROW_GROUP_SIZE {group}"
        _written(connection, numbered, task.target, form)
        count, found = stats(connection, task.portfolio, task.target)
    return Part(task.target.name, task.target.stat().st_size, safe.sha256(task.target), count, found)


def _with_shift(task: Numbering, new: New) -> str:
    days = f"SELECT * FROM {rows_in([task.days])} WHERE _bucket = {new.bucket} AND _told = {new.told}"
    columns = f"{listed(fields(task.portfolio))}, _hash, _shift, _turn"
    same = f"days._drop = rows._drop AND _day IS NOT DISTINCT FROM {_day(task.portfolio)}"
    return f"SELECT {columns} FROM ({new.rows}) AS rows JOIN ({days}) AS days ON {same}"


def stats(connection: Any, portfolio: Portfolio, path: Path) -> tuple[int, dict[str, Any]]:
    """Rows of a file, and what Delta keeps of them: the bounds of what queries choose by, and outcomes not known."""
    names = ["_row", "_version", "_hash", *([portfolio.as_of] if portfolio.as_of else [])]
    target = portfolio.target.column
    asked = [f"{bound}({quoted(name)})" for bound in ("min", "max") for name in names]
    table = rows_in([path])
    query = f"SELECT count(*), count({quoted(target)}), {', '.join(asked)} FROM {table}"
    rows, known, *bounds = connection.execute(query).fetchone()
    plain = [bound if isinstance(bound, int) else str(bound) for bound in bounds]
    low, high = dict(zip(names, plain, strict=False)), dict(zip(names, plain[len(names) :], strict=True))
    empty = dict.fromkeys(names, 0) | {target: rows - known}
    return rows, {"numRecords": rows, "minValues": low, "maxValues": high, "nullCount": empty}


def _day(portfolio: Portfolio) -> str:
    return quoted(portfolio.as_of) if portfolio.as_of else "CAST(NULL AS DATE)"
