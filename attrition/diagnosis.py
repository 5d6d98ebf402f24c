"""What 60_diagnose says of data and machinery beside the statistics: what is missing, how long things take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from attrition import record, safe
from attrition.book import Book
from attrition.home import Place
from attrition.runs import Run

__all__ = ["dated", "in_short", "missing", "moment", "once_a_day", "timings"]

DAY = timedelta(days=1)


def moment(staging: Path) -> datetime:
    """When the run began, by its own clock."""
    return datetime.fromisoformat(Run.read(staging).report["started_at"])


def dated(table: Mapping[str, Any], made: datetime, *, data_version: int) -> dict[str, Any]:
    """A table with when it was made, and of which data version it speaks."""
    return {"dated": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "data_version": data_version, **table}


def once_a_day(previous: str, name: str, now: datetime) -> dict[str, Any] | None:
    """The table ``name`` of an earlier run's executed notebook, if it is younger than a day ``now``."""
    if not previous:
        return None
    try:
        table = record.read(Path(previous)).get(name)
    except (FileNotFoundError, ValueError):  # pruned or damaged: then it is made anew
        return None
    if not isinstance(table, dict) or "dated" not in table:
        return None
    age = now - datetime.fromisoformat(table["dated"])
    return table if timedelta(0) <= age < DAY else None


def missing(store: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The share missing a column, in the whole store and in this run's rows (None: no rows), worst first."""
    rows = [
        {
            "column": name,
            "store": column["missing"],
            "new": new["columns"][name]["missing"] if new["rows"] else None,
        }
        for name, column in store["columns"].items()
    ]
    return sorted(rows, key=lambda row: -max(row["store"] or 0, row["new"] or 0))


def timings(place: Place, run: str, staging: Path, limit: int = 50) -> list[dict[str, Any]]:
    """Seconds a stage of the last runs and of this one, oldest first; a stage that did not run has none."""
    past: list[dict[str, Any]] = []
    if safe.exists(place.book):
        with Book.open(place.book, read_only=True) as book:
            past = [line for line in reversed(book.runs(limit)) if line["run"] != run and line["seconds"]]
    rows = [{"run": line["run"], "ingest": None, "train": None, **line["seconds"]} for line in past]
    stages = Run.read(staging).report["stages"]
    now = {stage["name"]: stage["seconds"] for stage in stages if stage["status"] == "completed"}
    return [*rows, {"run": run, "ingest": None, "train": None, **now}]


def in_short(summary: Mapping[str, Any], missing: Sequence[Mapping[str, Any]]) -> str:
    """The state of the data in a sentence."""
    lacking = [f"{each['column']} {each['store']:.1%}" for each in missing if each["store"]][:3]
    gaps = f"most is missing of {', '.join(lacking)}" if lacking else "no value is missing"
    return f"{summary['rows']:,} rows, of {summary['labelled']:,} the outcome is known; {gaps}."
