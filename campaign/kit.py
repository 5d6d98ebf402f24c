"""A home of a few dozen clients, and the real tick on it with the stages' bodies in this process, without kernels.

`runner.tick`, its commits, its recovery, its pages and the store are the real ones; what a stage decides is a rule
that follows from the rows alone, so that a disturbed history and an undisturbed one must end alike.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import nbformat
import pandas as pd

import runner
from attrition import (
    alerts,
    calling,
    forks,
    kernels,
    model,
    params,
    provenance,
    record,
    registry,
    safe,
    scoring,
    stage_runner,
    telling,
    wishes,
)
from attrition.console import told
from attrition.home import Home, Place
from attrition.kernels import CellFailed, Failure
from attrition.stages import Stage
from attrition.store.ingest import ingest
from attrition.store.ranking import write_ranking
from campaign import sink

__all__ = [
    "BEGUN",
    "HEADER",
    "PORTFOLIO",
    "command",
    "drop",
    "execute",
    "home",
    "rows",
    "second_visit",
    "tick",
    "trained",
    "until_quiet",
    "whom",
]

PORTFOLIO = "shop"
BEGUN = datetime(2026, 3, 1, 3, 15, tzinfo=UTC)
HEADER = "client,day,plan,seats,fee,left"
YAML = """
title: Shop
id: client
as_of: day
settle: 0
columns:
  client: {type: text}
  day: {type: date}
  plan: {type: category, values: [Basic, Team]}
  seats: {type: integer, min: 0, max: 1000}
  fee: {type: number, nullable: true}
target: {column: left}
model: {least_rows: 10, least_each: 2}
"""
Body = Callable[[Stage, Mapping[str, Any]], dict[str, Any]]


def home(root: Path) -> Place:
    """A home with the portfolio, somebody who is to be told, and nothing else."""
    place = Home(root).place(PORTFOLIO)
    for folder in (place.params.parent, place.incoming):
        folder.mkdir(parents=True)
    place.params.write_text(YAML)
    alerted = root / alerts.FILE
    alerted.write_text(f"to: ['{sink.SCHEME}://campaign']\n")
    alerted.chmod(0o600)
    return place


def rows(seed: int, count: int, *, labelled: bool = True, prefix: str = "c") -> list[str]:
    """Lines of that many clients."""
    chance = Random(seed)
    made = []
    for number in range(count):
        seats = chance.randint(1, 60)
        left = int(chance.random() < (0.7 if seats < 20 else 0.2)) if labelled else ""
        fee = "" if chance.random() < 0.1 else f"{seats * 9.5:.2f}"
        day = f"2026-01-{1 + chance.randrange(28):02d}"
        made.append(f"{prefix}{seed}-{number},{day},{chance.choice(['Basic', 'Team'])},{seats},{fee},{left}")
    return made


def drop(place: Place, name: str, lines: list[str], header: str = HEADER) -> Path:
    """Put a file into incoming/, in one step."""
    beside = place.incoming / f".{name}.part"
    beside.write_text("\n".join([header, *lines]) + "\n")
    return beside.rename(place.incoming / name)


def trained() -> None:
    """Train a model on rows of the kind, and ask it, as a tick does; nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        portfolio = params.load(home(Path(folder)).params)
    frame = pd.read_csv(io.StringIO("\n".join([HEADER, *rows(1, 40)])))
    model.probabilities(model.fit(portfolio, frame), frame)
    registry.libraries()  # asked once a process


def second_visit(place: Place) -> None:
    """What waits for the second tick: new clients, rows that are there already, a row that cannot be taken, outcomes
    alone, and a file of which nothing can be used.
    """
    new = rows(2, 19)
    drop(place, "a.csv", [*new, new[0], rows(1, 3)[1], "nobody,2026-01-05,Gold,3,1.0,1"])
    told = [",".join((*line.split(",")[:2], "1")) for line in rows(3, 4, labelled=False)]
    drop(place, "b.csv", [*told[:3], "stranger,2026-01-09,1"], "client,day,left")
    drop(place, "c.csv", ["1,2"], "colour,size")


def first_visit(place: Place) -> None:
    """What waits for the first tick: enough for a model, and clients whose outcome comes later."""
    drop(place, "first.csv", [*rows(1, 40), *rows(3, 4, labelled=False)])


def tick(
    place: Place,
    *,
    wish: wishes.Wish = wishes.NONE,
    clock: Callable[[], datetime] = lambda: BEGUN,
    executing: Callable[..., float] | None = None,
) -> int:
    """One tick and its alerts; the exit status that the command would end with.

    Args:
        place: its portfolio.
        wish: what is asked of it.
        clock: the time, which stands still unless one is given that does not.
        executing: runs a stage, in the place of `kernels.execute`: this process unless it is given.
    """
    begun, given = clock(), whom(place)
    with _without_kernels(executing) if executing else _in_no_time():
        work = lambda: runner.tick(Home(place.root), place.name, wish=wish, clock=clock)  # noqa: E731
        status = told(work)
    told(lambda: _alerts(place, given, begun, clock(), status))
    return status


def command(name: str, place: Place, **words: Any) -> int:
    """What a person calls, with its words; the exit status."""
    module = import_module(f"attrition.commands.{name}")
    given = argparse.Namespace(**({"portfolio": place.name} | words))
    return told(lambda: module.main(given, Home(place.root)))


def whom(place: Place) -> alerts.Settings | None:
    """Who is to be told of a tick, as `runner.main` reads it before."""
    return telling.whom(lambda: Home(place.root))


def _alerts(place: Place, given: alerts.Settings | None, begun: datetime, now: datetime, status: int) -> int:
    """As `runner.main` does it."""
    with sink.listening(place):
        for line in alerts.after(Home(place.root), {place.name: status}, given, good=status == 0, since=begun, now=now):
            print(line, file=sys.stderr)
    return 0


def until_quiet(place: Place, most: int = 5) -> list[int]:
    """Ticks until one finds nothing to do; the exit status of each.

    Raises:
        AssertionError: it never does.
    """
    statuses = []
    for _ in range(most):
        statuses.append(tick(place))
        if statuses[-1] == 0 and not owed(place):
            return statuses
    raise AssertionError(f"{most} ticks did not put it right: {statuses}")


def owed(place: Place) -> bool:
    """Whether the next tick would find work."""
    from attrition.book import Book
    from attrition.store.drops import waiting

    with Book.open(place.book, read_only=True) as book:
        state = book.state()
        undone = bool(book.unfinished()) or any(place.staging.glob("*"))
    drops = waiting(place.incoming, 0, 2.0**40).ready
    return bool(drops) or undone or state.data_version > state.judged_version or state.scores_owed


# ---- the stages' bodies


def _ingest(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    drops = [Path(path) for path in given["drops"]]
    clients = stage.clients(given["data_version"])
    return {"rows": ingest(stage.portfolio, clients, drops, stage.staging, run=given["run"]).rows}


def _monitor(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    labelled = stage.clients(given["data_version"]).labelled
    if given["champion"] and not _usable(stage, given["champion"]):
        state = "refused"
    elif given["champion"]:
        state = "drift" if labelled >= 60 and given["newest"] == given["champion"] else "holds"
    else:
        state = "first" if labelled >= 30 else "learning"
    verdict = {"state": state, "sentence": f"{labelled} clients with an outcome."}
    watched = {"labelled": labelled}
    return {"verdict": verdict, "performance": None, "look": None, "watch": watched, "change": 0}


def _usable(stage: Stage, version: str) -> bool:
    try:
        stage.model(version)
    except registry.ModelRefused:
        return False
    return True


def _train(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    known = stage.clients(given["data_version"]).frame(labelled=True)
    pipeline = model.fit(stage.portfolio, known)
    registry.write(
        stage.staging / "model",
        pipeline,
        version=given["version"],
        run=given["run"],
        data_version=given["data_version"],
        rows=len(known),
        known=len(known),
        left=int(known["left"].sum()),
        trained_to=int(known["_row"].max()),
        metrics={},
        coefficients=model.coefficients(pipeline, stage.portfolio),
        base=model.baseline(pipeline, known),
        **provenance.facts(stage.portfolio, pipeline, known),
    )
    return {"model": {"version": given["version"]}}


def _score(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    stage.model(given["challenger"])
    labelled = stage.clients(given["data_version"]).labelled
    return {"trial": {"labelled": labelled}}


def _deploy(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    champion, challenger = given["champion"] or None, given["challenger"]
    labelled = stage.recorded("40_score", "trial")["labelled"]
    said: dict[str, Any] = {"reason": f"{labelled} clients.", "ended": {}, "proven": None, "challenger": None}
    if champion is None:
        said |= {"decision": "promoted", "champion": challenger, "proven": False}
    elif labelled % 3 == 2:
        said |= {"decision": "promoted", "champion": challenger, "proven": True, "ended": {champion: "retired"}}
    elif labelled % 3 == 1:
        said |= {"decision": "kept", "champion": champion, "ended": {challenger: "given_up"}}
    else:
        said |= {"decision": "on_trial", "champion": champion, "challenger": challenger}
    return {"decision": said}


def _assess(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    pipeline, manifest = stage.model(given["model_version"])
    clients, anew = stage.clients(given["data_version"]), not given["scored_version"]
    with tempfile.TemporaryDirectory(prefix=".", dir=stage.staging) as scratch:
        found = scoring.assess(
            clients, pipeline, manifest, Path(scratch), after_version=given["scored_version"], run=given["run"]
        )
        write_ranking(found.files, stage.staging, stage.place.ranking, anew=anew)
    about = {"run": given["run"], "model": given["model_version"], "data_version": given["data_version"]}
    lists = calling.lists(stage.portfolio, stage.staging / "ranking.parquet", **about)
    safe.write(stage.staging / "call_list.json", json.dumps(lists))
    return {"file": {"name": "assessed.parquet", "rows": found.rows}}


def _nothing(_stage: Stage, _given: Mapping[str, Any]) -> dict[str, Any]:
    return {}


BODIES: dict[str, Body] = {
    "10_ingest": _ingest,
    "20_monitor": _monitor,
    "30_train": _train,
    "40_score": _score,
    "50_deploy": _deploy,
    "60_diagnose": _nothing,
    "70_assess": _assess,
    "80_report": _nothing,
}


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any], **_: Any) -> float:
    """In the place of `kernels.execute`: the same files, the same exceptions, no kernel."""
    node = nbformat.v4.new_notebook(metadata={"papermill": {"parameters": dict(parameters)}})
    node.cells = [nbformat.v4.new_code_cell(f"# {notebook.stem}", id="body")]
    (cell,) = node.cells
    stage = Stage.open(parameters["home"], parameters["portfolio"], parameters["staging"])
    try:
        for name, data in BODIES[notebook.stem](stage, parameters).items():
            body = {"name": name, "data": record.plain(data), "encoder": "json", "version": 1}
            cell.outputs.append(nbformat.v4.new_output("display_data", {record.MIME: body}))
    except Exception as error:  # as a kernel's: told by its cell
        name = type(error).__name__
        cell.outputs.append(nbformat.v4.new_output("error", ename=name, evalue=str(error), traceback=[]))
        safe.write(output, nbformat.v4.writes(node))
        raise CellFailed(notebook.name, Failure(0, name, str(error)), 0.0) from error
    safe.write(output, nbformat.v4.writes(node))
    return 0.0


@contextmanager
def _in_no_time() -> Iterator[None]:
    """In this process, by a watch that stands still: two ticks that do the same leave the same."""
    before, vars(stage_runner)["time"] = vars(stage_runner)["time"], SimpleNamespace(monotonic=lambda: 0.0)
    try:
        with _without_kernels(execute):
            yield
    finally:
        vars(stage_runner)["time"] = before


@contextmanager
def _without_kernels(executing: Callable[..., float]) -> Iterator[None]:
    @contextmanager
    def no_forks(_told: Any) -> Iterator[Any]:
        yield SimpleNamespace()

    before = kernels.execute, forks.forking
    kernels.execute, forks.forking = executing, no_forks  # type: ignore[assignment]
    try:
        yield
    finally:
        kernels.execute, forks.forking = before
