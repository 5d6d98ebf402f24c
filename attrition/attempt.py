"""``--only`` and ``--from``: stages once more, on what an earlier run left, and nothing is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from attrition import params, publish
from attrition.book import Book
from attrition.commits import commit_run
from attrition.console import DONE, FAILED, first_words, say, stamp, status_of, words_of
from attrition.home import Place, UsageError
from attrition.kernels import CellFailed
from attrition.params import Portfolio
from attrition.runs import Run, latest
from attrition.signals import Interrupted
from attrition.stage_runner import StageRunner, parameters_of
from attrition.stages import keep_params
from attrition.wishes import Wish

__all__ = ["by_hand"]

NOTHING = "Tried by hand: nothing was committed."


def by_hand(
    place: Place,
    portfolio: Portfolio,
    book: Book,
    stages: Mapping[str, str],
    wish: Wish,
    executing: Callable[[Run], StageRunner],
    *,
    clock: Callable[[], datetime],
) -> int:
    """A manual run of some stages: its folder and its line in the book are published, rows, models and scores stay.

    Args:
        place, portfolio, book: of the portfolio; the caller holds its lock.
        stages: all of them, name -> notebook, in order.
        wish: the stage to begin with, and whether it is the only one.
        executing: makes what executes the stages of a run.
        clock: the time.

    Returns:
        The exit status.

    Raises:
        UsageError: what is asked cannot be done; nothing was started.
    """
    base, names = _wanted(place, stages, wish.stage, only=wish.only)
    log, sequence = _begin(place, portfolio, book, base, stages, clock())
    keep_params(log.folder, portfolio, changed=bool(wish.given))
    status, said, reason = _attempt(executing(log), base, stages, names)
    log.end(said, stamp(clock()), reason=reason)
    publish.run_page(place, log, portfolio, book)
    commit_run(place, book, log, sequence)
    say(place, f"{log.name} {said}: {reason}")
    last = next((line for line in reversed(log.report["stages"]) if line["name"] in names and line["report"]), None)
    say(place, f"report: {log.folder / last['report'] if last else publish.report_path(log)}")
    return status


def _wanted(place: Place, stages: Mapping[str, str], first: str, *, only: bool) -> tuple[Path, list[str]]:
    """The completed run that last executed the stage ``first``, and the stages to execute once more."""
    if first not in stages:
        raise UsageError(f"no stage {first[:40]!r}; there are {', '.join(stages)}")
    if first == "ingest":
        raise UsageError("ingest takes drops in, which is done once: without committing there is nothing to try")
    runs = latest(place)
    if first not in runs:
        raise UsageError(
            f"{place.name}: no completed run has executed {first} yet. Start with: runner.py tick {place.name};"
            f" go on with a run that failed: runner.py tick {place.name} --resume"
        )
    base = place.executed / runs[first]
    ran = [line["name"] for line in Run.read(base).report["stages"] if line["status"] in ("completed", "reused")]
    later = [name for name in stages if name in ran and list(stages).index(name) >= list(stages).index(first)]
    return base, [first] if only else later


def _begin(
    place: Place, portfolio: Portfolio, book: Book, base: Path, stages: Mapping[str, str], at: datetime
) -> tuple[Run, int]:
    """Open a manual run that speaks of the same data and models as ``base``; it, and the book's sequence."""
    facts = Run.read(base).report
    name, sequence = book.begin(at.strftime("%Y%m%dT%H%M%SZ"), stamp(at), manual=True)
    kept = {key: facts[key] for key in ("data_version", "champion_before", "challenger", "model")}
    kept |= {"params_sha256": portfolio.sha256, "params": params.listed(portfolio), "based_on": base.name}
    return Run.start(place, name, stamp(at), stages, manual=True, **kept), sequence


def _attempt(runner: StageRunner, base: Path, stages: Mapping[str, str], names: list[str]) -> tuple[int, str, str]:
    """Execute some stages with the parameters that they had in ``base``; the exit status, the run's, and the reason."""
    log, name = runner.log, ""
    before = {line["name"]: line["status"] for line in Run.read(base).report["stages"]}
    order = list(stages)
    try:
        for name, notebook in stages.items():
            if name in names:
                runner.run(name, notebook, parameters_of(base / notebook))
            elif before.get(name) in ("completed", "reused") and order.index(name) < order.index(names[0]):
                runner.reuse(name, notebook, base)
            else:
                log.stage(name, "skipped", reason="not asked for")
    except CellFailed as error:
        failure = error.failure
        advice = f"Nothing was committed. Look into it with: runner.py open {runner.place.name} {log.name} {name}"
        cell = {"stage": name, "cell": failure.cell, "name": failure.name, "message": failure.message}
        log.note(error={**cell, "advice": advice})
        return FAILED, "failed", f"The run failed in stage {name}: {first_words(failure.name, failure.message)}"
    except Interrupted as signal:
        return status_of(signal), "interrupted", f"The run stopped by {signal}. {NOTHING}"
    except Exception as error:  # the run ends with its account, whatever it was
        log.note(error={"stage": None, "cell": None, "name": type(error).__name__, "message": str(error), "advice": ""})
        return FAILED, "failed", f"The run failed between two stages: {words_of(error)}"
    return DONE, "completed", NOTHING
