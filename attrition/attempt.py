"""``--only`` and ``--from``: stages once more, on what an earlier run left, and nothing is committed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from attrition import publish
from attrition.book import Book
from attrition.commits import commit_run
from attrition.home import Place, UsageError
from attrition.kernels import CellFailed
from attrition.params import Portfolio
from attrition.runs import Run
from attrition.signals import Interrupted
from attrition.stage_runner import StageRunner, parameters_of

__all__ = ["attempt", "begin", "end", "wanted"]

NOTHING = "Tried by hand: nothing was committed."


def wanted(place: Place, stages: Mapping[str, str], first: str, *, only: bool) -> tuple[Path, list[str]]:
    """The completed run that last executed the stage ``first``, and the stages to execute once more.

    Raises:
        UsageError: there is no such stage or run, or it is the one that takes drops in.
    """
    if first not in stages:
        raise UsageError(f"no stage {first[:40]!r}; there are {', '.join(stages)}")
    if first == "ingest":
        raise UsageError("ingest takes drops in, which is done once: without committing there is nothing to try")
    pointer = place.executed / "latest.json"
    latest = json.loads(pointer.read_text()) if pointer.exists() else {}
    if first not in latest:
        raise UsageError(f"{place.name}: no completed run has executed {first} yet; start with: runner.py tick")
    base = place.executed / latest[first]
    ran = [line["name"] for line in Run.read(base).report["stages"] if line["status"] in ("completed", "reused")]
    later = [name for name in stages if name in ran and list(stages).index(name) >= list(stages).index(first)]
    return base, [first] if only else later


def begin(place: Place, book: Book, base: Path, stages: Mapping[str, str], stamp: str, at: str) -> tuple[Run, int]:
    """Open a manual run that speaks of the same data and models as ``base``; it, and the book's sequence."""
    facts = Run.read(base).report
    name, sequence = book.begin(stamp, at, manual=True)
    kept = {key: facts[key] for key in ("data_version", "champion_before", "challenger", "model", "params_sha256")}
    kept["params"] = facts.get("params")
    return Run.start(place, name, at, stages, manual=True, based_on=base.name, **kept), sequence


def attempt(
    runner: StageRunner, place: Place, book: Book, base: Path, stages: Mapping[str, str], names: list[str]
) -> tuple[str, str]:
    """Execute some stages with the parameters that they had in ``base``; status and reason."""
    log = runner.log
    own = {"home": str(place.root), "staging": str(log.folder), "run": log.name}
    before = {line["name"]: line["status"] for line in Run.read(base).report["stages"]}
    try:
        for name, notebook in stages.items():
            if name in names:
                runner.run(name, notebook, parameters_of(base / notebook) | own)
            elif before.get(name) in ("completed", "reused") and not _later(stages, name, names):
                runner.reuse(name, notebook, base)
            else:
                log.stage(name, "skipped", reason="not asked for")
    except CellFailed as error:
        failure = error.failure
        log.note(
            error={
                **{"stage": name, "cell": failure.cell, "name": failure.name, "message": failure.message},
                "advice": f"Nothing was committed. Look into it with: runner.py open {place.name} {log.name} {name}",
            }
        )
        return "failed", f"The run failed in stage {name}: {failure.name}: {failure.message.partition(chr(10))[0]}"
    except Interrupted as signal:
        return "interrupted", f"The run stopped by {signal}. {NOTHING}"
    except Exception as error:  # the run ends with its account, whatever it was
        log.note(error={"stage": None, "cell": None, "name": type(error).__name__, "message": str(error), "advice": ""})
        return "failed", f"The run failed between two stages: {type(error).__name__}: {error}"
    return "completed", NOTHING


def end(place: Place, portfolio: Portfolio, book: Book, log: Run, sequence: int) -> None:
    """Publish the folder of a run that has ended and its line in the book; rows, models and scores stay as they are."""
    publish.run_page(place, log, portfolio, book)
    commit_run(place, book, log, sequence)


def _later(stages: Mapping[str, str], name: str, names: list[str]) -> bool:
    order = list(stages)
    return order.index(name) > order.index(names[0])
