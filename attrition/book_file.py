"""The file of a portfolio's book: its tables, how SQLite opens it, and what is said where it cannot be opened."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrition import safe
from attrition.home import UsageError

__all__ = ["BRIEFLY", "Unreadable", "opened"]

BRIEFLY = 1.0
"""Seconds of patience where somebody waits for an answer, and others wait behind it for a thread."""

_SCHEMA = """
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,       -- goes up by one with every commit of a run
    runs INTEGER NOT NULL,           -- number of the newest run
    versions INTEGER NOT NULL,       -- number of the newest model version
    ingests INTEGER NOT NULL,        -- transaction number of the newest ingest that added rows
    data_version INTEGER NOT NULL,
    judged_version INTEGER NOT NULL,
    champion TEXT,
    challenger TEXT,
    evidence TEXT NOT NULL,          -- JSON
    scored_version INTEGER NOT NULL, -- data version and model of the last published scores
    scored_model TEXT,
    params_sha256 TEXT,              -- of the YAML that was last found good, and its settle time
    settle REAL NOT NULL
);
INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0, NULL, NULL, '{}', 0, NULL, NULL, 2.0);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, run TEXT UNIQUE NOT NULL, status TEXT NOT NULL, manual INTEGER NOT NULL,
    decision TEXT, reason TEXT, started_at TEXT NOT NULL, finished_at TEXT,
    data_version INTEGER, model TEXT, rows TEXT, seconds TEXT, performance TEXT
);
CREATE TABLE drops (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT, size INTEGER NOT NULL,
    rows_in INTEGER NOT NULL, ingested INTEGER NOT NULL, duplicates INTEGER NOT NULL, quarantined INTEGER NOT NULL,
    reasons TEXT NOT NULL, notes TEXT NOT NULL, moved_to TEXT NOT NULL, data_version INTEGER NOT NULL,
    CHECK (rows_in = ingested + duplicates + quarantined)
);
CREATE INDEX drops_by_sha256 ON drops (sha256);
CREATE TABLE models (version TEXT PRIMARY KEY, sha256 TEXT NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL, why TEXT);
CREATE TABLE deployments (
    number INTEGER PRIMARY KEY, version TEXT NOT NULL, run TEXT NOT NULL, since TEXT NOT NULL, until TEXT,
    proven INTEGER NOT NULL, why TEXT NOT NULL,
    data_version INTEGER NOT NULL    -- its reference are the rows up to here that it was not trained on
);
CREATE TABLE quiet (after_run INTEGER PRIMARY KEY, since TEXT NOT NULL, last TEXT NOT NULL, ticks INTEGER NOT NULL);
PRAGMA user_version = 1;
"""

_SOURCES = """
-- Up to where the source of a drop was read: committed with the drop's rows, so that no crash comes between the two.
CREATE TABLE marks (source TEXT, key TEXT, mark TEXT NOT NULL, PRIMARY KEY (source, key)) WITHOUT ROWID;
ALTER TABLE state ADD COLUMN sources INTEGER NOT NULL DEFAULT 0;  -- whether the YAML names any
UPDATE state SET params_sha256 = NULL;
CREATE INDEX drops_by_name ON drops (name);
PRAGMA user_version = 2;
"""

_MEANINGS = """
ALTER TABLE state ADD COLUMN scored_by TEXT;  -- by which words of the YAML the last published scores were made
ALTER TABLE state ADD COLUMN outcomes TEXT;   -- what its first files wrote for who left, and who stayed
-- By which words a list was made nobody noted, and it went on whatever they became: all clients are scored once more.
UPDATE state SET params_sha256 = NULL, scored_version = 0;
PRAGMA user_version = 3;
"""


class Unreadable(UsageError):
    """The book cannot be read at this moment: one may not, or a tick is, or was cut short, in a commit."""


@contextmanager
def opened(path: Path, *, read_only: bool, patience: float) -> Iterator[sqlite3.Connection]:
    """A connection to a book of the newest form, for a ``with`` block; made where there is none, unless read-only.

    ``patience`` are the seconds that another process may take to write, while this one waits.

    Raises:
        FileNotFoundError: read-only, and there is none.
        Unreadable: read-only, and one may not read it, or a tick is, or was cut short, in a commit.
        UsageError: it is damaged.
        PermissionError: it is to be written, and one may not even read it.
    """
    if read_only and not safe.exists(path):
        raise FileNotFoundError(f"{path}: no book; no tick of this portfolio has run yet")
    db = _connected(path, "ro" if read_only else "rwc", patience)
    try:
        if read_only:
            _readable(db, path)
        else:
            _prepare(db, path)
        yield db
    finally:
        db.close()


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        made = db.execute("PRAGMA user_version").fetchone()[0]
        for step in (_SCHEMA, _SOURCES, _MEANINGS)[made:]:
            db.executescript(f"BEGIN IMMEDIATE; {step} COMMIT;")
    except sqlite3.DatabaseError as error:
        if _damaged(error):
            raise UsageError(f"{path} is damaged ({error}): put it back from a backup") from None
        raise


def _damaged(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _connected(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    # No write-ahead log: its side files would be made by a reader, and readers change nothing here.
    uri = f"{path.as_uri()}?mode={mode}"
    try:
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience)
    except sqlite3.Error as error:
        denied = _denied(path)
        if mode == "ro" and denied:
            raise Unreadable(f"{path.name} cannot be read (permission denied): mend its permissions") from None
        if mode == "ro":
            raise Unreadable(f"{path.name} cannot be read ({error}): ask again, or see to the disk") from None
        if denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None
        raise


def _denied(path: Path) -> bool:
    """Whether there is a file that this process may not read.

    It is not opened: to close it would take away the locks that SQLite holds on it for another thread.
    """
    return safe.exists(path) and not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def _readable(db: sqlite3.Connection, path: Path) -> None:
    try:
        db.execute("SELECT one FROM state")
    except sqlite3.Error as error:
        remedy = "the next tick mends what one that was cut short left"  # a journal that only a writer may roll back
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            remedy = "another process is just writing to it: ask again"
        elif _damaged(error):
            remedy = "put it back from a backup"
        raise Unreadable(f"{path.name} cannot be read ({error}): {remedy}") from None
