"""The files that an assessment leaves: the predictions, this tick's list, and all current clients by risk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from attrition.store.clients import SCORES
from attrition.store.engine import connect, listed, literal, quoted

__all__ = ["COLUMNS", "write_ranking"]

COLUMNS = SCORES | {"band": "VARCHAR", "hold_out": "BOOLEAN", "gone": "BOOLEAN", "reasons": "VARCHAR[]"}
"""What a ranking holds beside the rank and the columns to show, which are text there."""


def write_ranking(assessed: pd.DataFrame, staging: Path, previous: Path | None) -> pd.DataFrame:
    """Stage ``assessed.parquet`` (this tick's clients), ``ranking.parquet`` (all) and ``scores.parquet``.

    Args:
        assessed: a row a client: ``_row``, ``id``, ``as_of``, ``data_version``, ``model_version``,
            ``run``, ``probability``, ``band``, ``hold_out`` (not to be called), ``gone`` (has
            left), ``reasons`` (list of text), then the
            columns to show; without ``rank``.
        staging: the run's folder.
        previous: the ranking that this one goes on from; a client assessed again replaces its earlier line.

    Returns:
        ``assessed`` with its ``rank`` among all current clients, highest risk first.
    """
    shown = {name: "VARCHAR" for name in assessed.columns if name not in COLUMNS}
    declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in (COLUMNS | shown).items())
    by_risk = "ORDER BY probability DESC, _row"
    with connect() as db:
        db.execute(f"CREATE TABLE everybody ({declared})")
        if len(assessed):  # a frame without rows has no types to go by
            db.register("assessed", assessed)
            db.execute("INSERT INTO everybody BY NAME SELECT * FROM assessed")
        db.execute("CREATE TABLE mine AS SELECT _row, id FROM everybody")
        if previous and previous.exists():
            _go_on(db, previous)
        ranks = f"row_number() OVER ({by_risk}) AS rank"
        db.execute(f"CREATE TABLE ranked AS SELECT {ranks}, * FROM everybody")  # noqa: S608 - all of our own making
        queries = {
            "ranking": "SELECT * FROM ranked ORDER BY rank",
            "assessed": "SELECT * FROM ranked WHERE _row IN (SELECT _row FROM mine) ORDER BY rank",
            "scores": f"SELECT {listed(SCORES)} FROM ranked WHERE _row IN (SELECT _row FROM mine) ORDER BY _row",  # noqa: S608
        }
        for name, query in queries.items():
            path = literal(staging / f"{name}.parquet")
            db.execute(f"COPY ({query}) TO {path} (FORMAT parquet, COMPRESSION zstd)")
        ranked: pd.DataFrame = db.execute(queries["assessed"]).df()
    return ranked


def _go_on(db: Any, previous: Path) -> None:
    """Add the clients of an earlier ranking that are not assessed anew, in the columns that both have."""
    described = db.execute("DESCRIBE SELECT * FROM read_parquet($path)", {"path": str(previous)}).fetchall()
    has = {name for name, *_ in db.execute("DESCRIBE everybody").fetchall()}
    shared = listed(name for name, *_ in described if name in has)
    db.execute(
        f"INSERT INTO everybody BY NAME SELECT {shared} FROM read_parquet($path)"  # noqa: S608
        " WHERE id NOT IN (SELECT id FROM mine)",
        {"path": str(previous)},
    )
