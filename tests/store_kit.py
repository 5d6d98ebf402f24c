"""What the tests of the store share: a portfolio of every type, and one ingest with its commit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrition.params import Portfolio
from attrition.store.clients import Clients, commit_rows
from attrition.store.ingest import Ingest, ingest

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
