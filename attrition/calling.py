# ruff: noqa: S608 -- every name that enters SQL goes through `quoted`, every value is a parameter
"""Whom to call first, as people leaf through it: of everybody, by band, by the columns shown. Bounded, whatever the
number of clients: the API has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from attrition import value
from attrition.assessment import CALLABLE
from attrition.params import BANDS, Portfolio
from attrition.store.engine import quoted, rows_in

__all__ = ["MOST", "MOST_BY_VALUE", "MOST_VALUES", "lists"]

MOST = 500
"""Clients of a list."""
MOST_VALUES = 60
"""Values of a shown column that get a list of their own: those with the most clients at high risk."""
MOST_BY_VALUE = 1500
"""Clients in all lists by one shown column together."""


def lists(portfolio: Portfolio, ranking: Path, *, run: str, model: str, data_version: int) -> dict[str, Any]:
    """The lists of a ranking, in what JSON can hold.

    ``clients`` has each client of any list once, by rank: id, as_of, probability, band, ``gain`` (what a call is
    expected to bring; None without costs), ``change`` of the risk in a week, reasons, and under ``shown`` the columns
    to show. ``lists`` are ``{"kind", "column", "name", "clients", "callable", "ranks"}``: one of everybody, one a band,
    and one a value of each shown column that has few enough to part the clients by. Who has left or is held out is
    counted, not listed.
    """
    with duckdb.connect() as db:
        db.execute("CREATE VIEW ranking AS SELECT * FROM " + rows_in([ranking]))
        found = [_list(db, "everybody", "", "", "true", MOST)]
        found += [_list(db, "band", "", band, "band = $name", MOST if band != BANDS[-1] else 100) for band in BANDS]
        for column in portfolio.show:
            found += _by_value(db, column)
        ranks = sorted({rank for each in found for rank in each["ranks"]})
        shown = "".join(f", {quoted(name)}" for name in portfolio.show)
        has = {name for name, *_ in db.execute("DESCRIBE ranking").fetchall()}
        change = "change" if "change" in has else "NULL"  # a ranking of before there were any
        rows = db.execute(
            f"SELECT rank, id, as_of, probability, band, {change}, reasons{shown} FROM ranking"
            " WHERE rank IN (SELECT unnest($ranks)) ORDER BY rank",
            {"ranks": ranks},
        ).fetchall()
        newest = db.execute("SELECT max(as_of) FROM ranking").fetchone()
    return {
        **{"run": run, "model": model, "data_version": data_version},
        "newest": _day(newest[0] if newest else None),
        "currency": portfolio.costs.currency if portfolio.costs else "",
        "columns": [{"name": name, "label": portfolio.label(name)} for name in portfolio.show],
        "lists": found,
        "clients": {str(row[0]): _client(portfolio, row) for row in rows},
    }


def _client(portfolio: Portfolio, row: tuple[Any, ...]) -> dict[str, Any]:
    _, name, as_of, risk, band, change, reasons, *shown = row
    gain, costs = None, portfolio.costs
    if costs:
        gain = round(float(value.expected_gain([risk], costs.call, costs.client, costs.kept)[0]), 2)
    return {
        **{"id": name, "as_of": _day(as_of), "probability": round(risk, 4), "band": band, "gain": gain},
        **{
            "change": None if change is None else round(change, 4),
            "reasons": list(reasons),
            "shown": dict(zip(portfolio.show, shown, strict=True)),
        },
    }


def _list(db: Any, kind: str, column: str, name: str, where: str, most: int) -> dict[str, Any]:
    given: dict[str, Any] = {"name": name} if "$name" in where else {}
    counted = f"SELECT count(*), count(*) FILTER (WHERE {CALLABLE}) FROM ranking WHERE {where}"
    clients, callable_ = db.execute(counted, given).fetchone()
    first = f"SELECT rank FROM ranking WHERE {CALLABLE} AND {where} ORDER BY rank LIMIT $most"
    ranks = [rank for (rank,) in db.execute(first, {**given, "most": most}).fetchall()]
    about = {"kind": kind, "column": column, "name": name}
    return {**about, "clients": clients, "callable": callable_, "ranks": ranks}


def _by_value(db: Any, column: str) -> list[dict[str, Any]]:
    """A list a value of a shown column; none where most clients have a value of their own, such as a name."""
    values = db.execute(
        f"SELECT {quoted(column)} AS value, count(*) AS clients, count(*) FILTER (WHERE {CALLABLE}) AS callable"
        f" FROM ranking WHERE {quoted(column)} IS NOT NULL GROUP BY 1"
        f" ORDER BY count(*) FILTER (WHERE band = '{BANDS[0]}' AND {CALLABLE}) DESC, callable DESC, 1"
    ).fetchall()
    total = sum(clients for _, clients, _ in values)
    if not 1 < len(values) <= total / 5:
        return []
    kept = values[:MOST_VALUES]
    most = min(MOST, MOST_BY_VALUE // len(kept))
    first = dict(
        db.execute(
            f"SELECT {quoted(column)}, list(rank ORDER BY rank)[:$most] FROM ranking"
            f" WHERE {CALLABLE} AND {quoted(column)} IN (SELECT unnest($kept)) GROUP BY 1",
            {"most": most, "kept": [value for value, *_ in kept]},
        ).fetchall()
    )
    about: Mapping[str, str] = {"kind": "value", "column": column}
    return [
        {**about, "name": name, "clients": clients, "callable": callable_, "ranks": first.get(name, [])}
        for name, clients, callable_ in kept
    ]


def _day(moment: Any) -> str | None:
    return moment.strftime("%Y-%m-%d") if moment is not None else None
