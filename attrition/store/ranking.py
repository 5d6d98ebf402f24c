# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""The files that an assessment leaves: the predictions, this tick's list, and all current clients by risk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrition.store.clients import SCORES
from attrition.store.engine import connect, listed, literal, quoted

__all__ = ["COLUMNS", "write_ranking"]

COLUMNS = SCORES | {"band": "VARCHAR", "hold_out": "BOOLEAN", "gone": "BOOLEAN", "reasons": "VARCHAR[]"}
"""What a ranking holds beside the rank and the columns to show, which are text there."""


def write_ranking(files: Sequence[Path], staging: Path, previous: Path | None) -> None:
    """Stage ``assessed.parquet`` (this tick's clients), ``ranking.parquet`` (all) and ``scores.parquet``.

    All by DuckDB, which sorts on disk what its memory does not hold.

    Args:
        files: Parquet files with a row a client: ``COLUMNS`` (``band``, ``hold_out``: not to be called, ``gone``: has
            left, ``reasons``), then the columns to show; without ``rank``. The first two come out with their ``rank``
            among all current clients, highest risk first.
        staging: the run's folder.
        previous: the ranking that this one goes on from; a client assessed again replaces its earlier line.
    """
    with connect() as db:
        if files:
            listing = f"[{', '.join(map(literal, files))}]"
            db.execute(f"CREATE VIEW assessed AS SELECT * FROM read_parquet({listing}, hive_partitioning = false)")
        else:
            declared = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in COLUMNS.items())
            db.execute(f"CREATE VIEW assessed AS SELECT {declared} WHERE false")
        earlier = ""
        if previous and previous.exists():
            earlier = f"UNION ALL BY NAME {_earlier(db, previous, bool(files))}"
        db.execute(f"CREATE VIEW everybody AS SELECT * FROM assessed {earlier}")
        db.execute(
            "CREATE TABLE ranks AS "
            "SELECT _row, row_number() OVER (ORDER BY probability DESC, _row) AS rank FROM everybody"
        )
        ranked = "SELECT rank, everybody.* FROM everybody JOIN ranks USING (_row)"
        mine = "SEMI JOIN assessed USING (_row)"
        queries = {
            "ranking": f"{ranked} ORDER BY rank",
            "assessed": f"SELECT * FROM ({ranked}) {mine} ORDER BY rank",
            "scores": f"SELECT {listed(SCORES)} FROM assessed ORDER BY _row",
        }
        for name, query in queries.items():
            path = literal(staging / f"{name}.parquet")
            db.execute(f"COPY ({query}) TO {path} (FORMAT parquet, COMPRESSION zstd)")


def _earlier(db: Any, previous: Path, some: bool) -> str:
    """SQL for the clients of an earlier ranking that are not assessed anew, in the columns that both have."""
    table = f"read_parquet({literal(previous)}, hive_partitioning = false)"
    has = [name for name, *_ in db.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]
    wanted = {name for name, *_ in db.execute("DESCRIBE assessed").fetchall()} if some else {*has} - {"rank"}
    return f"SELECT {listed(name for name in has if name in wanted)} FROM {table} ANTI JOIN assessed USING (id)"
