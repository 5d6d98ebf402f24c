# ruff: noqa: S608 -- every name that enters SQL goes through `_quoted`
"""Statistics of a table of clients, from a frame or asked of a store; knows nothing of models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from attrition.moments import SAMPLE, SMALLER, measures
from attrition.params import Portfolio

__all__ = ["Queried", "summarise", "summarise_store"]

TOP = 10  # most common values of a category
MEASURES = ("mean", "median", "std", "min", "max")


class Queried(Protocol):
    """A table ``clients`` that answers SQL."""

    @property
    def portfolio(self) -> Portfolio:
        """Whose clients they are."""

    def sql(self, query: str, **parameters: Any) -> pd.DataFrame:
        """The rows of one SELECT; each row says with which ``_version`` it came."""


def summarise(frame: pd.DataFrame, portfolio: Portfolio) -> dict[str, Any]:
    """Statistics of rows shaped as the store gives them.

    Returns:
        What JSON can hold: ``rows``, ``labelled``, ``positive_share`` (None without an outcome) and
        ``columns``: for each its type and share ``missing`` (0 to 1, None without rows); for a
        number, integer or boolean (as 0 and 1) that is not the id also mean, median, std (of a
        sample, n - 1), min and max; for a category ``top``, its most common values with their counts.
        A statistic that does not exist or is beyond a double is None.
    """
    outcomes = frame[portfolio.target.column].dropna()
    columns: dict[str, Any] = {}
    for name, column in portfolio.columns.items():
        values = frame[name].dropna()
        missing = _number((len(frame) - len(values)) / len(frame)) if len(frame) else None
        columns[name] = {"type": column.type, "missing": missing}
        if name in _measured(portfolio):
            columns[name] |= _measures(values.to_numpy(dtype=float))
        elif column.type == "category":
            counts = sorted(values.value_counts().items(), key=lambda pair: (-pair[1], pair[0]))
            columns[name]["top"] = [[value, int(count)] for value, count in counts[:TOP]]
    return {
        "rows": len(frame),
        "labelled": len(outcomes),
        "positive_share": _number(outcomes.mean()) if len(outcomes) else None,
        "columns": columns,
    }


def summarise_store(clients: Queried, *, after_version: int = 0) -> dict[str, Any]:
    """The same as `summarise` of the rows that came with a later version, computed where they are."""
    portfolio, target = clients.portfolio, _quoted(clients.portfolio.target.column)
    asked = {"rows": "count(*)", "labelled": f"count({target})", "positive_share": f"avg({target})"}
    asked |= {f"known{place}": f"count({_quoted(name)})" for place, name in enumerate(portfolio.columns)}
    since = f"_version > {after_version}" if after_version else "true"
    found = _asked(clients, asked, where=since)
    rows, measured = int(found["rows"]), _measured(portfolio)
    values = [f"CAST({_quoted(name)} AS DOUBLE)" for name in measured]

    def ask(select: Mapping[str, str], *, where: str = "true") -> list[Mapping[str, Any]]:
        return [_asked(clients, select, where=f"{since} AND {where}")]

    def sample(select: Mapping[str, str], *, where: str = "true") -> list[Mapping[str, Any]]:
        return [_asked(clients, select, 100.0 * SAMPLE / rows, f"{since} AND {where}")]

    few = sample if rows > SAMPLE else ask
    exact = dict(zip(measured, measures(ask, few, values, rows), strict=True))
    columns: dict[str, Any] = {}
    for place, (name, column) in enumerate(portfolio.columns.items()):
        columns[name] = {"type": column.type, "missing": _number(1 - found[f"known{place}"] / rows) if rows else None}
        if name in exact:
            columns[name] |= {measure: _number(getattr(exact[name], measure)) for measure in MEASURES}
        elif column.type == "category":
            columns[name]["top"] = _top(clients, name, since)
    return {
        "rows": rows,
        "labelled": int(found["labelled"]),
        "positive_share": _number(found["positive_share"]),
        "columns": columns,
    }


def _asked(
    clients: Queried, select: Mapping[str, str], percent: float = 100.0, where: str = "true"
) -> Mapping[str, Any]:
    """The one row that these expressions make of all clients, a random share of them, or those for whom …"""
    some = f" TABLESAMPLE BERNOULLI({percent!r} PERCENT)" if percent < 100 else ""
    values = ", ".join(f"{sql} AS {name}" for name, sql in select.items())
    row = clients.sql(f"SELECT {values} FROM clients{some} WHERE {where}").iloc[0]
    return {str(name): value for name, value in row.items()}


def _measured(portfolio: Portfolio) -> list[str]:
    kinds = ("integer", "number", "boolean")
    return [name for name, column in portfolio.columns.items() if column.type in kinds and name != portfolio.id]


def _measures(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(MEASURES)
    with np.errstate(over="ignore", invalid="ignore"):
        std = values.std(ddof=1) if len(values) > 1 else math.nan
        mean = (values * SMALLER).mean() / SMALLER  # in whatever order they come, no sum is beyond a double
        found = (mean, np.median(values), std, values.min(), values.max())
    return {measure: _number(value) for measure, value in zip(MEASURES, found, strict=True)}


def _top(clients: Queried, name: str, since: str) -> list[list[Any]]:
    counts = clients.sql(
        f"SELECT {_quoted(name)}, count(*) FROM clients WHERE {since} AND {_quoted(name)} IS NOT NULL "
        f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {TOP}"
    )
    return [[value, int(times)] for value, times in counts.itertuples(index=False)]


def _number(value: Any) -> float | None:
    """Twelve digits: sums over many rows differ in the last ones with the order in which threads add."""
    return float(f"{value:.12g}") if pd.notna(value) and math.isfinite(value) else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
