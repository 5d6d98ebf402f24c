"""What the tests of the store share: a portfolio of every type, and one ingest with its commit."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd

from attrition.params import Portfolio
from attrition.store import delta
from attrition.store.batches import write_batch
from attrition.store.clients import SCORES, Clients, commit_rows, commit_scores
from attrition.store.engine import OWN, connect, fields
from attrition.store.ingest import Ingest, ingest
from attrition.store.ranking import write_ranking

DATA = Path(__file__).parent / "data"
PARAMS = Path(__file__).parent.parent / "params"
CAPSTONE = DATA / "capstone"
SEED = sorted((CAPSTONE / "practicedata").glob("*.csv"))
SOURCE = sorted((CAPSTONE / "sourcedata").glob("*.csv"))

HEADER = "client,day,plan,seats,fee,active,left"
COLUMNS: dict[str, Any] = {
    "client": {"type": "text"},
    "day": {"type": "date"},
    "plan": {"type": "category", "values": ["Basic", "Team"]},
    "seats": {"type": "integer", "min": 0, "max": 1000},
    "fee": {"type": "number", "nullable": True},
    "active": {"type": "boolean"},
}
CALLED: dict[str, Any] = COLUMNS | {"called": {"type": "boolean", "nullable": True}}
ROW = "ann,2026-01-31,Team,3,9.5,yes,1"


def portfolio(**changes: Any) -> Portfolio:
    """A portfolio with a column of each type, a client id and an as-of date."""
    given = {
        "name": "small",
        "sha256": "0" * 64,
        "title": "Small",
        "id": "client",
        "as_of": "day",
        "columns": COLUMNS,
        "target": {"column": "left"},
    }
    return Portfolio.model_validate({**given, **changes})


def csv(folder: Path, *rows: str, name: str = "drop.csv", header: str = HEADER) -> Path:
    """A file of these lines."""
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


class Shop:
    """A store in a folder, and the ticks that fill it."""

    def __init__(self, root: Path, given: Portfolio):
        self.root, self.portfolio, self.folder, self.ticks = root, given, root / "clients", 0

    @property
    def clients(self) -> Clients:
        return Clients(self.portfolio, self.folder)

    def stage(self, *drops: Path) -> tuple[Ingest, Path]:
        self.ticks += 1
        staging = self.root / f"staging{self.ticks}"
        return ingest(self.portfolio, self.clients, drops, staging, run=f"run{self.ticks}"), staging

    def commit(self, staging: Path) -> int:
        return commit_rows(self.folder, self.portfolio, staging, json.loads((staging / "ingest.json").read_text()))

    def take(self, *drops: Path) -> Ingest:
        done, staging = self.stage(*drops)
        assert self.commit(staging) == done.data_version
        return done


Client = tuple[str, str, int | None, bool | None]
"""Who, the as-of date, the outcome, and whether it was called."""


def history(folder: Path, given: Portfolio, versions: list[list[Client]]) -> None:
    """Commit a data version of each list of rows, numbered in the order given, as quickly as many examples need."""
    numbers, kinds = itertools.count(1), {**fields(given), **OWN}
    for version, rows in enumerate(versions, start=1):
        name = f"part-{version:06d}-0.parquet"
        path = folder.with_name(f"{folder.name}-{name}")
        values = [(*row, next(numbers), version) for row in rows]
        with connect() as db:
            own = "_row BIGINT, _version BIGINT"
            db.execute(f'CREATE TABLE rows (client VARCHAR, day DATE, "left" TINYINT, called BOOLEAN, {own})')
            if values:
                db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", values)
            rest = "'Team' AS plan, _row AS seats, 1.0 AS fee, true AS active, 1000 - _row AS _hash"
            db.execute(f"CREATE VIEW whole AS SELECT *, {rest} FROM rows")
            columns = ", ".join(f'CAST("{column}" AS {kind}) AS "{column}"' for column, kind in kinds.items())
            db.execute(f"COPY (SELECT {columns} FROM whole) TO '{path}' (FORMAT parquet)")
        staged = [delta.Staged(path, name)]
        delta.commit(folder, kinds, staged, app="ingest", number=version, run="run", version=version)


def predictions(folder: Path, rows: list[tuple[int, str, str | None, int, str, float]], number: int = 1) -> None:
    """Commit predictions: row, client, as-of date, data version, model and probability."""
    path = folder.with_name(f"{folder.name}-{number}.parquet")
    columns = ", ".join(f"{name} {kind}" for name, kind in SCORES.items())
    with connect() as db:
        db.execute(f"CREATE TABLE scores ({columns})")
        db.executemany("INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, 'run')", rows)
        db.execute(f"COPY scores TO '{path}' (FORMAT parquet)")
    commit_scores(folder, path, number, f"run{number}")


def ranked(assessed: pd.DataFrame, staging: Path, previous: Path, *, anew: bool = False) -> None:
    """Stage the ranking of a frame with a row a client, as of one batch."""
    files = [staging / "batch.parquet"] if len(assessed) else []
    for path in files:
        write_batch(assessed.assign(hold_out=False, gone=False), path)
    write_ranking(files, staging, previous, anew=anew)
    for path in files:
        path.unlink()
