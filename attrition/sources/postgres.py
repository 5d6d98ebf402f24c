"""A query of a PostgreSQL server: what lies above its watermark, and an overlap below it read again.

All of one fetch is one read-only transaction on one snapshot. The server itself writes every value as text, so that it
is held to the same rules as a file. Whether anything is new it says by one row: how many rows there are above the
watermark's overlap, and the sum of their hashes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attrition import secret
from attrition.params import Source
from attrition.sources.landing import Landing, SourceError

__all__ = ["fetch"]

SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL DateStyle = 'ISO'",
    "SET LOCAL TimeZone = 'UTC'",
    # Or the query of a fetch that is over (its deadline, a signal, a kill) goes on at the server, and the next tick
    # begins another. Servers before 14, and some that are not on Linux, know nothing of it.
    "SELECT set_config(name, '2s', true) FROM pg_settings"
    " WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'",
)
TIMES = ("date", "timestamp without time zone", "timestamp with time zone")
NUMBERS = ("smallint", "integer", "bigint", "numeric")
SAID = re.compile(
    r"ERROR: (.*?)(?: LINE [0-9]+:| HINT:| DETAIL:| Query was:|\. SQLSTATE|$)"
)  # the server's own sentence
NO_DOOR = {
    "password": "it refuses the password",
    "authentication": "it refuses the user",
    "does not exist": "it has no such database or user",
    "refused": "nothing listens there",
    "translate host": "there is no such host",
    "timeout": "it does not answer",
    "starting up": "it is just starting",
}


def fetch(source: Source, landing: Landing) -> None:
    """Land what is new as one drop of Parquet; nothing where nothing is.

    Raises:
        SourceError: the driver or the connection string is missing, the server cannot be reached, refuses the query,
            or went away in the middle.
    """
    if landing.waits():
        return
    address = secret.read(source.postgres or "")
    if address is None:
        raise SourceError(f"the environment has no {source.postgres}: set it to the connection string")
    dbapi = _driver()
    try:
        connection = dbapi.connect(address)
    except Exception as error:
        raise SourceError(f"the server behind {source.postgres} lets nobody in: {_why(error)}") from None
    try:
        with connection, connection.cursor() as cursor:
            _Reading(source, cursor).fetch(landing)
    except (dbapi.Error, _Broken) as error:
        raise SourceError(_said(error, source.postgres or "", address)) from None


class _Broken(Exception):
    """The rows ended before their end; the text is the driver's."""


class _Reading:
    """One fetch: the columns of the query, the type of its watermark, and what is asked of it."""

    def __init__(self, source: Source, cursor: Any):
        self._source, self._cursor = source, cursor
        query = (source.query or "").strip().rstrip(";")
        self._row, self._from = "q", f"FROM (\n{query}\n) AS q"
        self._query = hashlib.sha256(f"{query}\0{source.watermark}".encode()).hexdigest()
        for setting in SETTINGS:
            cursor.execute(setting)
        cursor.execute(f"SELECT * {self._from} LIMIT 0")
        self._columns = [column[0] for column in cursor.description]
        cursor.fetchall()
        while self._row in self._columns:  # then it would be that column, and no more the row
            self._row += "_"
        self._from = f"FROM (\n{query}\n) AS {self._row}"
        self._type = self._watermark_type()

    def fetch(self, landing: Landing) -> None:
        mark = landing.mark("")
        if mark is None or mark["query"] != self._query:  # another query: all of it is new
            mark = {"query": self._query, "watermark": None, "stamp": None}
        reached, stamp = self._reached(mark["watermark"])
        if stamp == mark["stamp"] or (mark["stamp"] is None and stamp.startswith("0:")):
            return
        now = {**mark, "watermark": reached, "stamp": self._reached(reached)[1]}
        name = landing.name(self._query, now, f"{self._source.name}.parquet")
        self._write(landing.beside(name), mark["watermark"])
        landing.land(name, "", now)

    def _watermark_type(self) -> str:
        if self._source.watermark is None:
            return ""
        if self._source.watermark not in self._columns:
            raise SourceError(f"watermark: the query has no column {self._source.watermark!r}")
        (kind,) = self._one(f"SELECT pg_typeof((SELECT {self._mark()} {self._from} LIMIT 1))::text")
        fits = TIMES if self._source.interval else NUMBERS
        if kind not in fits:
            wants = "a number such as 1000" if kind in NUMBERS else "a time such as 2d"
            if kind not in (*TIMES, *NUMBERS):
                raise SourceError(f"watermark: {self._source.watermark} is {kind}, neither a time nor a whole number")
            raise SourceError(f"overlap: {self._source.watermark} is {kind}: give {wants}")
        return str(kind)

    def _mark(self) -> str:
        return f"{self._row}.{_name(self._source.watermark or '')}"

    def _window(self, watermark: str | None) -> str:
        """SQL for what is to be read above a watermark: all rows where there is none yet."""
        if watermark is None:
            return "WHERE true"
        overlap = f"interval {_text(self._source.interval)}" if self._source.interval else f"{self._source.overlap}"
        lowest = f"{_text(watermark)}::{self._type} - {overlap}"
        return f"WHERE ({self._mark()} >= {lowest} OR {self._mark()} IS NULL)"

    def _reached(self, watermark: str | None) -> tuple[str | None, str]:
        """The largest watermark, and what tells the rows above ``watermark`` from others: ``count:sum``.

        One in the future would hide all that comes before it, so that it counts as now.
        """
        largest = "NULL"
        if self._type:
            largest = f"max({self._mark()})"
            if self._type in TIMES:
                largest = f"least({largest}, now()::{self._type})"
            if watermark is not None:
                largest = f"greatest({largest}, {_text(watermark)}::{self._type})"
        stamp = f"count(*)::text || ':' || coalesce(sum(hashtextextended({self._row}::text, 0)), 0)::text"
        reached, found = self._one(f"SELECT ({largest})::text, {stamp} {self._from} {self._window(watermark)}")
        return reached, str(found)

    def _one(self, query: str) -> Any:
        self._cursor.execute(query)
        return self._cursor.fetchone()

    def _write(self, target: Path, watermark: str | None) -> None:
        import pyarrow.parquet

        texts = ", ".join(f"{self._row}.{_name(name)}::text AS {_name(name)}" for name in self._columns)
        self._cursor.execute(f"SELECT {texts} {self._from} {self._window(watermark)}")
        rows = self._cursor.fetch_record_batch()
        with pyarrow.parquet.ParquetWriter(target, rows.schema, compression="zstd") as writer:
            for batch in _batches(rows):
                writer.write_batch(batch)


def _batches(rows: Any) -> Iterator[Any]:
    """The batches of a result, whose stream raises what is no error of the driver's."""
    try:
        yield from rows
    except OSError as error:
        raise _Broken(str(error)) from None


def _driver() -> Any:
    try:
        from adbc_driver_postgresql import dbapi
        from pyarrow import parquet  # noqa: F401 - said now, not in the middle
    except ImportError:
        raise SourceError("a source with postgres needs its driver: pip install 'attrition[postgres]'") from None
    return dbapi


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str | None) -> str:
    return "'" + (text or "").replace("'", "''") + "'"


def _why(error: Exception) -> str:
    """Why no connection came about, without the text of the driver, which names host and user."""
    said = str(error)
    return next(
        (why for sign, why in NO_DOOR.items() if sign in said), f"it cannot be reached ({type(error).__name__})"
    )


def _said(error: Exception, variable: str, address: str) -> str:
    """What the server says of a query, or that it went away."""
    state = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split())
    if state.startswith("57P") or state.startswith("08") or "server closed" in said or "no connection" in said:
        return f"the server behind {variable} went away while it was read"
    if found := SAID.search(said):
        said = found[1]
    for hidden in sorted(_secrets(address), key=len, reverse=True):
        said = said.replace(hidden, "…")
    return f"the server behind {variable} refuses the query: {said[:300]}"


def _secrets(address: str) -> set[str]:
    """The connection string, and the password in it as written and as meant."""
    found = re.findall(r"://[^:/@]*:([^@]*)@|password\s*=\s*('[^']*'|\S+)", address)
    words = {word.strip("'") for pair in found for word in pair if word}
    return {address, *words, *(unquote(word) for word in words)} - {""}
