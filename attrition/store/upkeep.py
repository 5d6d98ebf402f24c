# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""What keeps a table quick however many ticks have added to it: few files, a short log, sorted hashes beside.

Each call does a bounded piece of it, after a tick's last commit; a tick that is killed in it has lost nothing, and the
next call goes on. Only the runner calls it, under the portfolio's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrition.params import Portfolio
from attrition.store import delta, hashes
from attrition.store.buckets import stats
from attrition.store.clients import SCORES, score_stats
from attrition.store.delta import InTable
from attrition.store.engine import OWN, Room, connect, fields, literal, rows_in

__all__ = ["BUDGET", "MANY", "keep_up"]

BUDGET = 2_000_000
"""Rows that one call writes anew."""

MANY = 16
"""Files of one size before they become one."""

SIZES = (4_096, 65_536, 1_000_000)
"""Rows below which a file is of the first size, the second, the third; larger ones stay as they are."""

ROOM = Room("256MB", 2)


def keep_up(portfolio: Portfolio, clients: Path, scores: Path, *, budget: int = BUDGET, many: int = MANY) -> int:
    """Do what is due in the tables of a portfolio; how many files became fewer.

    Of ``many`` files of one size one is made, so that a row is written anew three times in its life at most.

    Raises:
        StoreError: a table cannot be read, or another process has changed it meanwhile.
    """
    merged = 0
    for folder, columns, order in (
        (clients, {**fields(portfolio), **OWN}, "_row"),
        (scores, SCORES, "data_version, _row"),
    ):
        table = delta.open_table(folder, columns)
        if table is None:
            continue
        chosen = _chosen(delta.parts(folder, table), budget, many)
        if chosen:
            target = folder / f"compact-{table.version() + 1:06d}.parquet"
            _merge(chosen, order, target)
            if folder == clients:
                with connect(ROOM) as connection:
                    _, found = stats(connection, portfolio, target)
            else:
                found = score_stats(target)
            delta.replace(folder, table, chosen, target, found)
            merged += len(chosen)
            table = delta.open_table(folder, columns)
        if table is not None:
            delta.clean(folder, table)
            if folder == clients:
                hashes.make(delta.files(folder, table))
                hashes.drop_others(folder, delta.files(folder, table))
    return merged


def _chosen(parts: Sequence[InTable], budget: int, many: int) -> list[Path]:
    """The oldest files of the smallest size of which there are many, as far as the budget goes."""
    low = 0
    for high in SIZES:
        like = [part for part in parts if part.rows is not None and low <= part.rows < high]
        like.sort(key=lambda part: part.bounds.get("min._row", part.bounds.get("min.data_version", 0)))
        low = high
        if len(like) < many:
            continue
        chosen: list[Path] = []
        rows = 0
        for part in like:
            rows += part.rows or 0
            if rows > budget and len(chosen) > 1:
                break
            if rows > budget:  # a large one before small ones is left as it is
                chosen, rows = [], part.rows or 0
            chosen.append(part.path)
        if len(chosen) > 1:
            return chosen
    return []


def _merge(parts: Sequence[Path], order: str, target: Path) -> None:
    beside = target.with_name(f".{target.name}")  # a name that no reader looks at
    with connect(ROOM, target.with_name(f".{target.name}.spilt")) as connection:
        connection.execute(
            f"COPY (SELECT * FROM {rows_in(parts)} ORDER BY {order}) "
            f"TO {literal(beside)} (FORMAT parquet, COMPRESSION zstd)"
        )
    beside.replace(target)
