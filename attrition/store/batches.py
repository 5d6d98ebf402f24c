# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Current clients in files of bounded size, and what was found of them written in such files again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd

from attrition import safe
from attrition.params import Portfolio
from attrition.store.clients import Clients
from attrition.store.engine import connect, fields, listed, literal, quoted, rows_in
from attrition.store.frames import plain, shaped
from attrition.store.ranking import COLUMNS

__all__ = ["ROWS", "batches", "read_batch", "write_batch"]

ROWS = 100_000
"""Clients in a batch."""


def batches(clients: Clients, folder: Path, *, after_version: int) -> Iterator[Path]:
    """Files of the rows that `Clients.current` gives, each written when it is asked for; none if there are none.

    Which rows are current is found first, and kept as a list of row numbers; a batch is a range of these.
    """
    given = clients.portfolio
    safe.make_folder(folder)
    if not clients.files:
        return
    table = rows_in(clients.files)
    source = f"(SELECT * FROM {table} WHERE _version <= {clients.version})"
    names = list(fields(given))
    with connect() as db:
        db.execute(
            f"CREATE TABLE current AS SELECT _row FROM {_newest(given, source)} WHERE _version > {after_version}"
        )
        db.execute("CREATE TABLE cuts AS SELECT _row, row_number() OVER (ORDER BY _row) AS place FROM current")
        cuts = db.execute(f"SELECT _row FROM cuts WHERE (place - 1) % {ROWS} = 0 ORDER BY _row").fetchall()
        db.execute("DROP TABLE cuts")
        edges = [first for (first,) in cuts]
        for number, (low, high) in enumerate(pairwise([*edges, 2**63 - 1])):
            path = folder / f"{number:06d}.parquet"
            within = f"_row >= {low} AND _row < {high}"
            rows = f"SELECT {listed(names)}, _row, _version FROM {source} SEMI JOIN "
            rows += f"(SELECT _row FROM current WHERE {within}) USING (_row) WHERE {within}"
            db.execute(f"COPY ({rows} ORDER BY _row) TO {literal(path)} (FORMAT parquet)")
            yield path


def _newest(given: Portfolio, source: str) -> str:
    """SQL for the newest row of each client, as of `Clients.current`: its _row and _version."""
    if given.id is None:
        return source
    day = f"{quoted(given.as_of)} IS NOT NULL, {quoted(given.as_of)}, " if given.as_of else ""
    newest = f"arg_max({{'row': _row, 'version': _version}}, row({day}_row))"
    groups = f"SELECT {newest} AS found FROM {source} GROUP BY {quoted(given.id)}"
    return f"(SELECT found.row AS _row, found.version AS _version FROM ({groups}))"


def read_batch(portfolio: Portfolio, path: Path) -> pd.DataFrame:
    """The rows of a batch, shaped as by `Clients.frame`."""
    with connect() as db:
        return plain(db.execute(f"SELECT {shaped(portfolio, None)} FROM {rows_in([path])}").df())


def write_batch(found: pd.DataFrame, path: Path) -> None:
    """Write what was found of a batch: the columns of a ranking but for its rank, then those to show."""
    kinds = {name: COLUMNS.get(name, "VARCHAR") for name in found.columns}
    typed = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in kinds.items())
    with connect() as db:
        db.register("found", found)
        db.execute(f"COPY (SELECT {typed} FROM found) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")
