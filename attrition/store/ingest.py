# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Drops to new rows: checked, without duplicates, numbered, and staged as Parquet for the runner to commit.

Each drop by itself is sorted into buckets by the hash of its rows (`arrivals`), and each bucket by itself is held
against the store and numbered (`buckets`): pure functions, which the portfolio's engine runs here or on a cluster. So
memory is bounded by a bucket, and there are as many buckets as the drops are large.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from attrition import engine, safe
from attrition.params import Portfolio
from attrition.store import outcomes
from attrition.store.arrivals import Arrival, Taken, into_buckets, quarantine, take
from attrition.store.buckets import Asked, Bucket, Gathering, New, Numbering, gather, number, number_days, settle
from attrition.store.clients import Clients
from attrition.store.engine import ALONE, BESIDE, connect, fields, listed, quoted, roomy
from attrition.store.manifest import Drop, Ingest, Part

__all__ = ["Drop", "Ingest", "Part", "ingest"]

SHARE = 24 * 2**20
"""Bytes of drops for one bucket."""

MOST = 256
"""Buckets."""


def ingest(portfolio: Portfolio, clients: Clients, drops: Sequence[Path], staging: Path, *, run: str) -> Ingest:
    """Check ``drops`` in order of their names and stage what is new against ``clients`` and among themselves.

    Writes into ``staging`` only: ``rows/part-….parquet`` (none without a new row),
    ``quarantine/<drop>.jsonl`` for drops with rows that cannot be taken, and ``ingest.json``.

    Raises:
        FileNotFoundError: a drop is gone.
    """
    for folder in ("rows", "quarantine", "work"):
        safe.make_folder(staging / folder)
    try:
        done = _Ingest(portfolio, clients, sorted(drops, key=lambda path: path.name), staging).run(run)
    finally:
        shutil.rmtree(staging / "work", ignore_errors=True)
    done.write(staging)
    return done


class _Ingest:
    """One ingest, step by step."""

    def __init__(self, portfolio: Portfolio, clients: Clients, drops: Sequence[Path], staging: Path):
        self.portfolio, self.clients, self.drops, self.staging = portfolio, clients, drops, staging
        self.work, self.buckets = staging / "work", _buckets(drops)
        self.room = BESIDE if self.buckets > 1 else ALONE
        self.engine = engine.of(portfolio, 2 if self.room is BESIDE else 1)

    def run(self, run: str) -> Ingest:
        room = self.room if len(self.drops) > 1 else ALONE
        arrivals = [
            Arrival(self.portfolio, at, path, self.staging, self.buckets, room) for at, path in enumerate(self.drops)
        ]
        taken = list(self.engine.map(take, arrivals))
        new = self._settled(safe.entries(self.work, "arrived-*"), {}, told=False)
        if any(each.told for each in taken):
            new += self._told(new, taken)
        found: Counter[int] = Counter()
        for each in new:
            found.update(each.drops)
        parts = self._numbered([each for each in new if each.drops])
        return Ingest(
            run=run,
            ingest=self.clients.ingests + bool(parts),
            data_version=self.clients.next if parts else self.clients.version,
            files=parts,
            drops=[self._account(each, found[at]) for at, each in enumerate(taken)],
        )

    def _settled(self, folders: list[Path], beside: dict[int, list[New]], *, told: bool) -> list[New]:
        tasks = [
            Bucket(
                self.portfolio,
                at,
                self.buckets,
                folders,
                self.clients.files,
                beside.get(at, []),
                told=told,
                work=self.work,
                room=self.room,
            )
            for at in range(self.buckets)
        ]
        found = list(self.engine.map(partial(roomy, settle), tasks))
        asked = [each for each in found if isinstance(each, Asked)]
        gathered = self._gathered(asked, self.work / f"gathered-{int(told)}")
        again = (replace(tasks[each.bucket], gathered=gathered) for each in asked)
        new = [each for each in [*found, *self.engine.map(partial(roomy, settle), again)] if isinstance(each, New)]
        return sorted(new, key=lambda each: each.bucket)

    def _gathered(self, asked: list[Asked], target: Path) -> list[Path]:
        """Folders with the rows of the store that buckets ask for, each of its files read once."""
        columns = f"{listed(fields(self.portfolio))}, _hash"
        parts: dict[Path, list[Path]] = {}
        for each in asked:
            for part in each.parts:
                parts.setdefault(part, []).append(each.hashes)
        tasks = (
            Gathering(part, wanted, columns, self.buckets, target / f"{at:06d}", self.room)
            for at, (part, wanted) in enumerate(parts.items())
        )
        return list(self.engine.map(partial(roomy, gather), tasks))

    def _told(self, new: list[New], taken: list[Taken]) -> list[New]:
        """What outcomes that came alone make of the rows they join; ``taken`` is brought up to it."""
        with connect(ALONE, self.work / "joining.spilt") as connection:
            numbers = outcomes.load_told(connection, self.portfolio, self.work)
            connection.execute(f"CREATE VIEW new AS {self._all(new)}")
            outcomes.join(connection, self.portfolio, self.clients.files)
            joined = f"SELECT _drop, {listed(fields(self.portfolio))} FROM joined"
            into_buckets(connection, self.portfolio, joined, self.work / "joined", self.buckets)
            beside = {each.bucket: [each] for each in new if each.drops}
            made = self._settled([self.work / "joined"], beside, told=True)
            connection.execute(f"CREATE VIEW made AS {self._all(made)}")
            for at in numbers:
                taken[at] = self._matched(connection, at, taken[at])
        return made

    def _matched(self, connection: Any, at: int, taken: Taken) -> Taken:
        """The account of a drop of outcomes: what joined no row is no duplicate, but quarantined."""
        unmatched, drop = outcomes.set_aside(connection, at), taken.drop
        (clients,) = connection.execute(
            f"SELECT count(DISTINCT {quoted(self.portfolio.id or '')}) FROM made WHERE _drop = $at", {"at": at}
        ).fetchone()
        drop = replace(
            drop,
            ingested=drop.ingested - unmatched,
            quarantined=drop.quarantined + unmatched,
            reasons=quarantine(connection, self.portfolio, self.drops[at], self.staging),
            notes=[*drop.notes, f"outcomes of {clients:,} client{'' if clients == 1 else 's'} joined"],
        )
        return replace(taken, drop=drop)

    def _numbered(self, new: list[New]) -> list[Part]:
        """Files of the table, a bucket each: the same rows have the same numbers, however many there are."""
        if not new:
            return []
        days, rows, version = self.work / "days.parquet", self.staging / "rows", self.clients.next
        number_days(new, self.clients.last_row, days)
        tasks = (
            Numbering(self.portfolio, mine, days, version, rows / f"part-{version:06d}-{at}.parquet", self.room)
            for at in range(self.buckets)
            if (mine := [each for each in new if each.bucket == at])
        )
        return list(self.engine.map(partial(roomy, number), tasks))

    def _all(self, new: list[New]) -> str:
        """SQL for the new rows of some buckets."""
        names = {"_drop": "BIGINT", **fields(self.portfolio), "_hash": "BIGINT"}
        none = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in names.items())
        rows = [f"SELECT {listed(names)} FROM ({each.rows})" for each in new if each.drops]
        return " UNION ALL ".join([f"SELECT {none} WHERE false", *rows])

    def _account(self, taken: Taken, new: int) -> Drop:
        return replace(taken.drop, ingested=new, duplicates=taken.drop.ingested - new)


def _buckets(drops: Sequence[Path]) -> int:
    """How many buckets the rows of these drops are sorted into: a power of two."""
    size = sum(path.lstat().st_size for path in drops if safe.is_regular(path))
    return int(min(2 ** (max(size - 1, 0) // SHARE).bit_length(), MOST))
