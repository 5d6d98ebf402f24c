# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Whose rows a drop has: one client's, found however the file writes the id, by the reader that took the file in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

from attrition.params import Portfolio
from attrition.store import fast
from attrition.store.check import Opened, as_written, empty_tables, opened, text_of
from attrition.store.engine import connect, fields, literal
from attrition.store.raw import Refused
from attrition.store.rules import FALSE, TRUE, Texts, numeral, typed

__all__ = ["BETWEEN", "among", "holds", "lines", "named"]

BETWEEN = r"[\s,;|\"]+"
"""What parts the words of a record of which there is the text alone: it is no row that could be read."""
END = 2**62
"""After the last line of any file."""
HALF = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair, which is no sign, and which DuckDB cannot be given."""


def named(portfolio: Portfolio, client: str) -> str | None:
    """An id that a person wrote, as the tables have it as a text: ``000017`` is 17 where the id is a whole number.

    None: it cannot be read as an id, as 17.4 cannot there.
    """
    with connect() as db:
        value = f"CAST({typed(portfolio, str(portfolio.id), literal(client))} AS VARCHAR)"
        (found,) = db.execute(f"SELECT CASE WHEN {_readable(portfolio, literal(client))} THEN {value} END").fetchone()
    return None if found is None else str(found)


def among(portfolio: Portfolio, client: str, texts: Iterable[str]) -> set[str]:
    """Those of some fields, of whatever columns and files, that read as the client's id."""
    asked = sorted({text for text in texts if not HALF.search(text)})
    if not asked:
        return set()
    ways = (_is(each, "trim(text)", client) for each in (portfolio, as_written(portfolio, typed=True)))
    with connect() as db:
        query = f"SELECT text FROM (SELECT unnest($1::VARCHAR[]) AS text) WHERE {' OR '.join(ways)}"
        return {text for (text,) in db.execute(query, [asked]).fetchall()}


def holds(portfolio: Portfolio, path: Path, client: str, *, anywhere: bool) -> bool:
    """Whether a row of a drop is the client's, whatever else is wrong with that row.

    ``anywhere``: where the file does not name the column of the id, look at all columns. No also of what the reader
    cannot open: of that there is the text alone.
    """
    try:
        drop = opened(portfolio, path)
        found = _quickly(drop, portfolio, path, client, anywhere=anywhere)
        return bool(lines(portfolio, path, client, anywhere=anywhere)) if found is None else found
    except Refused:
        return False


def lines(portfolio: Portfolio, path: Path, client: str, *, anywhere: bool) -> list[tuple[int, int]]:
    """The lines on which the client's records stand: of each the first, and that of the next record; as `holds`."""
    try:
        drop = opened(portfolio, path)
        with connect() as db:
            empty_tables(db, portfolio)
            drop.records.load(db)
            words = f"CASE len(raw) WHEN 1 THEN regexp_split_to_array(raw[1], {literal(BETWEEN)}) ELSE raw END"
            found_in = f"list_filter({words}, lambda _field: {_is(drop.portfolio, 'trim(_field)', client)})"
            rows = f"SELECT line, {_his(drop, Texts(), client, anywhere=anywhere)} AS his FROM raw "
            rows += f"UNION ALL SELECT line, len({found_in}) > 0 FROM bad"
            spans = f"SELECT *, lead(line, 1, {END}) OVER (ORDER BY line) AS after FROM ({rows})"
            found: list[tuple[int, int]] = db.execute(f"SELECT line, after FROM ({spans}) WHERE his").fetchall()
    except (Refused, duckdb.OutOfMemoryException):  # with so little memory it was not taken in either
        return []
    return found


def _quickly(drop: Opened, portfolio: Portfolio, path: Path, client: str, *, anywhere: bool) -> bool | None:
    """What `holds` says, of a file that DuckDB reads by itself, so that no row of it is kept; None: it is none."""
    if drop.made:
        return None
    try:
        found = fast.source(path, drop, portfolio.delimiter)
        if found is None:
            return None
        his = _his(drop, found.texts, client, anywhere=anywhere)
        with connect() as db:
            rows, his_rows = db.execute(f"SELECT count(*), count(*) FILTER ({his}) FROM {found.rows}").fetchone()
    except fast.ODD:
        return None
    return bool(his_rows) if rows == found.records else None


def _his(drop: Opened, known: Texts, client: str, *, anywhere: bool) -> str:
    """SQL for whether a row (line, c0, c1 …) is the client's."""
    name = str(drop.portfolio.id)
    if name in drop.header or drop.made or not anywhere:
        return _is(drop.portfolio, text_of(drop, name, known), client)
    return " OR ".join(_is(drop.portfolio, f"trim(c{place})", client) for place in range(len(drop.header)))


def _is(portfolio: Portfolio, text: str, client: str) -> str:
    """SQL for whether a text reads as the client's id; of a row that cannot be taken too: 17.0 is 17, 17.4 is not."""
    value = f"CAST({typed(portfolio, str(portfolio.id), text)} AS VARCHAR)"
    return f"({value} = {literal(client)} AND {_whole(portfolio, text)})"


def _readable(portfolio: Portfolio, text: str) -> str:
    """SQL for whether a text has the form of an id; of some types `typed` reads any."""
    kind = portfolio.columns[str(portfolio.id)].type
    if kind == "boolean":
        return f"lower({text}) IN ({', '.join(map(literal, (*TRUE, *FALSE)))})"
    if kind == "number":
        return f"({numeral(portfolio, text)} AND isfinite({typed(portfolio, str(portfolio.id), text)}))"
    return _whole(portfolio, text)


def _whole(portfolio: Portfolio, text: str) -> str:
    """SQL for whether reading a text as an id rounds nothing, and passes over no point: 17.0 is not 170."""
    name = str(portfolio.id)
    if fields(portfolio)[name] != "BIGINT":
        return "true"
    number = portfolio.columns[name].model_copy(update={"type": "number"})
    exact = portfolio.model_copy(update={"columns": {**portfolio.columns, name: number}})
    return f"({numeral(portfolio, text)} AND {typed(portfolio, name, text)} = {typed(exact, name, text)})"
