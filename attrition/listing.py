# ruff: noqa: S608 -- every name that enters SQL goes through `quoted`, every value is a parameter
"""The clients by risk, for the API: a page of them, filtered, searched, with the change in a week; as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attrition.body import Refused
from attrition.home import Place

__all__ = ["MOST_EXPORTED", "Asked", "as_csv", "page"]

MOST_EXPORTED = 100_000
"""Clients of one CSV."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so is run by a spreadsheet; an apostrophe before it makes it a text again."""
HIDDEN = ("_row", "run", "model_version", "data_version")
WEEK = "INTERVAL 7 DAY"
RAN = "strptime(left({}, 8), '%Y%m%d')::DATE"
"""The day of a run, of its name."""


@dataclass(frozen=True)
class Asked:
    """Which clients: of a band, with these values in columns that the portfolio shows, with a text in the id."""

    band: str | None = None
    shown: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    limit: int = 50
    offset: int = 0


def page(place: Place, asked: Asked) -> dict[str, Any] | None:
    """Clients by risk, most at risk first, how many there are in all, and the ``run`` and ``model`` version they
    speak of. ``change`` is of the probability against the newest one that is a week older at least, which was given
    on ``change_since``. None before the first assessment.

    Raises:
        Refused: 400 the ranking lacks a column that is asked for.
    """
    while place.ranking.is_file():
        stamp = place.ranking.stat().st_ino
        try:
            found = _page(place, asked)
        except FileNotFoundError:  # replaced between its name and its content
            continue
        if place.ranking.is_file() and place.ranking.stat().st_ino == stamp:  # an assessment may put a new one there
            return found
    return None


def as_csv(place: Place, asked: Asked) -> bytes | None:
    """The same as CSV that no spreadsheet takes for formulas; what is stored stays as it is. None as `page`.

    Raises:
        Refused: as `page`.
    """
    found = page(place, asked)
    if found is None:
        return None
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    clients = found["clients"]
    writer.writerow([_harmless(name) for name in found["columns"]])
    writer.writerows([_harmless(value) for value in client.values()] for client in clients)
    return file.getvalue().encode()


def _harmless(value: Any) -> Any:
    if isinstance(value, list):
        value = "; ".join(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _page(place: Place, asked: Asked) -> dict[str, Any]:
    from attrition.store.engine import quoted

    with _database() as db:
        given: dict[str, Any] = {"path": str(place.ranking)}
        names = [name for name, *_ in db.execute("DESCRIBE FROM read_parquet($path)", given).fetchall()]
        wheres, given["band"], given["id"] = ["$band::VARCHAR IS NULL OR band = $band"], asked.band, asked.id
        wheres.append("$id::VARCHAR IS NULL OR contains(lower(id), lower($id))")
        for place_of, (name, value) in enumerate(asked.shown.items()):
            if name not in names:
                raise Refused(400, f"{name}: the list has no such column yet; the next assessment brings it")
            wheres.append(f"{quoted(name)}::VARCHAR = $shown{place_of}")
            given[f"shown{place_of}"] = value
        ranked = f"FROM read_parquet($path) WHERE {' AND '.join(f'({where})' for where in wheres)}"
        total, run, model = db.execute(f"SELECT count(*), max(run), max(model_version) {ranked}", given).fetchone()
        limits = {"limit": asked.limit, "offset": asked.offset}
        db.execute(f"CREATE TABLE listed AS {ranked} ORDER BY rank LIMIT $limit OFFSET $offset", {**given, **limits})
        said = db.execute(f"{_changed(db, place, names)} ORDER BY rank")
        columns = [name for name, *_ in said.description]
        rows = [dict(zip(columns, row, strict=True)) for row in said.fetchall()]
    return {"total": total, "run": run, "model": model, "columns": columns, "clients": rows}


def _changed(db: Any, place: Place, names: list[str]) -> str:
    """The query of the page's clients with the change of their risk."""
    from attrition.store.engine import quoted

    kept = ", ".join(f"listed.{quoted(name)}" for name in names if name not in HIDDEN)
    scores = _scores(place)
    if not scores or "as_of" not in names:
        return f"SELECT {kept}, NULL::DOUBLE AS change, NULL::DATE AS change_since FROM listed"
    db.execute(
        "CREATE TABLE earlier AS SELECT listed.rank AS rank,"
        f" max_by(scores.probability, {(day := _day('scores'))}) AS was, max({day}) AS since"
        f" FROM listed JOIN read_parquet($scores) AS scores USING (id) WHERE {day} <= {_day('listed')} - {WEEK}"
        " GROUP BY listed.rank",
        {"scores": [str(path) for path in scores]},
    )
    return (
        f"SELECT {kept}, listed.probability - earlier.was AS change, earlier.since AS change_since"
        " FROM listed LEFT JOIN earlier ON listed.rank = earlier.rank"
    )


def _day(table: str) -> str:
    """The day that a line speaks of: its as-of date, or that of the run where the portfolio has none."""
    return f"coalesce({table}.as_of, {RAN.format(f'{table}.run')})"


def _scores(place: Place) -> list[Path]:
    """The files of the predictions that were ever made."""
    from attrition.store import delta

    if not (place.scores / "_delta_log").is_dir():
        return []
    from deltalake import DeltaTable

    return delta.files(place.scores, DeltaTable(str(place.scores)))


@contextmanager
def _database() -> Iterator[Any]:
    import duckdb

    limits: dict[str, Any] = {
        "threads": 1,
        "temp_directory": "",
        "memory_limit": "256MB",
        "python_enable_replacements": False,
    }
    with duckdb.connect(config=limits) as database:
        try:
            yield database
        except duckdb.IOException as error:
            raise FileNotFoundError from error
