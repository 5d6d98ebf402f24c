"""What one ingest did, file by file: the ``ingest.json`` of a run, which the book is finished from after a crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from attrition import safe

__all__ = ["Drop", "Ingest", "Part"]

NAME = "ingest.json"


@dataclass(frozen=True)
class Part:
    """A Parquet file of new rows, below ``rows/`` in staging and then in the table's folder."""

    path: str
    bytes: int
    sha256: str
    rows: int
    stats: dict[str, Any]  # as Delta has them


@dataclass(frozen=True)
class Drop:
    """The account of one drop: ``rows_in == ingested + duplicates + quarantined``, always."""

    name: str
    sha256: str | None  # none: it is no regular file
    size: int  # bytes
    rows_in: int
    ingested: int
    duplicates: int
    quarantined: int
    reasons: dict[str, int]  # fault: how many rows have it
    notes: list[str]
    to: Literal["taken", "quarantine"]


@dataclass(frozen=True)
class Ingest:
    """The account of one ingest. With no new row, ``ingest`` and ``data_version`` are those the store has already."""

    run: str
    ingest: int
    data_version: int
    files: list[Part]
    drops: list[Drop]

    @property
    def rows(self) -> dict[str, int]:
        """Rows of all drops: in, ingested, duplicates, quarantined."""
        return {
            "in": sum(drop.rows_in for drop in self.drops),
            "ingested": sum(drop.ingested for drop in self.drops),
            "duplicates": sum(drop.duplicates for drop in self.drops),
            "quarantined": sum(drop.quarantined for drop in self.drops),
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Ingest:
        """The reverse of `to_dict`."""
        files = [Part(**part) for part in given["files"]]
        return cls(**{**given, "files": files, "drops": [Drop(**drop) for drop in given["drops"]]})

    def write(self, staging: Path) -> None:
        """Leave it in a run's staging folder."""
        safe.write(staging / NAME, json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def read(cls, staging: Path) -> Ingest:
        """Read it back.

        Raises:
            FileNotFoundError: the run left none: it ended before its rows were staged.
        """
        return cls.from_dict(json.loads((staging / NAME).read_text()))
