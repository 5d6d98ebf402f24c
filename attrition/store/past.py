# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Both tables as they were: rows up to a version, predictions of the runs up to one, in a folder of their own.

A row says with which version it came, and a prediction of which run it is; neither changes. So the past is read from
the tables as they are, whatever was compacted or cleaned away since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from attrition.store import delta
from attrition.store.engine import connect, literal, quoted, rows_in

__all__ = ["clients", "last", "moment", "predictions"]

Put = Callable[[Path, Path], object]
RUN = "CAST(split_part(run, '-', 2) AS BIGINT)"
"""The number of the run that made a prediction."""


def moment(folder: Path) -> tuple[int, int]:
    """The newest version of a table and how many ingests have added rows to it, at one moment; 0, 0 where is none."""
    if not delta.is_table(folder):
        return 0, 0
    table = DeltaTable(str(folder))
    return int(table.version()), int(table.transaction_version("ingest") or 0)


def last(folder: Path, app: str) -> int:
    """The last number of an application's transactions that a table knows; 0 where there is none."""
    return int(DeltaTable(str(folder)).transaction_version(app) or 0) if delta.is_table(folder) else 0


def clients(folder: Path, target: Path, *, to_version: int, ingests: int, at: int, put: Put) -> None:
    """The rows up to a version; no table where there was none.

    Args:
        folder: of the table as it is.
        target: of the one to make.
        to_version: the newest version whose rows are wanted.
        ingests: how many ingests had added rows by then.
        at: the version that the table is to have; the next ingest makes the one after it.
        put: lays a file that is wanted whole into its place: by a link, or a copy.
    """
    if ingests and delta.is_table(folder):
        files = _lay(folder, target, f"_version <= {int(to_version)}", put)
        delta.laid(target, DeltaTable(str(folder)).schema(), files, max(at, 1), "ingest", ingests)


def predictions(folder: Path, target: Path, *, to_run: int, put: Put) -> None:
    """The predictions of the runs up to number ``to_run``; no table where none of them made any."""
    at, _ = moment(folder)
    if delta.is_table(folder) and (files := _lay(folder, target, f"{RUN} <= {int(to_run)}", put)):
        delta.laid(target, DeltaTable(str(folder)).schema(), files, at, "scores", to_run)


def _lay(folder: Path, target: Path, wanted: str, put: Put) -> dict[str, dict[str, Any]]:
    """Lay the wanted rows of a table into ``target``, a file without others as it is; what Delta keeps of each."""
    target.mkdir(parents=True)
    laid = {}
    with connect() as db:
        for number, part in enumerate(delta.parts(folder, DeltaTable(str(folder)))):
            to = target / f"kept-{number:06d}.parquet"  # a name that no ingest and no compaction will give
            rows = f"FROM {rows_in([part.path])}"
            counts = f"SELECT count(*) FILTER ({wanted}), count(*) FILTER (NOT ({wanted})) {rows}"
            some, others = db.execute(counts).fetchone()
            if some and others:
                db.execute(f"COPY (SELECT * {rows} WHERE {wanted}) TO {literal(to)} (FORMAT parquet, COMPRESSION zstd)")
            elif some:
                put(part.path, to)
            if some:
                laid[to.name] = _stats(db, to, part.bounds)
    return laid


def _stats(db: Any, path: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    """What Delta keeps of a file: rows, and of the columns of ``like`` the bounds and how many are missing."""
    asked = {"min": "minValues", "max": "maxValues", "null_count": "nullCount"}
    found: dict[str, Any] = {key: {} for key in asked.values()}
    for bound, key in asked.items():
        for name in (each.partition(".")[2] for each in like if each.startswith(f"{bound}.")):
            column = quoted(name)
            said = f"count(*) - count({column})" if bound == "null_count" else f"{bound}({column})"
            (value,) = db.execute(f"SELECT {said} FROM {rows_in([path])}").fetchone()
            found[key][name] = value if isinstance(value, int) else str(value)
    (rows,) = db.execute(f"SELECT count(*) FROM {rows_in([path])}").fetchone()
    return {"numRecords": rows, **found}
