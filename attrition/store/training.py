# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""The rows to learn from as files, where they are too many for a frame: what `evidence.trainable` says, by SQL alone.

For portfolios whose units are decided at once: those without a ``horizon`` and without ``treated``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from attrition import safe
from attrition.params import Portfolio
from attrition.store.clients import Clients
from attrition.store.engine import connect, fields, listed, literal, quoted, rows_in, setting
from attrition.store.evidence import _key, _labelled, _unit
from attrition.store.frames import plain, shaped

__all__ = ["HELD_BACK", "Training", "at_scale", "prepare"]

HELD_BACK = "sha256('held back ' || _key)"
"""SQL for `attrition.model.held_back_hash`."""
FILE = "128MB"
"""Of a part, which is one task of a fit on a cluster."""


def at_scale(clients: Clients) -> bool:
    """Whether the rows to learn from are so many that they are kept in files."""
    given = clients.portfolio
    return given.horizon is None and given.treated is None and clients.labelled >= given.model.scale_rows


@dataclass(frozen=True)
class Training:
    """Rows to learn from, in the Parquet ``files`` of ``folder``.

    These have the portfolio's features and target in the types of the store, ``_row``, ``_key``, ``_counted`` as in
    `evidence.Counted.rows`, and ``_place``, from 0 to ``rows``: about where a row stands in the order of these.
    """

    portfolio: Portfolio
    folder: Path
    rows: int
    left: int
    newest: int

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in order of their names."""
        return tuple(safe.entries(self.folder, "*.parquet"))

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, query: str) -> pd.DataFrame:
        """One SELECT, with ``{rows}`` where the rows go."""
        with connect() as db:
            return plain(db.execute(query.replace("{rows}", rows_in(self.files))).df())

    def mark(self, held: int) -> str:
        """The mark up to which ``held`` rows are held back, as of `attrition.model.split`."""
        found = self.ask(f"SELECT {HELD_BACK} AS hash FROM {{rows}} ORDER BY 1 LIMIT 1 OFFSET {held - 1}")
        return str(found["hash"].iloc[0])

    def count(self, where: str) -> int:
        """How many rows there are where …"""
        return int(self.ask(f"SELECT count(*) AS n FROM {{rows}} WHERE {where}")["n"].iloc[0])

    def frame(self, where: str, most: int) -> pd.DataFrame:
        """As `evidence.trainable`, the rows where …, or ``most`` of these by chance, the same ones each time."""
        names = [*self.portfolio.features, self.portfolio.target.column]
        own = ["_row", "_key", "_counted", "_place"]
        chosen = f"SELECT _row FROM {{rows}} WHERE {where} ORDER BY md5(CAST(_row AS VARCHAR)) LIMIT {most}"
        few = f"SEMI JOIN ({chosen}) USING (_row)" if self.rows > most else ""
        found = self.ask(f"SELECT {shaped(self.portfolio, names, own)} FROM {{rows}} {few} WHERE {where}")
        return found.sort_values(["_counted", "_place", "_row"], ignore_index=True).drop(columns="_place")


def prepare(clients: Clients, folder: Path) -> Training:
    """Write the rows that can be learnt from into the new ``folder``; memory is bounded, whatever their number."""
    given, target = clients.portfolio, quoted(clients.portfolio.target.column)
    safe.make_folder(folder)
    source = f"(SELECT * FROM {rows_in(clients.files)} "
    source += f"WHERE _version <= {clients.version} AND {_labelled(given)})"
    with connect() as db, setting(db, preserve_insertion_order=False):
        if unit := _unit(given):
            db.execute(
                f"CREATE TABLE units AS SELECT max(_row) AS _row, min(_version) AS _counted FROM {source} "
                f"GROUP BY {listed(unit)}"
            )
        else:
            db.execute(f"CREATE TABLE units AS SELECT _row, _version AS _counted FROM {source}")
        db.execute(
            "CREATE TABLE versions AS SELECT _counted, count(*) AS n, "
            "CAST(sum(count(*)) OVER (ORDER BY _counted) - count(*) AS DOUBLE) AS begun FROM units GROUP BY _counted"
        )
        rows = f"SELECT {_columns(given)} FROM {source} JOIN units USING (_row) JOIN versions USING (_counted)"
        db.execute(f"COPY ({rows}) TO {literal(folder)} {_WRITTEN}")
    known = Training(given, folder, 0, 0, 0)
    counts = known.ask(
        f"SELECT count(*) AS n, coalesce(sum({target}), 0) AS gone, coalesce(max(_row), 0) AS newest FROM {{rows}}"
    ).iloc[0]
    return Training(given, folder, *(int(counts[name]) for name in ("n", "gone", "newest")))


_WRITTEN = f"(FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES '{FILE}', OVERWRITE_OR_IGNORE true)"


def _columns(given: Portfolio) -> str:
    names = [name for name in fields(given) if name in (*given.features, given.target.column)]
    key: Any = _key(given)
    place = "begun + n * (CAST(md5_number_lower(_key) AS DOUBLE) / 18446744073709551616.0)"
    return f"{listed(names)}, _row, {key} AS _key, _counted, {place} AS _place"
