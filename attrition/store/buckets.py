# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""One bucket of arrived rows: what of it is new, and those rows with their numbers as a file of the table."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attrition import safe
from attrition.params import Portfolio
from attrition.store import hashes
from attrition.store.arrivals import MEMORY, rows_of
from attrition.store.engine import connect, fields, listed, literal, quoted
from attrition.store.manifest import Part

__all__ = ["Bucket", "New", "Numbering", "number", "number_days", "settle", "stats"]


@dataclass(frozen=True)
class Bucket:
    """Arrived rows of one bucket, below ``folders``, to be held against the ``store`` and the files ``beside`` too."""

    portfolio: Portfolio
    number: int
    folders: list[Path]
    store: list[Path]
    beside: list[Path]
    told: bool
    work: Path

    @property
    def target(self) -> Path:
        """Where its new rows go, in the order in which they are numbered; their days lie beside."""
        return self.work / f"new-{self.number:04d}-{int(self.told)}.parquet"


@dataclass(frozen=True)
class New:
    """The new rows of a bucket: how many of each drop, and their file (None: there are none)."""

    bucket: int
    told: bool
    drops: dict[int, int]
    path: Path | None


@dataclass(frozen=True)
class Numbering:
    """The new rows of a bucket to be numbered: ``days`` says from where on, day by day (`number_days`)."""

    portfolio: Portfolio
    new: list[New]
    days: Path
    version: int
    target: Path


def settle(task: Bucket) -> New:
    """The first of each row, if the store does not have it: sorted by as-of date, then hash."""
    names = fields(task.portfolio)
    rows = rows_of(task.folders, task.number)
    if rows is None:
        return New(task.number, task.told, {}, None)
    spilt = task.target.with_suffix(".spilt")
    with connect(MEMORY, spilt) as connection:
        connection.execute(
            f"CREATE TABLE new AS SELECT min(_drop) AS _drop, {listed(names)}, _hash FROM {rows} "
            f"GROUP BY {listed(names)}, _hash"
        )
        _drop_known(connection, task)
        found = connection.execute("SELECT _drop, count(*) FROM new GROUP BY _drop ORDER BY _drop").fetchall()
        if not found:
            return New(task.number, task.told, {}, None)
        order = ", ".join([*(f"{quoted(name)} NULLS FIRST" for name in _day(task.portfolio)), "_hash", listed(names)])
        beside = task.target.with_name(f".{task.target.name}.{uuid.uuid4().hex}")
        connection.execute(
            f"COPY (SELECT _drop, {listed(names)}, _hash FROM new ORDER BY {order}) TO {literal(beside)} "
            "(FORMAT parquet, COMPRESSION snappy)"
        )
        beside.rename(task.target)
    return New(task.number, task.told, dict(found), task.target)


def _drop_known(connection: Any, task: Bucket) -> None:
    """Leave in ``new`` what neither the store has nor the files beside."""
    names = fields(task.portfolio)
    asked = connection.execute("SELECT _hash FROM new").fetchnumpy()["_hash"]
    parts, hits = hashes.known(task.store, np.asarray(asked, dtype=np.int64))
    if parts:
        connection.register("hits", pd.DataFrame({"_hash": np.unique(asked[hits])}))
        bounds = int(asked[hits].min()), int(asked[hits].max())  # most files hold one bucket: others are not read
        _forget(connection, names, parts, f"_hash BETWEEN {bounds[0]} AND {bounds[1]} AND _hash IN (FROM hits)")
    if task.beside:
        _forget(connection, names, task.beside, "_hash IN (SELECT _hash FROM new)")


def _forget(connection: Any, names: dict[str, str], parts: list[Path], where: str) -> None:
    listing = ", ".join(map(literal, parts))
    connection.execute(
        f"CREATE OR REPLACE TABLE known AS SELECT DISTINCT {listed(names)}, _hash "
        f"FROM read_parquet([{listing}], hive_partitioning = false) WHERE {where}"
    )
    same = " AND ".join(f"new.{quoted(name)} IS NOT DISTINCT FROM known.{quoted(name)}" for name in ("_hash", *names))
    connection.execute(f"DELETE FROM new WHERE EXISTS (SELECT 1 FROM known WHERE {same})")
    connection.execute("DROP TABLE known")


def number_days(portfolio: Portfolio, new: list[New], last: int, target: Path) -> None:
    """Write how far each row of ``new`` must be moved on from its place in its file: by day, ``told`` and bucket.

    Numbers go on from ``last`` in order of the as-of date (unknown first), of a day those that an outcome made
    last, then of the hash; and since a bucket holds the hashes between two bounds, no sort of all rows is needed.
    """
    day = quoted(portfolio.as_of) if portfolio.as_of else "CAST(NULL AS DATE)"
    with connect(MEMORY, target.with_suffix(".spilt")) as connection:
        connection.execute("CREATE TABLE days (_bucket BIGINT, _told BOOLEAN, _day DATE, _rows BIGINT)")
        for each in new:
            connection.execute(
                f"INSERT INTO days SELECT {each.bucket}, {each.told}, {day}, count(*) "
                f"FROM read_parquet({literal(each.path or '')}) GROUP BY ALL"
            )
        # From the place in its file (less the days before it there) to the place among all.
        before = "sum(_rows) OVER (ORDER BY _day NULLS FIRST, _told, _bucket)"
        here = "sum(_rows) OVER (PARTITION BY _bucket, _told ORDER BY _day NULLS FIRST)"
        connection.execute(
            f"COPY (SELECT _bucket, _told, _day, CAST({last} + {before} - {here} AS BIGINT) AS _shift FROM days) "
            f"TO {literal(target)} (FORMAT parquet)"
        )


def number(task: Numbering) -> Part:
    """Write the new rows of one bucket as a file of the table, in order of ``_row``."""
    rows = " UNION ALL ".join(_with_numbers(task, each) for each in task.new)
    order = "ORDER BY _row" if len(task.new) > 1 else ""  # each by itself is in order
    beside = task.target.with_name(f".{task.target.name}.{uuid.uuid4().hex}")
    with connect(MEMORY, beside.with_suffix(".spilt")) as connection:
        connection.execute(
            "SET threads = 1"
        )  # of two, one may overtake the other by a row group, and the order is lost
        connection.execute(
            f"COPY (SELECT * FROM ({rows}) {order}) TO {literal(beside)} (FORMAT parquet, COMPRESSION zstd)"
        )
        beside.rename(task.target)
        count, found = stats(connection, task.portfolio, task.target)
    return Part(task.target.name, task.target.stat().st_size, safe.sha256(task.target), count, found)


def _with_numbers(task: Numbering, new: New) -> str:
    day = quoted(task.portfolio.as_of) if task.portfolio.as_of else "CAST(NULL AS DATE)"
    mine = f"_bucket = {new.bucket} AND _told = {new.told}"
    days = f"SELECT _day, _shift FROM read_parquet({literal(task.days)}) WHERE {mine}"
    return (
        f"SELECT {listed(fields(task.portfolio))}, CAST(_shift + file_row_number + 1 AS BIGINT) AS _row, "
        f"CAST({task.version} AS BIGINT) AS _version, _hash "
        f"FROM read_parquet({literal(new.path or '')}, file_row_number = true) "
        f"JOIN ({days}) ON _day IS NOT DISTINCT FROM {day}"
    )


def stats(connection: Any, portfolio: Portfolio, path: Path) -> tuple[int, dict[str, Any]]:
    """Rows of a file, and what Delta keeps of them: the bounds of what queries choose by, and outcomes not known."""
    names = ["_row", "_version", "_hash", *_day(portfolio)]
    target = portfolio.target.column
    asked = [f"{bound}({quoted(name)})" for bound in ("min", "max") for name in names]
    table = f"read_parquet({literal(path)}, hive_partitioning = false)"
    query = f"SELECT count(*), count({quoted(target)}), {', '.join(asked)} FROM {table}"
    rows, known, *bounds = connection.execute(query).fetchone()
    plain = [bound if isinstance(bound, int) else str(bound) for bound in bounds]
    low, high = dict(zip(names, plain, strict=False)), dict(zip(names, plain[len(names) :], strict=True))
    empty = dict.fromkeys(names, 0) | {target: rows - known}
    return rows, {"numRecords": rows, "minValues": low, "maxValues": high, "nullCount": empty}


def _day(portfolio: Portfolio) -> list[str]:
    return [portfolio.as_of] if portfolio.as_of else []
