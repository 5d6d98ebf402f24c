# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""One drop, checked: typed rows in the table ``good``, what cannot be taken in ``bad``, row by row with its reason.

What a value may be, `rules` says; here rows are sorted by it, so many at a time as memory is meant to hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attrition import safe
from attrition.params import Portfolio
from attrition.store import headers
from attrition.store.engine import fields, listed, literal, quoted
from attrition.store.raw import Readable, Refused
from attrition.store.reading import open_drop
from attrition.store.rules import Texts, fault, good, typed

__all__ = [
    "BAD",
    "BadRow",
    "Checked",
    "Opened",
    "accounted",
    "as_written",
    "bad_rows",
    "check",
    "empty_tables",
    "opened",
    "reasons",
    "refuse",
    "sorted_out",
    "tell_faults",
    "text_of",
]

SHOWN = 80
"""Signs of a value that a fault is told with."""
FIELDS, BYTES = 2**19, 2**24
"""Of a drop that are judged at a time, as far as they make up whole rows: faults take far more room than fields."""
AT_ONCE = 2**18
"""Fields of bad rows that Python has at a time, likewise."""
TOLD = 20
"""Faults of a row that a person is told; all are counted."""
BAD = "line BIGINT, faults STRUCT(name VARCHAR, fault VARCHAR, value VARCHAR)[], raw VARCHAR[]"
SPACES = " \t\n\r\v\f\u00a0"


@dataclass(frozen=True)
class Checked:
    """What became of one drop: its data records, notes for a person, and why nothing of it was taken (or None).

    ``outcomes``: it has no features, only outcomes of rows that came before.
    """

    rows: int
    notes: tuple[str, ...] = ()
    refused: str | None = None
    outcomes: bool = False


@dataclass(frozen=True)
class Opened:
    """A drop with its header, before a row of it is read.

    ``header`` is in the YAML's letters, ``portfolio`` what this file is held to, ``outcomes`` as in `Checked`, and
    ``misfit`` why nothing of it can be taken (None: it can). ``made`` is SQL for the id of a ``line`` where no column
    holds it (None: one does).
    """

    records: Readable
    header: list[str]
    portfolio: Portfolio
    outcomes: bool
    misfit: str | None
    made: str | None


@dataclass(frozen=True)
class BadRow:
    """A record that cannot be taken: the line it starts on, why, and its fields as they stood."""

    line: int
    reason: str
    raw: list[str | None]


def check(connection: Any, portfolio: Portfolio, path: Path) -> Checked:
    """Read and check one drop into the tables ``good`` (_line, _raw, columns, target) and ``bad`` of ``connection``.

    Of a drop that brings outcomes alone ``good`` has the columns id, as_of, treated (if given) and target only, and
    in ``_raw`` the fields as they stood; of others that is NULL. A file of which nothing can be taken leaves both
    empty and says so in ``refused``; no content of a file raises.
    """
    empty_tables(connection, portfolio)
    try:
        drop = opened(portfolio, path)
        if drop.outcomes:
            empty_tables(connection, drop.portfolio)
        if drop.misfit:
            return Checked(drop.records.count(), refused=drop.misfit)
        drop.records.load(connection)
    except Refused as refused:
        empty_tables(connection, portfolio)
        return Checked(0, refused=str(refused))
    _validate(connection, drop)
    return accounted(connection, drop)


def refuse(connection: Any, portfolio: Portfolio, path: Path, why: str) -> Checked:
    """Take nothing of a drop of which `check` could not be done."""
    empty_tables(connection, portfolio)
    return Checked(opened(portfolio, path).records.count(), refused=why)


def opened(portfolio: Portfolio, path: Path) -> Opened:
    """Read the header of a drop and hold it to the portfolio.

    Raises:
        Refused: nothing can be taken of the file.
    """
    records = open_drop(path, portfolio.delimiter, fields(portfolio))
    header = headers.named(portfolio, records.header)
    portfolio = as_written(portfolio, typed=records.typed)
    outcomes = _brings_outcomes_alone(portfolio, header)
    if outcomes:
        portfolio = _outcomes_alone(portfolio, header)
    return Opened(records, header, portfolio, outcomes, headers.misfit(portfolio, header), _made(portfolio, path))


def accounted(connection: Any, drop: Opened) -> Checked:
    """What to say of a drop whose rows are in ``good`` and ``bad``."""
    target = quoted(drop.portfolio.target.column)
    asked = f"SELECT count(*) + (SELECT count(*) FROM bad), min({target}), max({target}) FROM good"
    rows, low, high = connection.execute(asked).fetchone()  # ``good`` may be many files: they are opened once
    return Checked(rows, tuple(_notes(drop, rows, low, high)), outcomes=drop.outcomes)


def bad_rows(connection: Any) -> Iterator[BadRow]:
    """The records of the last check that cannot be taken, by line."""
    # The lines alone are sorted: DuckDB cannot put lists that it sorts into a file when its memory is full.
    lines = connection.execute("SELECT line FROM bad ORDER BY line").fetchnumpy()["line"].tolist()
    (most,) = connection.execute("SELECT max(len(raw)) FROM bad").fetchone()
    step = max(1, AT_ONCE // (most or 1))
    for first in range(0, len(lines), step):
        bounds = [lines[first], lines[min(first + step, len(lines)) - 1]]
        told = f"SELECT line, faults[:{TOLD}], len(faults), raw FROM bad WHERE line BETWEEN $1 AND $2 ORDER BY line"
        for line, faults, count, raw in connection.execute(told, bounds).fetchall():
            more = [f"and {count - TOLD} more"] if count > TOLD else []
            yield BadRow(line, "; ".join([*map(_said, faults), *more]), raw)


def reasons(connection: Any) -> dict[str, int]:
    """How often each fault occurs in the last check, most frequent first; a row with two faults counts for both."""
    found = connection.execute(
        "SELECT concat_ws(': ', f.name, f.fault) AS reason, count(*) AS times "
        "FROM (SELECT unnest(faults) AS f FROM bad) GROUP BY reason ORDER BY times DESC, reason"
    )
    return dict(found.fetchall())


def empty_tables(connection: Any, portfolio: Portfolio) -> None:
    """Make ``good`` and ``bad`` anew, without a row."""
    typed = ", ".join(f"{quoted(name)} {kind}" for name, kind in fields(portfolio).items())
    connection.execute(f"CREATE OR REPLACE TABLE good (_line BIGINT, _raw VARCHAR[], {typed})")
    connection.execute(f"CREATE OR REPLACE TABLE bad ({BAD})")


def _brings_outcomes_alone(portfolio: Portfolio, header: list[str]) -> bool:
    """Whether a file with this header has outcomes of a client and day, and no feature."""
    key = {portfolio.id, portfolio.as_of, portfolio.target.column}
    return key <= set(header) and not set(portfolio.features) & set(header)


def _outcomes_alone(portfolio: Portfolio, header: list[str]) -> Portfolio:
    """The portfolio as a file of outcomes is held to it: no other columns, and an outcome in each row."""
    names = [name for name in portfolio.columns if name in {portfolio.id, portfolio.as_of}]
    columns = {name: portfolio.columns[name] for name in names}
    if portfolio.treated in header:  # an empty field leaves what is known of the treatment as it is
        columns[portfolio.treated] = portfolio.columns[portfolio.treated].model_copy(update={"nullable": True})
    target = portfolio.target.model_copy(update={"unlabelled": "quarantine"})
    return portfolio.model_copy(update={"columns": columns, "target": target})


def as_written(portfolio: Portfolio, *, typed: bool) -> Portfolio:
    """The portfolio as a file is held to it: where numbers are numbers, their text has a point and no groups."""
    return portfolio.model_copy(update={"decimal": ".", "thousands": None}) if typed else portfolio


def _notes(drop: Opened, rows: int, low: int | None, high: int | None) -> Iterator[str]:
    yield from headers.notes(drop.portfolio, drop.header)
    if rows == 0:
        yield "no rows"
    if low is not None and low == high:
        yield f"every outcome is {low}"


def _validate(connection: Any, drop: Opened) -> None:
    """Sort the rows of ``raw`` into ``good`` and ``bad``."""
    columns = f"_line, {'_raw' if drop.outcomes else 'NULL'}, {listed(fields(drop.portfolio))}"
    for rows in _slices(connection, drop):
        connection.execute(f"CREATE OR REPLACE TABLE checked AS {_judged(drop, rows, Texts())}")
        connection.execute("INSERT INTO bad SELECT _line, _faults, _raw FROM checked WHERE _faults IS NOT NULL")
        connection.execute(f"INSERT INTO good SELECT {columns} FROM checked WHERE _faults IS NULL")
        connection.execute("DROP TABLE checked")
    connection.execute("DROP TABLE raw")


def tell_faults(connection: Any, drop: Opened, known: Texts) -> None:
    """Put the rows of ``raw``, which all have faults, into ``bad``."""
    for rows in _slices(connection, drop):
        connection.execute(f"INSERT INTO bad SELECT _line, _faults, _raw FROM ({_judged(drop, rows, known)})")
    connection.execute("DROP TABLE raw")


def _slices(connection: Any, drop: Opened) -> Iterator[str]:
    """SQL for the rows of ``raw``, so many at a time that they can be judged in little memory."""
    lengths = ", ".join(f"strlen(c{place})" for place in range(len(drop.header)))
    rows, signs = connection.execute(f"SELECT count(*), sum(list_sum([{lengths}])) FROM raw").fetchone()
    fields_of_one = len(drop.header) + len(fields(drop.portfolio))
    step = max(1, min(FIELDS // fields_of_one, rows * BYTES // max(int(signs or 0), 1)))
    for first in range(0, rows, step):
        yield f"(SELECT * FROM raw WHERE rowid BETWEEN {first} AND {first + step - 1})"


def _judged(drop: Opened, source: str, known: Texts) -> str:
    """SQL for the rows of ``source`` (line, c0, c1 …, all text), each taken or with its faults.

    Its columns are those of `sorted_out`, and ``_faults`` (NULL: none).
    """
    faults = (
        f"{{'name': {literal(name)}, 'fault': {fault(drop.portfolio, name, text)}, 'value': left({text}, {SHOWN})}}"
        for name, text in _texts(drop)
    )
    listing = f"list_filter([{', '.join(faults)}], lambda _fault: _fault.fault IS NOT NULL)"
    return f"SELECT *, CASE WHEN _bad THEN {listing} END AS _faults FROM ({sorted_out(drop, source, known)})"


def sorted_out(drop: Opened, source: str, known: Texts) -> str:
    """SQL for the rows of ``source`` (line, c0, c1 …, all text), each to be taken or ``_bad``.

    Its columns are ``_line``, ``_raw`` (the fields as they stand, of a bad row or of outcomes alone), the portfolio's
    columns and target in their types, ``_bad``, and the texts that those were read from (``_t0`` …).
    """
    portfolio, texts = drop.portfolio, _texts(drop)
    read = ", ".join(f"{text_of(drop, name, known)} AS {text}" for name, text in texts)
    values = ", ".join(f"{typed(portfolio, name, text)} AS {quoted(name)}" for name, text in texts)
    holds = " AND ".join(good(portfolio, name, text, known) for name, text in texts)
    places = range(len(drop.header))
    kept = ", ".join(f"c{place} AS _c{place}" for place in places)  # a column may be called c0
    raw = ", ".join(f"_c{place}" for place in places)
    said = ", ".join(f"coalesce(_c{place}, '')" for place in places) if known.nulls else raw
    return (
        f"SELECT * EXCLUDE ({raw}), CASE WHEN {'true' if drop.outcomes else '_bad'} THEN [{said}] END AS _raw "
        f"FROM (SELECT *, NOT coalesce({holds}, false) AS _bad FROM (SELECT *, {values} "
        f"FROM (SELECT line AS _line, {kept}, {read} FROM {source})))"
    )


def _texts(drop: Opened) -> list[tuple[str, str]]:
    """The columns, each with the name of what it is read from."""
    return [(name, f"_t{place}") for place, name in enumerate(fields(drop.portfolio))]


def _made(portfolio: Portfolio, path: Path) -> str | None:
    """SQL for the id that a line is given: the file's name, of its content as much as tells it apart, and the line.

    So the same file again brings the same clients, and another file of the same name brings others.
    """
    if portfolio.id is None or not portfolio.columns[portfolio.id].made:
        return None
    stem = path.name.partition(".")[0][:40].encode(errors="replace").decode()
    return f"{literal(f'{stem}-{safe.sha256(path)[:8]}:')} || line"


def text_of(drop: Opened, name: str, known: Texts) -> str:
    """SQL for a field without the spaces around it; NULL if it is missing."""
    if name not in drop.header:
        return drop.made if drop.made and name == drop.portfolio.id else "CAST(NULL AS VARCHAR)"
    field, column = f"c{drop.header.index(name)}", drop.portfolio.columns.get(name)
    text = field if known.tight else f"trim({field}, {literal(SPACES)})"
    if column and column.empty == "text":
        return f"coalesce({text}, '')" if known.nulls else text
    return text if known.nulls and known.tight else f"nullif({text}, '')"


def _said(found: dict[str, str | None]) -> str:
    """One fault for a person, with the value that has it."""
    name, what, value = found["name"], found["fault"], found["value"]
    if name is None:
        return str(what)
    return f"{name}: {what}" if value is None else f"{name}: {value!r} is {what}"
