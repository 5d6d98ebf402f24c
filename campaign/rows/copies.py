"""Row 16: a backup that is made while a tick is at work, and restored into an empty folder."""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import duckdb
from deltalake import DeltaTable

from attrition import params, registry, safe
from attrition.book import Book
from attrition.book_file import Unreadable
from attrition.commands import backup, restore
from attrition.console import told
from attrition.home import Home, Place
from attrition.served import Served
from attrition.store.clients import Clients
from campaign import kit, oracle, shim, sink
from campaign.cases import CASES, case
from campaign.harness import Case, Ended, Result, Started, asked, child, copied, scratch
from campaign.shim import Fault, Kind, Mode

GOLDEN = json.dumps(
    [{"plan": plan, "seats": seats, "fee": seats * 9.5} for plan in ("Basic", "Team") for seats in (2, 40)]
)
LOOKS = (Kind.LOOK,)
WAITED = 5.0  # seconds that a backup is waited for which may itself wait for the book, locked by a tick that is held


def run(count: int, seed: int) -> Result:
    """``count`` backups, tick and backup held at a step each, so that each part of the one meets parts of the other."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        given = [_Given(case(name, folder), folder) for name in CASES]
        for number in range(count):
            one = given[number % len(given)]
            order = list(ORDERS)[number % len(ORDERS)]
            steps, looks = chance.randrange(one.steps), chance.randrange(one.looks)
            with copied(one.case.start, folder / "home") as place:
                name = f"{one.case.name}, {order}, step {steps} of {one.steps}, look {looks} of {one.looks}"
                result.case(name, _one(one, place, order, steps, looks))
                shutil.rmtree(folder / "backup", ignore_errors=True)
                sink.gone(folder / "restored")
    return result


class _Given:
    """A home, how many steps its tick takes and a backup looks at, and what is served before and after."""

    def __init__(self, case: Case, folder: Path):
        self.case = case
        with copied(case.start, folder / "home") as place:
            self.before = child(lambda: _served(place)).value
            noted = Fault(Mode.NOTE, kinds=LOOKS)
            copy = folder / "backup"
            self.looks = child(lambda: [_backed_up(place, copy), shim.steps()], noted, place.root).value[1]
            shutil.rmtree(copy)
            self.steps = child(lambda: [kit.tick(place), shim.steps()], Fault(Mode.NOTE), place.root).value[1]
            self.after = child(lambda: _served(place)).value


def _served(place: Place) -> list[Any]:
    """The version that the API would serve from a home, and its probabilities for fixed rows."""
    served = Served.load(place)
    if served is None:
        return []
    answer, _ = served.answer(GOLDEN.encode(), "application/json")
    return [served.current.version, [each.probability for each in answer.predictions]]  # type: ignore[union-attr]


def _backed_up(place: Place, target: Path) -> int:
    given = argparse.Namespace(dest=target, portfolio=None)
    return told(lambda: backup.main(given, Home(place.root)))


def _restored(root: Path, source: Path) -> int:
    given = argparse.Namespace(src=source, portfolio=[])
    return told(lambda: restore.main(given, Home(root)))


def _one(given: _Given, place: Place, order: str, steps: int, looks: int) -> list[str]:
    copy, restored = place.root.with_name("backup"), Place(place.root.with_name("restored"), place.name)
    tick = partial(Started, lambda: kit.tick(place), Fault(Mode.HOLD, steps), place.root)
    copying = partial(Started, lambda: _backed_up(place, copy), Fault(Mode.HOLD, looks, kinds=LOOKS), place.root)
    ticked, backed_up, served = ORDERS[order](place, tick, copying)
    wrong = [
        f"{what}: {ended.status}, {ended.value}: {ended.said[-400:]}"
        for what, ended in (("tick", ticked), ("backup", backed_up))
        if (ended.status, ended.value) != (0, 0)
    ]
    if wrong:
        return wrong
    wrong += child(lambda: oracle.differences(oracle.outcome(place), given.case.wanted)).value
    restored.root.mkdir()
    sink.brought(place.root, restored.root)
    ended = child(lambda: _restored(restored.root, copy))
    if (ended.status, ended.value) != (0, 0):
        return [*wrong, f"restore: {ended.status}, {ended.value}: {ended.said[-400:]}"]
    return wrong + asked(lambda: _whole(given, place, restored, served))


def _whole(given: _Given, place: Place, restored: Place, served: list[Any] | None) -> list[str]:
    """What is wrong with what was restored, as it is and after a tick."""
    wrong = [*oracle.standing(restored), *_hashes(place, restored), *_tables(place, restored)]
    found = _served(restored)
    if found not in ([given.before, given.after] if served is None else [served]):
        wrong.append(f"it serves {found}, the original {given.before}, then {given.after}")
    wrong += oracle.mending(kit.until_quiet(restored))
    wrong += oracle.settled(restored, given.case.given, restored=True)
    return wrong + oracle.differences(oracle.outcome(restored), given.case.wanted)


def _hashes(place: Place, restored: Place) -> list[str]:
    """What never changes once it is there is the same file in both homes: models, published runs, drops."""
    folders = (restored.models.glob("[0-9]*/*"), restored.executed.glob("[12]*/**/*"), restored.taken.rglob("*"))
    lasting = [path for folder in folders for path in folder]
    return [
        f"{path} was another file when it was backed up"
        for path in lasting
        if path.is_file() and _there(path, restored, place) not in (None, safe.sha256(path))
    ]


def _tables(place: Place, restored: Place) -> list[str]:
    """Both have the same rows up to the version of the restored book, and the same predictions of the runs it knows."""
    if not restored.book.exists():
        return []
    with Book.open(restored.book, read_only=True) as book:
        version = book.state().data_version
        ended = [run["run"] for run in book.runs(limit=10_000) if run["status"] != "running"]
    portfolio = params.load(restored.params)
    rows = [Clients(portfolio, each.clients).frame(to_version=version) for each in (place, restored)]
    scores = [_scores(each, ended) for each in (place, restored)]
    return [
        *([] if rows[0].equals(rows[1]) else [f"{len(rows[1])} rows up to version {version}, the original has others"]),
        *([] if scores[0] == scores[1] else [f"{len(scores[1])} predictions, the original {len(scores[0])} or others"]),
    ]


def _scores(place: Place, runs: list[str]) -> list[Any]:
    if not (place.scores / "_delta_log").exists() or not runs:
        return []
    given = {"files": DeltaTable(str(place.scores)).file_uris(), "runs": runs}
    query = "SELECT _row, data_version, model_version, probability, run FROM read_parquet($files) WHERE run IN $runs"
    return duckdb.connect().execute(f"{query} ORDER BY ALL", given).fetchall() if given["files"] else []


def _there(path: Path, restored: Place, place: Place) -> str | None:
    there = place.root / path.relative_to(restored.root)
    return safe.sha256(there) if there.exists() else None


def _still(place: Place, tick: Any, copying: Any) -> tuple[Ended, Ended, list[Any] | None]:
    """The tick stands still during the backup."""
    ticking = tick()
    ticking.held()
    served = child(lambda: _served(place) if _as_its_book_says(place) else None).value
    copying = copying()
    if copying.held(WAITED):
        copying.go_on()
        copying.held(WAITED)
    still = copying.over
    return ticking.ended(), copying.ended(), served if still else None


def _as_its_book_says(place: Place) -> bool:
    """Whether the model that serves is the one of the book: between two steps of a tick it may still be the last one,
    and a backup has what the book says.
    """
    if not place.book.exists():
        return True
    current = registry.current(place.models)
    with suppress(Unreadable, sqlite3.OperationalError), Book.open(place.book, read_only=True) as book:
        return (current.version if current else None) == book.state().champion
    return False


def _goes_on(place: Place, tick: Any, copying: Any) -> tuple[Ended, Ended, list[Any] | None]:
    """The tick comes to its end between two steps of the backup, which began in its middle."""
    ticking = tick()
    ticking.held()
    copying = copying()
    copying.held(WAITED)
    return ticking.ended(), copying.ended(), None


def _comes(place: Place, tick: Any, copying: Any) -> tuple[Ended, Ended, list[Any] | None]:
    """The backup began before the tick, and comes to its end in its middle."""
    copying = copying()
    copying.held()
    ticking = tick()
    ticking.held()
    if not copying.over:
        copying.go_on()
        copying.held(WAITED)
    return ticking.ended(), copying.ended(), None


ORDERS = {"the tick stands still": _still, "the tick goes on": _goes_on, "the tick comes": _comes}
