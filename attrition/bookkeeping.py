"""What is done to a book as a whole: a copy of it, a copy as it was before a run, and a client's name struck out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["copy", "forgotten", "rewind", "strike"]

_FORGOTTEN = """
CREATE TABLE IF NOT EXISTS forgotten (
    number INTEGER PRIMARY KEY, salt TEXT NOT NULL, hash TEXT NOT NULL, run TEXT NOT NULL, at TEXT NOT NULL,
    reason TEXT NOT NULL,
    rows INTEGER NOT NULL,           -- of clients/: the sum of drops.ingested less these is what the table has
    data_version INTEGER NOT NULL    -- that was made by leaving them out
)
"""


def copy(book: Path, target: Path) -> None:
    """A copy of the book as it is at one moment, by SQLite itself; no writer waits longer than for a page.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    source = sqlite3.connect(f"{book.as_uri()}?mode=ro", uri=True, timeout=10)
    made = sqlite3.connect(target)
    try:
        source.backup(made)
    finally:
        source.close()
        made.close()


def rewind(book: Path, number: int, state: Mapping[str, Any]) -> None:
    """Make a copy of a book what it was when run ``number`` began.

    Args:
        book: the copy.
        number: of the run.
        state: the fields of ``book.State`` as they were before it.
    """
    kept = {**state, "evidence": json.dumps(state["evidence"])}
    with _writing(book) as db:
        earlier = "SELECT run FROM runs WHERE number < ?"
        for table in ("drops", "models", "deployments"):
            db.execute(f"DELETE FROM {table} WHERE run NOT IN ({earlier})", (number,))  # noqa: S608 - our own words
        db.execute("DELETE FROM runs WHERE number >= ?", (number,))
        db.execute("DELETE FROM quiet WHERE after_run >= ?", (number,))
        db.execute(f"UPDATE state SET {', '.join(f'{name} = :{name}' for name in kept)}", kept)  # noqa: S608
        db.execute("UPDATE models SET status = 'retired' WHERE status IN ('champion', 'challenger')")
        for role in ("champion", "challenger"):
            db.execute("UPDATE models SET status = ?, why = NULL WHERE version = ?", (role, state[role]))
        newest = "(SELECT max(number) FROM deployments)"
        db.execute(f"UPDATE deployments SET until = NULL WHERE number = {newest}")  # noqa: S608


def forgotten(book: Path) -> list[dict[str, Any]]:
    """What was forgotten, oldest first: a salted hash of whom, when, why, and how many rows."""
    db = sqlite3.connect(f"{book.as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        db.row_factory = sqlite3.Row
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'forgotten'").fetchone():
            return []
        return [dict(row) for row in db.execute("SELECT * FROM forgotten ORDER BY number")]
    finally:
        db.close()


def strike(book: Path, clean: Callable[[str], str], line: Mapping[str, Any]) -> None:
    """Note that a client was forgotten, move the book to the data version without it, and clean every text.

    A line with the same salt is written once, so the call may be repeated. What the file held before is overwritten.

    Args:
        book: the portfolio's own.
        clean: a text without the client.
        line: the columns of ``forgotten`` but its number.
    """
    with _writing(book) as db:
        db.execute(_FORGOTTEN)
        if not db.execute("SELECT 1 FROM forgotten WHERE salt = ?", (line["salt"],)).fetchone():
            names = ("salt", "hash", "run", "at", "reason", "rows", "data_version")
            marks = ", ".join(f":{name}" for name in names)
            db.execute(f"INSERT INTO forgotten ({', '.join(names)}) VALUES ({marks})", dict(line))  # noqa: S608
            # No row came: what was judged and scored up to the last version is so up to this one.
            for name in ("judged_version", "scored_version"):
                db.execute(f"UPDATE state SET {name} = :v WHERE {name} = data_version", {"v": line["data_version"]})  # noqa: S608
            db.execute("UPDATE state SET data_version = ?, sequence = sequence + 1", (line["data_version"],))
            if line["rows"]:  # it counts on rows that are gone; the next look computes it from those that are left
                db.execute("UPDATE state SET evidence = '{}'")
        texts = {"drops": ("name", "reasons", "notes"), "runs": ("reason",), "state": ("evidence",), "models": ("why",)}
        for table, columns in {**texts, "deployments": ("why",)}.items():
            for column in columns:
                for rowid, text in db.execute(f"SELECT rowid, {column} FROM {table}").fetchall():  # noqa: S608
                    if text and (cleaned := clean(text)) != text:
                        db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (cleaned, rowid))  # noqa: S608
    db = sqlite3.connect(book, isolation_level=None)
    try:
        db.execute("VACUUM")
    finally:
        db.close()


@contextmanager
def _writing(book: Path) -> Iterator[sqlite3.Connection]:
    """One transaction; what it takes away is overwritten with zeros."""
    db = sqlite3.connect(book, isolation_level=None, timeout=10)
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()
