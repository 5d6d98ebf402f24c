# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Rows to fit on, in Parquet files, asked for sums part by part wherever the engine runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from attrition.engine import Engine, Here
from attrition.params import Portfolio
from attrition.store.engine import connect, fields, listed, literal, quoted, rows_in

__all__ = ["Part", "Query", "Table", "WideTable", "chunks", "rows_of"]

CHUNK = 32
"""DuckDB vectors (of 2,048 rows) in a batch that NumPy works on."""


class WideTable(ValueError):
    """The categories have so many levels that sums over all pairs of them would not fit into memory."""


@dataclass(frozen=True)
class Part:
    """Some of the files: what one task reads."""

    files: tuple[str, ...]
    where: str = "true"

    def source(self, percent: float = 100.0) -> str:
        """SQL for its rows, or for a random share of them."""
        some = f" TABLESAMPLE BERNOULLI({percent!r} PERCENT)" if percent < 100 else ""
        rows = f"{rows_in(self.files)}{some}"
        return rows if self.where == "true" else f"(SELECT * FROM {rows} WHERE {self.where})"


@dataclass(frozen=True)
class Query:
    """One SELECT over a part: ``sql`` with ``{rows}`` where the part's rows go."""

    part: Part
    sql: str
    percent: float = 100.0

    @property
    def text(self) -> str:
        """The SELECT as DuckDB reads it."""
        return self.sql.replace("{rows}", self.part.source(self.percent))


@dataclass(frozen=True)
class Table:
    """Rows with the portfolio's features and its target (0 or 1, none missing), in the types of the store.

    ``weight`` is SQL for what a row counts; empty: each the same. ``where`` is SQL for which rows of the ``files`` it
    has; these lie where the engine's workers see them.
    """

    portfolio: Portfolio
    files: tuple[Path, ...]
    engine: Engine = Here()  # noqa: RUF009 - it holds nothing
    weight: str = ""
    where: str = "true"

    @property
    def parts(self) -> list[Part]:
        """One with all files in this process, where DuckDB shares them out among cores; else one a file."""
        if isinstance(self.engine, Here):
            return [Part(tuple(map(str, self.files)), self.where)]
        return [Part((str(path),), self.where) for path in self.files]

    def each(self, function: Callable[[Any], Any], task: Callable[[Part], Any]) -> list[Any]:
        """What ``function`` makes of the task of each part."""
        return list(self.engine.map(function, [task(part) for part in self.parts]))

    def answers(self, select: Mapping[str, str], *, where: str = "true") -> Sequence[Mapping[str, Any]]:
        """The expressions' values, part by part, over the rows where …"""
        values = ", ".join(f"{sql} AS {name}" for name, sql in select.items())
        sql = f"SELECT {values} FROM {{rows}} WHERE {where}"
        found: list[pd.DataFrame] = self.each(rows_of, lambda part: Query(part, sql))
        return [{str(name): value for name, value in frame.iloc[0].items()} for frame in found]

    def sample(self, percent: float, path: Path) -> Table:
        """A random share of the rows, written to ``path``, as a table of this machine."""
        names = [*self.portfolio.features, self.portfolio.target.column]
        weight = f", CAST({self.weight} AS DOUBLE) AS _weight" if self.weight else ""
        sql = f"SELECT {listed(names)}{weight} FROM {{rows}}"
        drawn: list[pd.DataFrame] = self.each(rows_of, lambda part: Query(part, sql, percent))
        types = fields(self.portfolio)
        typed = [f"CAST({quoted(name)} AS {types[name]}) AS {quoted(name)}" for name in names]
        typed += ["_weight"] if self.weight else []
        with connect() as connection:
            connection.register("drawn", pd.concat(drawn, ignore_index=True))
            connection.execute(f"COPY (SELECT {', '.join(typed)} FROM drawn) TO {literal(path)} (FORMAT parquet)")
        return Table(self.portfolio, (path,), weight="_weight" if self.weight else "")

    def number(self, name: str) -> str:
        """SQL for a numeric feature as a double."""
        return f"CAST({quoted(name)} AS DOUBLE)"


def rows_of(query: Query) -> pd.DataFrame:
    """All rows that a query answers with: few, since it sums. A task of the engine."""
    with connect() as connection:
        found: pd.DataFrame = connection.execute(query.text).df()
    return found


def chunks(query: Query) -> Iterator[pd.DataFrame]:
    """The rows that a query answers with, some ten thousand at a time."""
    with connect() as connection:
        connection.execute(query.text)
        while len(chunk := connection.fetch_df_chunk(CHUNK)):
            yield chunk
