# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Drops that bring outcomes alone: each row joins the newest row of its client and day, which becomes a new row.

Whether one joins is known only when all drops of an ingest are read, for the features may come with them. Until then
the table ``told`` holds the outcomes, and ``told_bad`` what else of their drops cannot be taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrition import safe
from attrition.params import Portfolio
from attrition.store.check import BAD
from attrition.store.engine import alike, fields, listed, literal, quoted, rows_in

__all__ = ["UNMATCHED", "join", "load_told", "set_aside"]

UNMATCHED = "no row of this client and date"


def load_told(connection: Any, portfolio: Portfolio, work: Path) -> list[int]:
    """Make the tables ``told`` and ``told_bad`` of what `arrivals.take` left below ``work``; the drops' numbers."""
    names = {portfolio.id, portfolio.as_of, portfolio.target.column, portfolio.treated}
    typed = ", ".join(f"{quoted(name)} {kind}" for name, kind in fields(portfolio).items() if name in names)
    connection.execute(f"CREATE TABLE told (_drop BIGINT, _line BIGINT, _raw VARCHAR[], {typed})")
    connection.execute(f"CREATE TABLE told_bad (_drop BIGINT, {BAD})")
    for table in ("told", "told_bad"):
        for path in safe.entries(work / table, "*.parquet"):
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {rows_in([path])}")
    found = connection.execute("SELECT _drop FROM told UNION SELECT _drop FROM told_bad ORDER BY _drop").fetchall()
    return [number for (number,) in found]


def join(connection: Any, portfolio: Portfolio, store: list[Path]) -> None:
    """Make the tables ``joined`` (_drop, _line, columns, target) and ``unmatched`` of what ``told`` holds.

    An outcome joins the newest row of its client and day: the last of the table ``new``, in the order in which these
    will be numbered, else the one of the ``store`` (its Parquet files) with the largest ``_row``.
    """
    names = list(fields(portfolio))
    keys = listed(dict.fromkeys(name for name in (portfolio.id, portfolio.as_of) if name))
    last = f"row_number() OVER (PARTITION BY {keys} ORDER BY _drop, _hash, {listed(names)})"
    connection.execute(
        f"CREATE TABLE base AS SELECT {listed(names)} FROM new SEMI JOIN told USING ({keys}) "
        f"QUALIFY {last} = count(*) OVER (PARTITION BY {keys})"
    )
    if store:
        table = rows_in(store)
        connection.execute(  # of the store's other columns only the rows that are needed are read
            f"CREATE TABLE newest AS SELECT max(_row) AS _row FROM {table} "
            f"SEMI JOIN (SELECT {keys} FROM told ANTI JOIN base USING ({keys})) USING ({keys}) GROUP BY {keys}"
        )
        connection.execute(f"INSERT INTO base SELECT {listed(names)} FROM {table} SEMI JOIN newest USING (_row)")
    said, before = {portfolio.target.column: f"told.{quoted(portfolio.target.column)}"}, ""
    if portfolio.treated:
        called = quoted(portfolio.treated)
        same = _said_before(connection, portfolio, store)
        said[portfolio.treated] = (
            f"coalesce(told.{called}, CASE WHEN _said AND base.{quoted(portfolio.target.column)} IS NOT NULL "
            f"THEN before.{called} ELSE base.{called} END)"
        )
        before = f"LEFT JOIN before ON {same}"
    values = ", ".join(f"{said.get(name, f'base.{quoted(name)}')} AS {quoted(name)}" for name in names)
    connection.execute(
        f"CREATE TABLE joined AS SELECT _drop, _line, {values} FROM told JOIN base USING ({keys}) {before}"
    )
    connection.execute(f"CREATE TABLE unmatched AS SELECT _drop, _line, _raw FROM told ANTI JOIN base USING ({keys})")


def _said_before(connection: Any, portfolio: Portfolio, store: list[Path]) -> str:
    """Make the table ``before`` of rows that have an outcome already which ``told`` has; SQL for which is whose.

    An outcome that says nothing of the treatment takes it from there: the same word twice is a duplicate, whatever
    was learnt of the treatment in between, unless the newest row waits for its outcome (again). Of several such rows
    the newest counts.
    """
    names, target, treated = fields(portfolio), portfolio.target.column, portfolio.treated
    keys = [name for name in (portfolio.id, portfolio.as_of) if name]
    tables = [
        "SELECT *, NULL AS _row FROM new SEMI JOIN told",
        *([f"SELECT * FROM {rows_in(store)} SEMI JOIN told"] if store else []),
    ]
    using = listed([*keys, target])
    rows = " UNION ALL ".join(f"SELECT {listed(names)}, _row FROM ({each} USING ({using}))" for each in tables)
    same = alike("row", "base", [name for name in names if name not in (target, treated)])
    each = ", ".join(f"row.{quoted(name)}" for name in [*keys, target])
    newest = f"row_number() OVER (PARTITION BY {each} ORDER BY row._row DESC NULLS FIRST) = 1"
    connection.execute(
        f"CREATE TABLE before AS SELECT row.*, true AS _said FROM ({rows}) AS row JOIN base ON {same} QUALIFY {newest}"
    )
    return alike("before", "told", [*keys, target])


def set_aside(connection: Any, number: int) -> int:
    """Make ``bad`` what cannot be taken of the ``number``-th drop, the unmatched with it, and count these."""
    here = {"number": number}
    connection.execute(
        "CREATE OR REPLACE TABLE bad AS SELECT * EXCLUDE (_drop) FROM told_bad WHERE _drop = $number", here
    )
    connection.execute(
        f"INSERT INTO bad SELECT _line, [{{'name': NULL, 'fault': {literal(UNMATCHED)}, 'value': NULL}}], _raw "
        "FROM unmatched WHERE _drop = $number",
        here,
    )
    (count,) = connection.execute("SELECT count(*) FROM unmatched WHERE _drop = $number", here).fetchone()
    return int(count)
