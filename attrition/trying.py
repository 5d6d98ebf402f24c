"""The stages and the YAML as they are now, on the drops of the last runs, beside what production made of them.

Everything happens in a scratch home that stands where the portfolio stood before the first of these runs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attrition import past, safe, scratch
from attrition.book import Book
from attrition.home import Home, Place, UsageError
from attrition.runs import Run

__all__ = ["Beside", "Moves", "Tried", "attempt"]

Tick = Callable[[Home, str, Run], int]
MOVERS = 10


@dataclass(frozen=True)
class Beside:
    """One data version: what production made of it, and what the stages make of it now."""

    run: str
    data_version: int
    production: dict[str, Any]  # decision, model, and the Brier score and area under the curve of who was judged
    now: dict[str, Any]


@dataclass(frozen=True)
class Moves:
    """How the list of clients differs in the end."""

    clients: int  # on both lists
    moved: int  # with another rank
    entered: int  # of production's first hundred, how many are others now
    most: list[dict[str, Any]]  # who moved farthest: id, rank then, rank now, risk then, risk now


@dataclass(frozen=True)
class Tried:
    """All of it."""

    runs: list[Beside]
    moves: Moves | None
    failed: str = ""  # in which run the stages failed, and where

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def attempt(place: Place, last: int, tick: Tick) -> Tried:
    """Try the stages on the last data versions.

    Args:
        place: of the portfolio; only read.
        last: how many data versions.
        tick: runs one tick of a portfolio in a home at the moment of a run, and forced as that was; its exit status.

    Raises:
        UsageError: a run's record is not whole, or none took in a row.
    """
    runs = _runs(place, last)
    for run in runs:
        past.refuse(run)
    with tempfile.TemporaryDirectory(prefix=scratch.prefix("try")) as root:
        then, _ = past.rebuild(place, runs[0], Path(root).resolve())
        safe.write(then.params, place.params.read_bytes())
        if safe.exists(place.newest):  # else the package index would be asked
            safe.make_folder(then.newest.parent)
            shutil.copy(place.newest, then.newest)
        found: list[Beside] = []
        for run in runs:
            past.return_drops(place, then, run)
            status = tick(Home(then.root), place.name, run)
            made = _newest(then)
            found.append(Beside(run.name, int(run.report["data_version"]), _said(run), _said(made)))
            if status:
                error = made.report.get("error") or {}
                where = f"{run.name}, stage {error.get('stage')}: {error.get('name')}: {error.get('message')}"
                return Tried(found, None, where)
        before = then.data / "before.parquet"
        past.ranking(place, place.book, past.number_of(runs[-1].name) + 1, before)
        moves = _moves(before, then.ranking) if safe.exists(before) and safe.exists(then.ranking) else None
        return Tried(found, moves)


def _runs(place: Place, last: int) -> list[Run]:
    """The last runs that made a data version, oldest first."""
    found: list[Run] = []
    for run in _newest_first(place):
        if run.report["rows"]["ingested"] and run.report["status"] == "completed":
            found.append(run)
        if len(found) == last:
            break
    if not found:
        raise UsageError(f"{place.name}: no run has taken in a row: there is nothing to try on")
    return found[::-1]


def _newest_first(place: Place) -> Iterator[Run]:
    with Book.open(place.book, read_only=True) as book:
        before: int | None = None
        while lines := book.runs(limit=100, before=before):
            for line in lines:
                yield Run.read(place.executed / str(line["run"]))
            before = int(lines[-1]["number"])


def _newest(place: Place) -> Run:
    with Book.open(place.book, read_only=True) as book:
        return Run.read(place.executed / str(book.runs(limit=1)[0]["run"]))


def _said(run: Run) -> dict[str, Any]:
    performance = run.report.get("performance") or {}
    measures = {key: (performance.get(key) or {}).get("value") for key in ("brier", "auc")}
    model = run.report["model"]
    return {
        "status": run.report["status"],
        "decision": run.report["decision"],
        "model": model["version"] if model else None,
        "judged": performance.get("n"),
        **measures,
        "reason": run.report["reason"],
    }


def _moves(before: Path, now: Path) -> Moves:
    from attrition.store.engine import connect, rows_in

    one, other = (rows_in([path]) for path in (before, now))
    joined = f"{one} AS a JOIN {other} AS b USING (id)"
    with connect() as db:
        clients, moved = db.execute(
            f"SELECT count(*), count(*) FILTER (a.rank <> b.rank) FROM {joined}"  # noqa: S608
        ).fetchone()
        (stayed,) = db.execute(f"SELECT count(*) FROM {joined} WHERE a.rank <= 100 AND b.rank <= 100").fetchone()  # noqa: S608
        (first,) = db.execute(f"SELECT count(*) FROM {one} WHERE rank <= 100").fetchone()  # noqa: S608
        most = db.execute(
            "SELECT id, a.rank AS rank_then, b.rank AS rank_now, a.probability AS risk_then, b.probability AS risk_now"  # noqa: S608
            f" FROM {joined} WHERE a.rank <> b.rank ORDER BY abs(a.rank - b.rank) DESC, id LIMIT {MOVERS}"
        )
        names = [column[0] for column in most.description]
        rows = [dict(zip(names, row, strict=True)) for row in most.fetchall()]
    return Moves(clients, moved, first - stayed, rows)
