"""The body of a prediction request: records, columns or CSV to the columns that the model reads, or all that is wrong.

A body that is right is decoded at once into the portfolio's types. Only one that is wrong is read again,
value by value, to name every fault: the row (counted from 0) and the field, never the value.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, NamedTuple

import msgspec

from attrition import schema
from attrition.params import Portfolio

__all__ = ["MOST_BYTES", "MOST_PROBLEMS", "MOST_ROWS", "Reader", "Refused", "Rows"]

MOST_BYTES = 10 * 1024 * 1024
MOST_ROWS = 10_000
MOST_PROBLEMS = 100

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
WHOLE = re.compile(r"[+-]?[0-9]{1,300}")
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
NOT_JSON = "the body is not JSON: send a record, a list of records, or columns"

Fault = dict[str, Any]


class Refused(ValueError):
    """A request that gets no answer. ``status`` is HTTP's, ``problems`` has a mapping for each fault in a row."""

    def __init__(self, status: int, detail: str, problems: list[Fault] | None = None):
        self.status, self.detail, self.problems = status, detail, problems or []
        super().__init__(detail)


class Rows(NamedTuple):
    """Rows as columns: the values of each field, None where missing, and whether they were sent that way."""

    columns: dict[str, Sequence[Any]]
    size: int
    columnar: bool = False


class Reader:
    """Reads the bodies of one portfolio. Safe to share between threads.

    ``required`` are the columns that the model needs.
    """

    def __init__(self, portfolio: Portfolio, required: Collection[str]):
        self._fields = {field.name: field for field in schema.fields(portfolio, required)}
        self._from_text = {name: _from_text(column.type, portfolio) for name, column in portfolio.columns.items()}
        self._delimiter = portfolio.delimiter
        self._table = schema.table(self._fields.values())
        record = schema.record(self._fields.values())
        self._one, self._many = msgspec.json.Decoder(record), msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        self._columns = msgspec.json.Decoder(self._table)
        self._explaining = threading.Lock()  # so that the memory of reading a wrong body anew is needed once

    def read(self, data: bytes, media_type: str) -> Rows:
        """The rows of a body.

        Raises:
            Refused: 400 it cannot be read, 413 it is too large, 415 neither JSON nor CSV, 422 rows are wrong.
        """
        if len(data) > MOST_BYTES:
            raise Refused(413, f"a request has at most {MOST_BYTES} bytes: send the rows in several")
        if media_type not in ("application/json", "text/csv"):
            raise Refused(415, "send application/json (a record, a list of records, columns) or text/csv")
        # Each value ends in a separator: counting them bounds what decoding takes, whatever the body is made of.
        separator, most = (
            "," if media_type == "application/json" else self._delimiter,
            MOST_ROWS * (len(self._fields) + 1),
        )
        if len(data) > 2 * most and data.count(separator.encode()) > most:
            raise Refused(413, "the request has more fields than its rows can have: send the rows in several")
        rows = self._json(data) if media_type == "application/json" else self._csv(data)
        if not rows.size:
            raise Refused(422, "there is no row: send at least one")
        return rows

    def _json(self, data: bytes) -> Rows:
        try:
            if data[:64].lstrip()[:1] == b"[":
                return self._of_records(self._many.decode(data))
            try:
                return self._of_records([self._one.decode(data)])
            except msgspec.ValidationError:
                return self._of_table(self._columns.decode(data))
        except MALFORMED:
            with self._explaining:
                raise self._explained(data) from None

    def _of_records(self, records: list[Any]) -> Rows:
        _limited(len(records))
        if not records:
            return Rows({}, 0)
        values = zip(*map(msgspec.structs.astuple, records), strict=True)
        return Rows(dict(zip(self._fields, values, strict=True)), len(records))

    def _of_table(self, table: Any) -> Rows:
        columns = dict(zip(self._fields, msgspec.structs.astuple(table), strict=True))
        lengths = {len(values) for values in columns.values() if values is not None}
        if len(lengths) > 1:
            raise Refused(422, "the columns differ in length")
        count = lengths.pop() if lengths else 0
        _limited(count)
        whole = {name: [None] * count if values is None else values for name, values in columns.items()}
        return Rows(whole, count, columnar=True)

    def _csv(self, data: bytes) -> Rows:
        try:
            text = io.StringIO(data.decode("utf-8-sig"), newline="")
            lines = filter(None, csv.reader(text, delimiter=self._delimiter, strict=True))
            header, records = next(lines, []), list(islice(lines, MOST_ROWS + 1))
        except UnicodeDecodeError:
            raise Refused(400, "the CSV is not UTF-8") from None
        except csv.Error:
            raise Refused(400, f"the CSV cannot be read: its fields are separated by {self._delimiter!r}") from None
        if len(set(header)) < len(header):
            raise Refused(422, "the header names a column twice")
        _limited(len(records))
        if not records:
            return Rows({}, 0)
        if set(header) <= self._fields.keys() and all(len(record) == len(header) for record in records):
            read = [self._from_text[name] for name in header]
            columns = [[*map(one, texts)] for one, texts in zip(read, zip(*records, strict=True), strict=True)]
            with suppress(msgspec.ValidationError):
                table = msgspec.convert(dict(zip(header, columns, strict=True)), self._table)
                return self._of_table(table)._replace(columnar=False)
        with self._explaining:
            rows = (self._row(header, record) for record in records)
            _complain(chain(self._faults_of_names(header), self._faults(rows, header)))
        raise AssertionError("a CSV that cannot be converted has a fault")

    def _row(self, header: list[str], record: list[str]) -> Any:
        """A line of a CSV as a record of the columns that are known, or what is wrong with the whole of it."""
        if len(record) != len(header):
            return f"{len(record)} fields where the header has {len(header)}"
        named = zip(header, record, strict=True)
        return {name: self._from_text[name](text) for name, text in named if name in self._fields}

    def _explained(self, data: bytes) -> Refused:
        """Why a JSON body is refused, having been read by a decoder that forgives NaN and 1e400."""
        try:
            given = json.loads(data)
        except (ValueError, RecursionError):
            return Refused(400, NOT_JSON)
        try:
            if isinstance(given, dict) and any(isinstance(value, list) for value in given.values()):
                self._explain_table(given)
            else:
                records = given if isinstance(given, list) else [given]
                _limited(len(records))
                _complain(self._faults(records))
        except Refused as refused:
            return refused
        return Refused(400, NOT_JSON)

    def _explain_table(self, given: dict[str, Any]) -> None:
        no_lists = [
            {"row": None, "field": _shown(name), "problem": "not a list"}
            for name, values in given.items()
            if not isinstance(values, list)
        ]
        _complain(chain(no_lists, self._faults_of_names(given) if no_lists else ()))
        if len({len(values) for values in given.values()}) > 1:
            raise Refused(422, "the columns differ in length")
        known = {name: values for name, values in given.items() if name in self._fields}
        records = (dict(zip(known, values, strict=True)) for values in zip(*known.values(), strict=True))
        _complain(chain(self._faults_of_names(given), self._faults(records, known)))

    def _faults_of_names(self, names: Collection[str]) -> Iterator[Fault]:
        """Columns that a table has and should not, and that it lacks."""
        for name in names:
            if name not in self._fields:
                yield {"row": None, "field": _shown(name), "problem": "unknown column"}
        for name, field in self._fields.items():
            if field.needed and name not in names:
                yield {"row": None, "field": name, "problem": "missing"}

    def _faults(self, records: Iterable[Any], names: Collection[str] | None = None) -> Iterator[Fault]:
        """Each fault, row by row and in a row by column, of the columns ``names``; None: of all.

        A record that is a text is what is wrong with it.
        """
        fields = [field for name, field in self._fields.items() if names is None or name in names]
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                said = record if isinstance(record, str) and names is not None else "not a record"
                yield {"row": row, "field": None, "problem": said}
                continue
            for field in fields:
                value = record.get(field.name)
                if value is None:
                    if field.needed:
                        yield {"row": row, "field": field.name, "problem": "missing"}
                elif not _is(value, field.type):
                    yield {"row": row, "field": field.name, "problem": f"expected {field.words}"}
            for name in sorted(record.keys() - self._fields.keys()):
                yield {"row": row, "field": _shown(name), "problem": "unknown column"}


def _complain(faults: Iterable[Fault]) -> None:
    """Refuse where there are faults, naming the first hundred."""
    found = list(islice(faults, MOST_PROBLEMS))
    if len(found) == MOST_PROBLEMS:
        raise Refused(422, f"fields are wrong; the first {MOST_PROBLEMS} are in errors", found)
    if found:
        raise Refused(422, f"fields are wrong: {len(found)}; see errors", found)


def _limited(count: int) -> None:
    if count > MOST_ROWS:
        raise Refused(413, f"a request has at most {MOST_ROWS} rows: send them in several")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):  # half a character: "\\ud800"
        return False
    return True


def _shown(name: str) -> str:
    """The beginning of a column's name, such that it can be sent: JSON may hold halves of characters."""
    return name[:64].encode(errors="replace").decode()


def _from_text(kind: str, portfolio: Portfolio) -> Callable[[str], Any]:
    """Reads a CSV field as JSON would send it; text that is no such value stays text, for the types to refuse."""
    if kind in ("integer", "number"):
        return _number if (portfolio.decimal, portfolio.thousands) == (".", None) else _local_number(portfolio)
    if kind == "boolean":
        return lambda text: BOOLEANS.get(text.lower(), text or None)
    return lambda text: text or None


def _local_number(portfolio: Portfolio) -> Callable[[str], Any]:
    """Reads a number as the portfolio's files write it, with its decimal sign and thousands."""
    point, between = re.escape(portfolio.decimal), re.escape(portfolio.thousands or "")
    groups = rf"[0-9]{{1,3}}({between}[0-9]{{3}})+|" if between else ""
    local = re.compile(rf"[+-]?(({groups}[0-9]+)({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?")

    def number(text: str) -> Any:
        if not local.fullmatch(text):
            return text or None
        plain = text.replace(portfolio.thousands, "") if portfolio.thousands else text
        return _number(plain.replace(portfolio.decimal, "."))

    return number


def _number(text: str) -> Any:
    if not NUMBER.fullmatch(text):
        return text or None
    value = int(text) if WHOLE.fullmatch(text) else float(text)
    return value if math.isfinite(value) else text
