# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""The clients of a portfolio: rows of a Delta table, read as of a version, and the commits that add to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from attrition import safe
from attrition.params import Portfolio
from attrition.store import delta
from attrition.store.check import check
from attrition.store.delta import InTable
from attrition.store.drops import is_drop
from attrition.store.engine import (
    OWN,
    Damaged,
    StoreError,
    connect,
    database,
    fields,
    listed,
    literal,
    quoted,
    rows_in,
    this,
)
from attrition.store.frames import plain, shaped
from attrition.store.manifest import Ingest

__all__ = ["SCORES", "Clients", "StoreError", "commit_rows", "commit_scores", "score_stats", "test_rows"]

SCORES = {
    "_row": "BIGINT",
    "id": "VARCHAR",
    "as_of": "DATE",
    "data_version": "BIGINT",
    "model_version": "VARCHAR",
    "probability": "DOUBLE",
    "run": "VARCHAR",
}
"""Columns of the table of predictions."""


class Clients:
    """The rows of one portfolio as of a version; what is committed later is not seen.

    Attributes:
        portfolio: whose clients they are.
        version: the data version; 0 before the first rows.
        ingests: number of the last ingest committed; 0 before the first.
        files: the Parquet files of the table.
        next: the version that an ingest would make.
    """

    def __init__(self, portfolio: Portfolio, folder: Path, version: int | None = None):
        """Open the table in ``folder``, which need not exist yet.

        Raises:
            StoreError: the portfolio's columns are not the table's, or there is no such version (yet).
            Damaged: a file of it is torn.
        """
        table = delta.open_table(folder, {**fields(portfolio), **OWN})
        newest = table.version() if table else 0
        if version is not None and not 0 <= version <= newest:
            lost = " (the book has seen more: put the folder back from a backup)" if version > newest else ""
            raise StoreError(f"{folder} has versions 0 to {newest}, not {version}{lost}")
        self.portfolio = portfolio
        self.version = newest if version is None else version
        self.next = newest + 1
        self.ingests: int = (table.transaction_version("ingest") or 0) if table else 0
        self._parts = delta.parts(folder, table)
        self.files = [part.path for part in self._parts]
        try:
            self._connection = _view(portfolio, self.files, self.version)
        except duckdb.InvalidInputException as error:
            why = str(error).partition("\n")[0]
            raise Damaged(f"{folder}: a file of it is damaged: put it back from a backup ({why})") from None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._summed("count(*)", lambda part: part.rows, sum)

    @property
    def last_row(self) -> int:
        """The number of the last row; there are fewer once a client was forgotten."""
        return self._summed("max(_row)", lambda part: part.bounds.get("max._row"), max)

    @property
    def labelled(self) -> int:
        """How many rows have an outcome."""
        target = self.portfolio.target.column

        def known(part: InTable) -> int | None:
            empty = part.bounds.get(f"null_count.{target}")
            return None if empty is None or part.rows is None else part.rows - int(empty)

        return self._summed(f"count({quoted(target)})", known, sum)

    def _summed(
        self, asked: str, said: Callable[[InTable], int | None], together: Callable[[Iterable[int]], int]
    ) -> int:
        """An aggregate over all rows: the log says it of each file that has no later rows, only the others are read."""
        values, unread = [0], []
        for part in self._parts:
            newest, value = part.bounds.get("max._version"), said(part)
            if newest is None or value is None or newest > self.version:
                if part.bounds.get("min._version", 0) <= self.version:
                    unread.append(part.path)
            else:
                values.append(int(value))
        if unread:
            rows = rows_in(unread)
            query = f"SELECT coalesce({asked}, 0) FROM {rows} WHERE _version <= {self.version}"
            values.append(int(self._connection.execute(query).fetchone()[0]))
        return together(values)

    @property
    def outcomes(self) -> int:
        """Of how many rows the outcome is that the client left."""
        counted = self.sql(f"SELECT coalesce(sum({quoted(self.portfolio.target.column)}), 0) AS n FROM clients")
        return int(counted["n"].iloc[0])

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        after_version: int = 0,
        to_version: int | None = None,
        after_row: int = 0,
        to_row: int | None = None,
        labelled: bool | None = None,
    ) -> pd.DataFrame:
        """Rows in order of ``_row``: ``columns`` (None: all and the target), then ``_row`` and ``_version``.

        Integers, numbers, booleans and the target are float64 with NaN, categories and texts objects
        with None, dates datetime64, ``_row`` and ``_version`` int64.

        Args:
            columns: names of columns, the target's among them.
            after_version: only rows that came with a later version.
            to_version: only rows that came up to this version.
            after_row: only rows beyond this one.
            to_row: only rows up to this one.
            labelled: only rows with an outcome (True) or without (False).

        Raises:
            StoreError: a column is not the portfolio's.
        """
        where = ["_version > $after_version", "_row > $after_row"]
        given = {"after_version": after_version, "after_row": after_row}
        if to_version is not None:
            where.append("_version <= $to_version")
            given["to_version"] = to_version
        if to_row is not None:
            where.append("_row <= $to_row")
            given["to_row"] = to_row
        if labelled is not None:
            where.append(f"{quoted(self.portfolio.target.column)} IS {'NOT ' if labelled else ''}NULL")
        query = f"SELECT {shaped(self.portfolio, columns)} FROM clients WHERE {' AND '.join(where)} ORDER BY _row"
        return self.sql(query, **given)

    def some(self, rows: int, *, after_version: int) -> pd.DataFrame:
        """Rows that came with a later version, shaped as by `frame`; of more than ``rows`` so many by chance."""
        later = "FROM clients WHERE _version > $after"
        count = self.sql(f"SELECT count(*) AS n {later}", after=after_version)["n"].iloc[0]
        if count <= rows:
            return self.frame(after_version=after_version)
        chosen = f"SELECT _row {later} ORDER BY md5(CAST(_row AS VARCHAR)) LIMIT $rows"
        query = f"SELECT {shaped(self.portfolio, None)} FROM clients SEMI JOIN ({chosen}) USING (_row) ORDER BY _row"
        return self.sql(query, after=after_version, rows=rows)

    def newest(self, rows: int, *, to_version: int) -> pd.DataFrame:
        """The last ``rows`` rows up to a version, shaped as by `frame`."""
        query = f"SELECT {shaped(self.portfolio, None)} FROM clients WHERE _version <= $to_version"
        found = self.sql(f"{query} ORDER BY _row DESC LIMIT $rows", to_version=to_version, rows=rows)
        return found.iloc[::-1].reset_index(drop=True)

    def current(self, *, after_version: int = 0) -> pd.DataFrame:
        """The newest row of each client, shaped and ordered as by `frame`; all rows if there is no id.

        Newest is the latest as-of date, then the largest ``_row``. A row without an id is a client
        of its own. With ``after_version``, only clients whose newest row came with a later version.
        """
        portfolio = self.portfolio
        chosen, given = "_version > $after_version", {"after_version": after_version}
        if portfolio.id is not None:
            day, client = quoted(portfolio.as_of) if portfolio.as_of else "0", quoted(portfolio.id)
            newest = (
                f"SELECT max_by(_row, ({day}, _row)) AS _row, {client}, max({day}) AS _day FROM clients WHERE {chosen} "
            )
            found = f"{newest} GROUP BY {client}"
            if after_version and portfolio.as_of and (least := self._earliest(after_version)):
                # Only a row of a later day than some new one can be newer than that: others are not even read.
                older = f"SELECT {client} AS _client, {day} AS _day FROM clients WHERE _version <= $after_version"
                found = (
                    f"SELECT found._row FROM ({found}) AS found ANTI JOIN ({older} AND {day} > {literal(least)}::DATE) "
                    f"AS old ON old._client = found.{client} AND old._day > found._day"
                )
            chosen += f" AND _row IN (SELECT _row FROM ({found}))"
        query = f"SELECT {shaped(portfolio, None)} FROM clients WHERE {chosen} ORDER BY _row"
        return self.sql(query, **given)

    def _earliest(self, after_version: int) -> str | None:
        """The first as-of date among the rows that came with a later version."""
        day = quoted(self.portfolio.as_of or "")
        found = self.sql(
            f"SELECT CAST(min({day}) AS VARCHAR) AS day FROM clients WHERE _version > $after", after=after_version
        )
        return None if found["day"].isna().all() else str(found["day"].iloc[0])

    def sql(self, query: str, **parameters: Any) -> pd.DataFrame:
        """Ask one SELECT of the table ``clients``; ``$name`` in it takes the parameter of that name.

        Nothing can be written, and no other file read.

        Raises:
            StoreError: it is not exactly one SELECT, or DuckDB refuses it.
        """
        try:
            statements = self._connection.extract_statements(query)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise StoreError("expected exactly one SELECT")
            return plain(self._connection.execute(query, parameters).df())
        except duckdb.Error as error:
            raise StoreError(f"the query failed: {error}") from error


def commit_rows(folder: Path, portfolio: Portfolio, staging: Path, manifest: Mapping[str, Any]) -> int:
    """Commit 1: make the rows that ``manifest`` names one version of the table in ``folder``, once.

    A call repeated after a crash anywhere goes on where that one ended. ``manifest`` is the content
    of the run's ``ingest.json``.

    Returns:
        The data version.

    Raises:
        StoreError: the store is not the one that was ingested against, or a file is not the one staged.
    """
    done = Ingest.from_dict(manifest)
    if not done.files:
        return done.data_version
    rows = staging / "rows"
    staged = [delta.Staged(rows / part.path, part.path, part.sha256, part.stats) for part in done.files]
    delta.commit(
        folder,
        {**fields(portfolio), **OWN},
        staged,
        app="ingest",
        number=done.ingest,
        run=done.run,
        version=done.data_version,
    )
    return done.data_version


def commit_scores(folder: Path, parquet: Path, number: int, run: str) -> int:
    """Commit a Parquet file of predictions (the columns of `SCORES`), once, as `commit_rows` does.

    Args:
        folder: the table's.
        parquet: the staged file.
        number: above those of all predictions committed before.
        run: the run that made them; part of the file's name in the table.

    Returns:
        The table's version.

    Raises:
        StoreError: the file has other columns, is gone, or a later number is committed.
    """
    name = f"part-{number:06d}-{run}.parquet"
    staged = delta.Staged(parquet, name, stats=score_stats(parquet if safe.exists(parquet) else folder / name))
    return delta.commit(folder, SCORES, [staged], app="scores", number=number, run=run)


def test_rows(portfolio: Portfolio, folder: Path) -> pd.DataFrame | None:
    """Labelled rows from the files in ``folder``, shaped as by `Clients.frame` with ``_row`` in order of file and line.

    Rows that the check of a drop would quarantine are left out. None if no row is left.

    Raises:
        StoreError: nothing of a file can be used; a measure on what is left of the test data would mislead.
    """
    target = quoted(portfolio.target.column)
    frames = []
    with connect() as connection:
        for path in (path for path in safe.entries(folder) if is_drop(path.name)):
            checked = check(connection, portfolio, path)
            if refused := checked.refused or ("outcomes without features" if checked.outcomes else None):
                raise StoreError(f"test data {path.name}: {refused}: mend the file, or take it out of {folder}")
            found = connection.execute(
                f"SELECT {shaped(portfolio, None, own=())} FROM good WHERE {target} IS NOT NULL ORDER BY _line"
            )
            frames.append(plain(found.df()))
    rows = pd.concat([frame for frame in frames if len(frame)] or [pd.DataFrame()], ignore_index=True)
    rows["_row"] = range(1, len(rows) + 1)
    return rows if len(rows) else None


def _view(portfolio: Portfolio, files: list[Path], version: int) -> Any:
    """A connection whose view ``clients`` is all that it can read, and that cannot write."""
    types = {**fields(portfolio), **OWN}
    connection = database()
    if files:
        # As they are called, and as DuckDB is told (`this`).
        named = dict.fromkeys([*map(literal, files), *map(this, files)])
        connection.execute(f"SET allowed_paths = [{', '.join(named)}]")
        rows = f"{listed(types)} FROM {rows_in(files)} WHERE _version <= {version}"
    else:
        rows = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in types.items()) + " WHERE false"
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    connection.execute(f"CREATE VIEW clients AS SELECT {rows}")
    return connection


def score_stats(parquet: Path) -> dict[str, Any]:
    """What Delta keeps of a file of predictions.

    Raises:
        StoreError: it has other columns, or is gone.
    """
    if not safe.exists(parquet):
        raise StoreError(f"{parquet} is gone: score anew")
    with connect() as connection:
        rows = rows_in([parquet])
        has = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
        if has != SCORES:
            raise StoreError(f"{parquet}: expected the columns {SCORES}, found {has}")
        count, low, high = connection.execute(
            f"SELECT count(*), min(data_version), max(data_version) FROM {rows}"
        ).fetchone()
    bounds = {"minValues": {"data_version": low}, "maxValues": {"data_version": high}} if count else {}
    return {"numRecords": int(count), **bounds}
