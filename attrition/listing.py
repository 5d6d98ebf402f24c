"""The clients by risk, for the API: a page of them, filtered, searched, with the change in a week; as CSV.

What is read is the ranking alone, which an assessment has put in order: no answer grows with history, and a page
without a filter not with the number of clients either.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from attrition.body import Refused
from attrition.home import Place

__all__ = ["MOST_EXPORTED", "Asked", "as_csv", "page"]

MOST_EXPORTED = 100_000
"""Clients of one CSV."""
BATCH = 2_000
"""Clients of an export in memory as Python's objects at one time."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so is run by a spreadsheet; an apostrophe before it makes it a text again."""
HIDDEN = ("_row", "run", "model_version", "data_version", "trail")
CHANGE = {"change": "DOUBLE", "change_since": "DATE"}
"""They end each line; rankings of before there were any have none."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Asked:
    """Which clients: of a band, with these values in columns that the portfolio shows, with a text in the id.

    ``to_call``: of those who may be called, who have not left and are not held out. ``limit`` None: all, or a refusal.
    """

    band: str | None = None
    shown: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    to_call: bool = False
    limit: int | None = 50
    offset: int = 0


@dataclass(frozen=True)
class _Ranking:
    """A ranking that is open: whom it has of those asked for, and whose it is."""

    total: int
    run: str | None
    model: str | None
    columns: list[str]
    lines: Any


def page(place: Place, asked: Asked) -> dict[str, Any] | None:
    """Clients by risk, most at risk first, how many there are in all, and the ``run`` and ``model`` version they
    speak of. ``change`` is of the probability against the newest one that is a week older at least, which was given
    on ``change_since``. None before the first assessment.

    Raises:
        Refused: 400 the ranking lacks a column that is asked for, 503 it cannot be read.
    """

    def told(found: _Ranking) -> dict[str, Any]:
        clients = [dict(zip(found.columns, line, strict=True)) for line in found.lines.fetchall()]
        about = {"total": found.total, "run": found.run, "model": found.model}
        return {**about, "columns": found.columns, "clients": clients}

    return _read(place, asked, told)


def as_csv(place: Place, asked: Asked) -> bytes | None:
    """The same as CSV that no spreadsheet takes for formulas; what is stored stays as it is. None as `page`.

    Raises:
        Refused: as `page`; 413 all are asked for, and there are more than `MOST_EXPORTED`.
    """

    def told(found: _Ranking) -> bytes:
        if asked.limit is None and found.total - asked.offset > MOST_EXPORTED:
            why = f"{found.total} clients: a CSV has at most {MOST_EXPORTED}; filter them, or ask by limit and offset"
            raise Refused(413, why)
        file = io.StringIO(newline="")
        writer = csv.writer(file)
        writer.writerow(map(_harmless, found.columns))
        while lines := found.lines.fetchmany(BATCH):
            writer.writerows([_harmless(value) for value in line] for line in lines)
        return file.getvalue().encode()

    return _read(place, asked, told)


def _harmless(value: Any) -> Any:
    if isinstance(value, list):
        value = "; ".join(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _read(place: Place, asked: Asked, told: Callable[[_Ranking], Found]) -> Found | None:
    """What is told of one ranking from beginning to end: an assessment may put a new one in its place meanwhile."""
    import duckdb

    while (before := _inode(place)) is not None:
        try:
            with closing(_database().cursor()) as db:
                found = told(_opened(db, place, asked))
        except duckdb.OutOfMemoryException:
            raise Refused(503, "too many long lists at once: ask for this one again, or filter it") from None
        except duckdb.Error:
            if _inode(place) == before:
                raise Refused(503, "the list of clients cannot be read: restore it from a backup") from None
            continue
        if _inode(place) == before:
            return found
    return None


def _opened(db: Any, place: Place, asked: Asked) -> _Ranking:
    from attrition.store.engine import quoted, rows_in

    given: dict[str, Any] = {}
    rows = rows_in([place.ranking])
    names = [name for name, *_ in db.execute(f"DESCRIBE FROM {rows}").fetchall()]
    run, model = db.execute(f"SELECT max(run), max(model_version) FROM {rows}").fetchone()  # noqa: S608 - quoted
    wheres = []
    if asked.band is not None:
        wheres.append("band = $band")
        given["band"] = asked.band
    if asked.id is not None:
        wheres.append("contains(lower(id), lower($id))")
        given["id"] = asked.id
    if asked.to_call:
        wheres.append("NOT hold_out AND NOT gone")
    for name in [*asked.shown, *(("hold_out", "gone") if asked.to_call else ())]:
        if name not in names:
            raise Refused(400, f"{name}: the list has no such column yet; the next assessment brings it")
    for number, (name, value) in enumerate(asked.shown.items()):
        wheres.append(f"{quoted(name)}::VARCHAR = $shown{number}")
        given[f"shown{number}"] = value
    ranked = f"FROM {rows}{' WHERE ' if wheres else ''}{' AND '.join(wheres)}"
    total = db.execute(f"SELECT count(*) {ranked}", given).fetchone()[0]
    columns = [name for name in names if name not in HIDDEN and name not in CHANGE]
    kept = [quoted(name) for name in columns]
    kept += [name if name in names else f"NULL::{kind} AS {name}" for name, kind in CHANGE.items()]
    given |= {"offset": asked.offset, "limit": min(total if asked.limit is None else asked.limit, MOST_EXPORTED)}
    # Ranks are 1, 2, 3 …: without a filter they say where a page is, and the rest of the file is not read.
    paged = "ORDER BY rank LIMIT $limit OFFSET $offset"
    if not wheres:
        paged = "WHERE rank > $offset AND rank <= $offset + $limit ORDER BY rank"
    lines = db.execute(f"SELECT {', '.join(kept)} {ranked} {paged}", given)
    return _Ranking(total, run, model, [*columns, *CHANGE], lines)


def _inode(place: Place) -> int | None:
    try:
        return place.ranking.stat().st_ino
    except FileNotFoundError:
        return None


@cache
def _database() -> Any:
    """DuckDB for all requests of the process, which together have so much memory; making one takes 40 ms."""
    import duckdb

    limits: dict[str, Any] = {
        "threads": 1,
        "temp_directory": "",
        "memory_limit": "256MB",
        "python_enable_replacements": False,
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(config=limits)
