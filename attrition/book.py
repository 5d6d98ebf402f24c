"""The portfolio's book: its only mutable state, and the ledger of all that came in.

One SQLite file a portfolio. Every change is one transaction; those that a run makes go on only from
the sequence that this run left, so a runner that slept cannot write over a later one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attrition import book_file

__all__ = ["RELEASE", "Book", "Outcome", "Overtaken", "State"]

RELEASE = ":release"
"""The source of a corrected file, whose key is the number of the drop that it corrects."""


class Overtaken(Exception):
    """Another run committed since this one last did; this one must not go on."""


@dataclass(frozen=True)
class State:
    """Where the portfolio stands."""

    sequence: int
    runs: int
    versions: int
    ingests: int
    data_version: int
    judged_version: int
    champion: str | None
    challenger: str | None
    evidence: Mapping[str, Any]
    scored_version: int
    scored_model: str | None
    params_sha256: str | None
    settle: float
    sources: int = 0
    scored_by: str | None = None
    outcomes: str | None = None

    @property
    def scores_owed(self) -> bool:
        """The champion has not scored the newest rows yet."""
        if self.champion is None:
            return False
        return (self.scored_version, self.scored_model) != (self.data_version, self.champion)


@dataclass(frozen=True)
class Outcome:
    """What commit 2 writes down: a decision, and where it leaves the portfolio."""

    decision: str
    reason: str
    judged_version: int
    champion: str | None
    challenger: str | None
    evidence: Mapping[str, Any]
    proven: bool | None  # whether a new champion was shown to be better; None where none is new
    trained: Mapping[str, str] | None = None  # version and sha256 of a model that this run made
    ended: Mapping[str, str] = field(default_factory=dict)  # version -> retired, given_up or barred


class Book:
    """One portfolio's book."""

    def __init__(self, connection: sqlite3.Connection):
        self._db = connection
        self._db.row_factory = sqlite3.Row

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, read_only: bool = False, patience: float = 10.0) -> Iterator[Book]:
        """Open the book for a ``with`` block, making it where there is none (not when read-only).

        ``patience`` are the seconds that another process may take to write, while this one waits.

        Raises:
            FileNotFoundError: read-only, and there is none.
            Unreadable: read-only, and one may not read it, or a tick is, or was cut short, in a commit.
            PermissionError: it is to be written, and one may not even read it.
        """
        with book_file.opened(path, read_only=read_only, patience=patience) as db:
            yield cls(db)

    # ---- reading

    def state(self) -> State:
        """Where the portfolio stands now."""
        row = dict(self._db.execute("SELECT * FROM state").fetchone())
        del row["one"]
        return State(**{**row, "evidence": json.loads(row["evidence"])})

    def runs(self, limit: int = 100, before: int | None = None) -> list[dict[str, Any]]:
        """Past runs, newest first, each with the ``quiet`` ticks after it.

        At most ``limit``, of numbers below ``before``.
        """
        rows = self._db.execute(
            "SELECT runs.*, json_object('since', since, 'last', last, 'ticks', ticks) AS quiet"
            " FROM runs LEFT JOIN quiet ON after_run = number WHERE number < ? ORDER BY number DESC LIMIT ?",
            (before or 2**62, limit),
        )
        return [_unpacked(row, "rows", "seconds", "performance", "quiet") for row in rows]

    def found(
        self, *, limit: int, before: int = 0, status: str = "", decision: str = "", month: str = ""
    ) -> list[dict[str, Any]]:
        """Past runs that ended so, decided so, or began in a month (or year), as ``runs`` has them."""
        rows = self._db.execute(
            "SELECT runs.*, json_object('since', since, 'last', last, 'ticks', ticks) AS quiet"
            " FROM runs LEFT JOIN quiet ON after_run = number WHERE number < ? AND (? = '' OR status = ?)"
            " AND (? = '' OR decision = ?) AND started_at BETWEEN ? AND ? ORDER BY number DESC LIMIT ?",
            (before or 2**62, status, status, decision, decision, month, f"{month}~", limit),
        )
        return [_unpacked(row, "rows", "seconds", "performance", "quiet") for row in rows]

    def span(self) -> tuple[str, str] | None:
        """When the first and the newest run began; None before the first."""
        first, newest = (
            self._db.execute(f"SELECT started_at FROM runs ORDER BY number {way} LIMIT 1").fetchone()  # noqa: S608
            for way in ("ASC", "DESC")
        )
        return (first[0], newest[0]) if first else None

    def brought(self, after: int = 0) -> dict[str, Any] | None:
        """The newest run that brought new rows, if above ``after``: its ``number``, ``run`` and ``started_at``."""
        row = self._db.execute(
            "SELECT number, run, started_at FROM runs WHERE number > ?"
            " AND json_extract(rows, '$.ingested') > 0 ORDER BY number DESC LIMIT 1",
            (after,),
        ).fetchone()
        return dict(row) if row else None

    def run(self, run: str) -> dict[str, Any] | None:
        """One run's line."""
        row = self._db.execute("SELECT * FROM runs WHERE run = ?", (run,)).fetchone()
        return _unpacked(row, "rows", "seconds", "performance") if row else None

    def unfinished(self) -> list[str]:
        """Runs that never said how they ended. At most one may be at work, under the lock."""
        return [row["run"] for row in self._db.execute("SELECT run FROM runs WHERE status = 'running'")]

    def drops(self, run: str) -> list[dict[str, Any]]:
        """What a run took in, a line a file."""
        rows = self._db.execute("SELECT * FROM drops WHERE run = ? ORDER BY number", (run,))
        return [_unpacked(row, "reasons", "notes") for row in rows]

    def drop_count(self) -> int:
        """How many drops were taken in or set aside so far."""
        return int(self._db.execute("SELECT coalesce(max(number), 0) FROM drops").fetchone()[0])

    def mark(self, source: str, key: str) -> Any:
        """Up to where a source of drops was read, by a key of its own; None if it never was."""
        row = self._db.execute("SELECT mark FROM marks WHERE source = ? AND key = ?", (source, key)).fetchone()
        return json.loads(row["mark"]) if row else None

    def set_aside(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Drops of which something was set aside, newest first, each with who ``released`` it, if somebody did."""
        rows = self._db.execute(
            "SELECT drops.*, mark AS released FROM drops LEFT JOIN marks ON source = ? AND key = number"
            " WHERE quarantined > 0 OR moved_to = 'quarantine' ORDER BY number DESC LIMIT ?",
            (RELEASE, limit),
        )
        return [_unpacked(row, "reasons", "notes", "released") for row in rows]

    def models(self, newest: int | None = None) -> list[dict[str, Any]]:
        """Model versions with their status: all, oldest first, or so many of the newest, newest first."""
        if newest is None:
            return [dict(row) for row in self._db.execute("SELECT * FROM models ORDER BY version")]
        query = "SELECT * FROM models ORDER BY length(version) DESC, version DESC LIMIT ?"
        return [dict(row) for row in self._db.execute(query, (newest,))]

    def model(self, version: str) -> dict[str, Any]:
        """One model version with its status."""
        return dict(self._db.execute("SELECT * FROM models WHERE version = ?", (version,)).fetchone())

    def status(self, version: str) -> str | None:
        """What has become of a model version; None: it is not known here."""
        row = self._db.execute("SELECT status FROM models WHERE version = ?", (version,)).fetchone()
        return str(row["status"]) if row else None

    def deployments(self, limit: int = 100) -> list[dict[str, Any]]:
        """Which version served from when to when, newest first."""
        rows = self._db.execute("SELECT * FROM deployments ORDER BY number DESC LIMIT ?", (limit,))
        return [{**dict(row), "proven": bool(row["proven"])} for row in rows]

    def quiet_since(self) -> dict[str, Any] | None:
        """The quiet ticks after the newest run: ``since``, ``last``, ``ticks``."""
        row = self._db.execute(
            "SELECT since, last, ticks FROM quiet WHERE after_run = (SELECT runs FROM state)"
        ).fetchone()
        return dict(row) if row else None

    # ---- writing

    def checked(
        self, params_sha256: str, settle: float, *, sources: bool = False, listing: str = "", outcomes: str = ""
    ) -> None:
        """Remember that a YAML was found good, so that a quiet tick need not read it again.

        Where its ``listing`` is not what the scores were made by, those of all clients are owed. Its ``outcomes`` are
        those of the table for as long as that is empty.
        """
        self._db.execute(
            "UPDATE state SET params_sha256 = :sha256, settle = :settle, sources = :sources,"
            " scored_version = iif(coalesce(scored_by, :listing) = :listing, scored_version, 0),"
            " scored_by = coalesce(scored_by, :listing),"
            " outcomes = iif(data_version = 0, :outcomes, coalesce(outcomes, :outcomes))",
            {"sha256": params_sha256, "settle": settle, "sources": sources, "listing": listing, "outcomes": outcomes},
        )

    def doubted(self, settle: float, *, sources: bool) -> None:
        """Remember of a YAML that the champion does not fit what a tick begins with; it is to be read again."""
        self._db.execute("UPDATE state SET params_sha256 = NULL, settle = ?, sources = ?", (settle, sources))

    def unscored(self) -> None:
        """The list is lost: the scores of all clients are owed."""
        self._db.execute("UPDATE state SET scored_version = 0")

    def marked(self, marks: Sequence[Mapping[str, Any]]) -> None:
        """Remember up to where sources were read, each by ``source``, ``key`` and ``mark``."""
        self._db.executemany(
            "INSERT OR REPLACE INTO marks VALUES (?, ?, ?)",
            [(each["source"], each["key"], json.dumps(each["mark"])) for each in marks],
        )

    def quiet(self, at: str) -> None:
        """Note a tick without work. Quiet ticks in a row share one line, so years of them stay small."""
        # One wait for the disk in place of four: after a power cut such a note may be lost, and nothing else.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(
            "INSERT INTO quiet SELECT runs, ?, ?, 1 FROM state WHERE true"
            " ON CONFLICT (after_run) DO UPDATE SET last = excluded.last, ticks = ticks + 1",
            (at, at),
        )
        self._db.execute("PRAGMA synchronous = EXTRA")

    def begin(self, stamp: str, started_at: str, *, manual: bool = False) -> tuple[str, int]:
        """Open a run named ``<stamp>-<number>``; its name, and the sequence it goes on from."""
        with self._transaction():
            number = self.state().runs + 1
            run = f"{stamp}-{number:04d}"
            self._db.execute(
                "INSERT INTO runs (number, run, status, manual, started_at) VALUES (?, ?, 'running', ?, ?)",
                (number, run, manual, started_at),
            )
            self._db.execute("UPDATE state SET runs = ?, sequence = sequence + 1", (number,))
            return run, self.state().sequence

    def still(self, sequence: int) -> None:
        """Raise Overtaken unless ``sequence`` is the newest."""
        newest = self.state().sequence
        if newest != sequence:
            raise Overtaken(f"the book is at {newest}, this run left it at {sequence}: another run went on meanwhile")

    def ingested(
        self,
        sequence: int,
        run: str,
        drops: Sequence[Mapping[str, Any]],
        *,
        ingests: int,
        data_version: int,
        marks: Sequence[Mapping[str, Any]] = (),
        outcomes: str | None = None,
    ) -> int:
        """Commit 1: the ledger of the drops, up to where their sources were read, and the data version they made.

        The ``outcomes`` by which the first rows were read are those of the table from then on.
        """
        with self._commit(sequence):
            self.marked(marks)
            self._db.executemany(
                "INSERT INTO drops (run, name, sha256, size, rows_in, ingested, duplicates, quarantined, reasons,"
                " notes, moved_to, data_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(run, drop["name"], drop["sha256"], drop["size"]),
                        *(drop[count] for count in ("rows_in", "ingested", "duplicates", "quarantined")),
                        *(json.dumps(drop["reasons"]), json.dumps(self._noted(drop)), drop["to"], data_version),
                    )
                    for drop in drops
                ],
            )
            self._db.execute(
                "UPDATE state SET ingests = ?, data_version = ?,"
                " outcomes = iif(data_version = 0, coalesce(?, outcomes), outcomes)",
                (ingests, data_version, outcomes),
            )
        return sequence + 1

    def _noted(self, drop: Mapping[str, Any]) -> list[str]:
        """The notes of a drop, and whether a file of its name came before with other content."""
        found = self._db.execute(
            "SELECT run FROM drops WHERE name = ? AND sha256 IS NOT ? ORDER BY number DESC LIMIT 1",
            (drop["name"], drop["sha256"]),
        ).fetchone()
        return [*drop["notes"], *([f"run {found['run']} took a file of this name with other content"] if found else [])]

    def decided(self, sequence: int, run: str, outcome: Outcome, at: str) -> int:
        """Commit 2: the decision and where it leaves champion, challenger and evidence."""
        with self._commit(sequence):
            before = self.state().champion
            self._db.execute(
                "UPDATE state SET judged_version = ?, champion = ?, challenger = ?, evidence = ?",
                (outcome.judged_version, outcome.champion, outcome.challenger, json.dumps(outcome.evidence)),
            )
            self._db.execute(
                "UPDATE runs SET decision = ?, reason = ? WHERE run = ?", (outcome.decision, outcome.reason, run)
            )
            if outcome.trained:
                version, sha256 = outcome.trained["version"], outcome.trained["sha256"]
                self._db.execute("INSERT INTO models VALUES (?, ?, ?, 'challenger', NULL)", (version, sha256, run))
                self._db.execute("UPDATE state SET versions = ?", (int(version),))
            for version, status in outcome.ended.items():
                self._db.execute(
                    "UPDATE models SET status = ?, why = ? WHERE version = ?", (status, outcome.reason, version)
                )
            if outcome.champion and outcome.champion != before:
                self._deploy(run, outcome, at)
        return sequence + 1

    def _deploy(self, run: str, outcome: Outcome, at: str) -> None:
        self._db.execute("UPDATE models SET status = 'champion', why = NULL WHERE version = ?", (outcome.champion,))
        self._db.execute("UPDATE deployments SET until = ? WHERE until IS NULL", (at,))
        # Whether the YAML of now fits it nobody has looked yet: it may be another than that of the run, as after -p.
        self._db.execute("UPDATE state SET params_sha256 = NULL")
        self._db.execute(
            "INSERT INTO deployments (version, run, since, proven, why, data_version) VALUES (?, ?, ?, ?, ?, ?)",
            (outcome.champion, run, at, outcome.proven, outcome.reason, outcome.judged_version),
        )

    def finished(self, sequence: int, report: Mapping[str, Any], scored: tuple[int, str] | None = None) -> int:
        """Commit 3, or the end of a run that failed: how it ended, from its run.json."""
        with self._commit(sequence):
            self._end(report, scored)
        return sequence + 1

    def _end(self, report: Mapping[str, Any], scored: tuple[int, str] | None) -> None:
        if scored:
            by, manual = report.get("listing"), bool(report.get("manual"))
            # A run that was killed may be closed when another YAML is known to be good: then that is to be read again.
            self._db.execute(
                "UPDATE state SET scored_version = ?, scored_model = ?, scored_by = ?,"
                " params_sha256 = iif(? OR params_sha256 = ?, params_sha256, NULL)",
                (*scored, by, manual, report.get("params_sha256")),
            )
        seconds = {stage["name"]: stage["seconds"] for stage in report["stages"] if stage.get("seconds") is not None}
        model = report.get("model")
        self._db.execute(
            "UPDATE runs SET status = ?, decision = coalesce(?, decision), reason = ?, finished_at = ?,"
            " data_version = ?, model = ?, rows = ?, seconds = ?, performance = ? WHERE run = ?",
            (
                *(report[key] for key in ("status", "decision", "reason", "finished_at", "data_version")),
                model["version"] if model else None,
                *(json.dumps(each) for each in (report["rows"], seconds, report.get("performance"))),
                report["run"],
            ),
        )

    @contextmanager
    def _commit(self, sequence: int) -> Iterator[None]:
        with self._transaction():
            self.still(sequence)
            yield
            self._db.execute("UPDATE state SET sequence = sequence + 1")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # not where the disk is full: SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _unpacked(row: sqlite3.Row, *columns: str) -> dict[str, Any]:
    unpacked = {**dict(row), **{name: json.loads(row[name]) for name in columns if row[name] is not None}}
    if "manual" in unpacked:
        unpacked["manual"] = bool(unpacked["manual"])
    return unpacked
