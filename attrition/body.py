"""The body of a prediction request: JSON or CSV to rows that hold what the portfolio says, or all that is wrong.

A row is a mapping from column to value: numbers, booleans, text, None where it is missing. Problems
name the row (counted from 0) and the field, never the value.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Collection, Iterator
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from attrition.params import Column, Portfolio

__all__ = ["MOST_BYTES", "MOST_PROBLEMS", "MOST_ROWS", "Refused", "rows"]

MOST_BYTES = 10 * 1024 * 1024
MOST_ROWS = 10_000
MOST_PROBLEMS = 100
LONGEST = 1000
"""Signs in one text or category."""

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
WHOLE = re.compile(r"[+-]?[0-9]{1,300}")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
BEYOND = 2**63  # a whole number that the answer could not hold as an id

Check = Callable[[Any], str | None]


class Refused(ValueError):
    """A request that gets no answer. ``status`` is HTTP's, ``problems`` has a mapping for each fault in a row."""

    def __init__(self, status: int, detail: str, problems: list[dict[str, Any]] | None = None):
        self.status, self.detail, self.problems = status, detail, problems or []
        super().__init__(detail)


def rows(body: bytes, media_type: str, portfolio: Portfolio, required: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a body, of which ``required`` are the columns that the model needs.

    Raises:
        Refused: 400 it cannot be read, 413 it is too large, 415 neither JSON nor CSV, 422 rows are wrong.
    """
    if len(body) > MOST_BYTES:
        raise Refused(413, f"a request has at most {MOST_BYTES} bytes: send the rows in several")
    if media_type == "application/json":
        found, malformed = _from_json(body)
    elif media_type == "text/csv":
        found, malformed = _from_csv(body, portfolio), None
    else:
        raise Refused(415, "send application/json (a record or a list of records) or text/csv (with a header row)")
    if not found:
        raise Refused(422, "there is no row: send at least one")
    problems = list(islice(_problems(found, portfolio, required), MOST_PROBLEMS))
    if problems:
        raise Refused(422, _told(problems), problems)
    if malformed:
        raise Refused(400, malformed)
    return found


def _told(problems: list[dict[str, Any]]) -> str:
    if len(problems) == MOST_PROBLEMS:
        return f"fields are wrong; the first {MOST_PROBLEMS} are in errors"
    return f"fields are wrong: {len(problems)}; see errors"


class _Unread(NamedTuple):
    """What stands in the place of a row that is none."""

    problem: str


def _from_json(body: bytes) -> tuple[list[Any], str | None]:
    """The records, and what is wrong with the document where only the forgiving decoder could read it."""
    malformed = None
    try:
        given = msgspec.json.decode(body)
    except RecursionError:
        raise Refused(400, "the JSON is nested too deeply: a record is flat") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        malformed = "the body is not JSON: send a record, or a list of records"
        try:
            given = json.loads(body)  # it takes NaN and 1e400, so that their rows can be named
        except (ValueError, RecursionError):
            raise Refused(400, malformed) from None
    records = _limited(given if isinstance(given, list) else [given])
    return [each if isinstance(each, dict) else _Unread("not a record") for each in records], malformed


def _from_csv(body: bytes, portfolio: Portfolio) -> list[Any]:
    try:
        text = io.StringIO(body.decode("utf-8-sig"), newline="")
        lines = filter(None, csv.reader(text, delimiter=portfolio.delimiter, strict=True))
        header = next(lines, [])
        records = _limited(list(islice(lines, MOST_ROWS + 1)))
    except UnicodeDecodeError:
        raise Refused(400, "the CSV is not UTF-8") from None
    except csv.Error:
        raise Refused(400, f"the CSV cannot be read: its fields are separated by {portfolio.delimiter!r}") from None
    if len(set(header)) < len(header):
        raise Refused(422, "the header names a column twice")
    types = [portfolio.columns[name].type if name in portfolio.columns else "text" for name in header]

    def row(record: list[str]) -> dict[str, Any] | _Unread:
        if len(record) != len(header):
            return _Unread(f"{len(record)} fields where the header has {len(header)}")
        return {name: _value(kind, text) for name, kind, text in zip(header, types, record, strict=True)}

    return [row(record) for record in records]


def _limited(records: list[Any]) -> list[Any]:
    if len(records) > MOST_ROWS:
        raise Refused(413, f"a request has at most {MOST_ROWS} rows: send them in several")
    return records


def _value(kind: str, text: str) -> Any:
    """A CSV field as JSON would send it; text that is no such value stays text, for the check to find."""
    if text == "":
        return None
    if kind in ("integer", "number") and NUMBER.fullmatch(text):
        return int(text) if WHOLE.fullmatch(text) else float(text)
    if kind == "boolean":
        return BOOLEANS.get(text.lower(), text)
    return text


def _problems(found: list[Any], portfolio: Portfolio, required: Collection[str]) -> Iterator[dict[str, Any]]:
    """Each fault: row by row, and in a row by column."""
    columns = portfolio.columns
    checks = {name: _check(column) for name, column in columns.items()}
    needed = {name for name in required if not columns[name].nullable}
    for number, row in enumerate(found):
        if isinstance(row, _Unread):
            yield {"row": number, "field": None, "problem": row.problem}
            continue
        for name, check in checks.items():
            value = row.get(name)
            problem = check(value) if value is not None else "missing" if name in needed else None
            if problem:
                yield {"row": number, "field": name, "problem": problem}
        for name in sorted(row.keys() - columns.keys()):
            yield {"row": number, "field": name[:64], "problem": "unknown column"}


def _check(column: Column) -> Check:
    """What is wrong with a value that is there; None where nothing is."""
    if column.type in ("integer", "number"):
        return _number(column)
    if column.type == "boolean":
        return lambda value: None if type(value) in (bool, int) and value in (0, 1) else "not true or false"
    if column.type == "date":
        return _date
    return _text(column)


def _number(column: Column) -> Check:
    least = -math.inf if column.min is None else column.min
    most = math.inf if column.max is None else column.max
    whole = column.type == "integer"

    def check(value: Any) -> str | None:
        if type(value) not in (int, float):
            return "not a number"
        if isinstance(value, float) and not math.isfinite(value):
            return "not finite"
        if whole and value != value // 1:
            return "not a whole number"
        if abs(value) >= BEYOND and (whole or isinstance(value, int)):
            return "a whole number of more than 63 bits"
        if value < least:
            return f"below {least:g}"
        return f"above {most:g}" if value > most else None

    return check


def _text(column: Column) -> Check:
    category, allowed = column.type == "category", column.values

    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return "not text"
        if len(value) > LONGEST:
            return f"longer than {LONGEST} signs"
        if category and not value:
            return "empty: send null where it is missing"
        return "not one of the values allowed" if allowed is not None and value not in allowed else None

    return check


def _date(value: Any) -> str | None:
    try:
        if DATE.fullmatch(value):
            date.fromisoformat(value)
            return None
    except (TypeError, ValueError):
        pass
    return "not a date: YYYY-MM-DD"
