"""Both tables as they were: rows up to a version, predictions of the runs up to one, in a folder of their own.

A row says with which version it came, and a prediction of which run it is; neither changes. So the past is read from
the tables as they are, whatever was compacted or cleaned away since.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deltalake import DeltaTable

from attrition.store import delta
from attrition.store.engine import connect, literal

__all__ = ["clients", "ingests", "predictions", "version"]

Put = Callable[[Path, Path], object]
RUN = "CAST(split_part(run, '-', 2) AS BIGINT)"
"""The number of the run that made a prediction."""


def version(folder: Path) -> int:
    """The newest version of a table; 0 where there is none."""
    return int(DeltaTable(str(folder)).version()) if _there(folder) else 0


def ingests(folder: Path) -> int:
    """How many ingests have added rows to the client table."""
    return int(DeltaTable(str(folder)).transaction_version("ingest") or 0) if _there(folder) else 0


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
    if ingests and _there(folder):
        _lay(folder, target, f"_version <= {int(to_version)}", put)
        delta.laid(target, DeltaTable(str(folder)).schema(), max(at, 1), "ingest", ingests)


def predictions(folder: Path, target: Path, *, to_run: int, put: Put) -> None:
    """The predictions of the runs up to number ``to_run``; no table where none of them made any."""
    if _there(folder) and _lay(folder, target, f"{RUN} <= {int(to_run)}", put):
        delta.laid(target, DeltaTable(str(folder)).schema(), version(folder), "scores", to_run)


def _there(folder: Path) -> bool:
    return (folder / "_delta_log").is_dir() and bool(DeltaTable.is_deltatable(str(folder)))


def _lay(folder: Path, target: Path, wanted: str, put: Put) -> int:
    """Lay the wanted rows of a table into ``target``, a file without others as it is; how many files."""
    target.mkdir(parents=True)
    laid = 0
    with connect() as db:
        for path in delta.files(folder, DeltaTable(str(folder))):
            rows = f"FROM read_parquet({literal(path)}, hive_partitioning = false)"
            counts = f"SELECT count(*) FILTER ({wanted}), count(*) FILTER (NOT ({wanted})) {rows}"
            some, others = db.execute(counts).fetchone()
            if some and others:
                kept = f"SELECT * {rows} WHERE {wanted}"
                db.execute(f"COPY ({kept}) TO {literal(target / path.name)} (FORMAT parquet, COMPRESSION zstd)")
            elif some:
                put(path, target / path.name)
            laid += bool(some)
    return laid
