"""The three points at which a run's work becomes the portfolio's, and what a crash between leaves to finish.

Each is a few steps that may be repeated: called again after a crash, it does what is still missing.
Only the runner calls them, under the portfolio's lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrition import safe
from attrition.book import Book, Outcome
from attrition.home import Place
from attrition.runs import ACCOUNT, LATEST, Run, latest
from attrition.store import marks
from attrition.store.drops import being_written, names

if TYPE_CHECKING:  # importing it takes longer than a quiet tick
    from attrition.params import Portfolio

__all__ = [
    "commit_decision",
    "commit_ingest",
    "commit_run",
    "finish_ingest",
    "keep_up",
    "mend_current",
    "mend_latest",
    "settle_drops",
]

LATELY = 1000
"""Runs from which latest.json is made again."""


def commit_ingest(place: Place, portfolio: Portfolio, book: Book, sequence: int, run: Run) -> int:
    """Commit 1: the staged rows become one version of clients/, and the book knows of them; the drops come next."""
    from attrition.store.clients import commit_rows

    manifest = _manifest(run)
    book.still(sequence)
    safe.sync_below(run.folder / "quarantine")  # once the rows are in, these must not be lost either
    commit_rows(place.clients, portfolio, run.folder, manifest)
    return _ledger(place, book, sequence, run, manifest)


def _ledger(place: Place, book: Book, sequence: int, run: Run, manifest: Mapping[str, Any]) -> int:
    read = [mark for drop in manifest["drops"] if (mark := marks.of(place.incoming / drop["name"], drop["sha256"]))]
    numbers = {"ingests": manifest["ingest"], "data_version": manifest["data_version"]}
    words = run.report.get("outcomes")  # of the run, which may have had others than the YAML has: by -p, or since then
    return book.ingested(sequence, run.name, manifest["drops"], **numbers, marks=read, outcomes=words)


def settle_drops(place: Place, run: Run) -> None:
    """After commit 1: move what the ledger speaks of out of incoming/, and the rejected rows into quarantine/.

    A drop that its owner replaced or took away while it was read cannot be kept; the run's account says so.
    """
    rejected = run.folder / "quarantine"
    if safe.exists(rejected) and any(rejected.iterdir()):
        safe.publish(rejected, safe.make_folder(place.quarantine) / run.name)
    lost = []
    for drop in _manifest(run)["drops"]:
        away = place.taken if drop["to"] == "taken" else place.quarantine
        path, target = place.incoming / drop["name"], away / run.name / drop["name"]
        if safe.there(target) and not _kept(target, drop["sha256"]):  # killed between a move and the look after it
            _put_back(target, path)
        seen = safe.identity(path)
        if seen and _is(path, drop["sha256"]):
            _move_away(path, target, seen)
        lost += [] if safe.there(target) else [drop["name"]]
    if lost != run.report.get("not_kept", []):
        run.note(not_kept=lost)


def _move_away(path: Path, target: Path, seen: tuple[int, ...]) -> None:
    """Move a drop that was ``seen`` and found to be what was read; what its owner put into its place is put back."""
    vouched = marks.lift(path)
    safe.make_folder(target.parent)
    # A second of the same name, that came while a crash was made good, stands beside the first.
    to = target.with_name(safe.derived(target.name, after=".again")) if safe.there(target) else target
    with suppress(FileNotFoundError):  # taken away by its owner at the last moment
        safe.move(path, to)
        # In this order: whoever is not writing to it now will not begin, under a name that is gone.
        if (not vouched and being_written(to)) or safe.identity(to) != seen:
            _put_back(to, path)


def commit_decision(place: Place, book: Book, sequence: int, run: Run, outcome: Outcome, at: str) -> int:
    """Commit 2: a new model gets its version folder, and the book knows the decision; current.json comes next."""
    book.still(sequence)
    if outcome.trained:
        target = place.models / outcome.trained["version"]
        safe.remove(target)  # of a run that died before its book did: nothing names it
        safe.make_folder(place.models)
        safe.publish(run.folder / "model", target)
    return book.decided(sequence, run.name, outcome, at)


def mend_current(place: Place, book: Book) -> str:
    """Write current.json as the book has it, if it says anything else. Standard library only: every tick asks.

    Returns:
        "model 0001" where it named another one than is deployed, "no model" where it named none; else nothing.
    """
    champion = book.state().champion
    if champion is None:
        return ""
    deployed = book.deployments(1)[0]
    wanted = {
        "portfolio": place.name,
        "version": champion,
        "sha256": book.model(champion)["sha256"],
        "run": deployed["run"],
        "deployed_at": deployed["since"],
        "proven": deployed["proven"],
    }
    try:
        there = json.loads(place.current.read_text(encoding="utf-8")) if safe.is_file(place.current) else None
    except (FileNotFoundError, ValueError, RecursionError):  # of brackets without end
        there = None
    if there == wanted:
        return ""
    safe.make_folder(place.models)  # gone with all models: then the champion is refused, and the next tick trains
    safe.write(place.current, json.dumps(wanted, indent=1) + "\n")
    named = there if isinstance(there, dict) else {}
    if all(named.get(key) == wanted[key] for key in ("version", "sha256")):
        return ""
    return f"model {str(named['version'])[:20]}" if "version" in named else "no model"


def finish_ingest(place: Place, book: Book, run: Run) -> None:
    """Complete commit 1 where it stopped: the rows are in the table, the book or the folders do not show it."""
    if not safe.exists(run.folder / "ingest.json"):
        return
    manifest = _manifest(run)
    state = book.state()
    if manifest["ingest"] == state.ingests + 1 and _in_table(place, manifest["ingest"]):
        _ledger(place, book, state.sequence, run, manifest)
    if book.drops(run.name):
        settle_drops(place, run)
        counts = {"in": "rows_in", "ingested": "ingested", "duplicates": "duplicates", "quarantined": "quarantined"}
        rows = {key: sum(drop[count] for drop in manifest["drops"]) for key, count in counts.items()}
        run.note(data_version=manifest["data_version"], rows=rows)


def _in_table(place: Place, ingest: int) -> bool:
    from deltalake import DeltaTable

    from attrition.store import delta

    return delta.is_table(place.clients) and DeltaTable(str(place.clients)).transaction_version("ingest") == ingest


def commit_run(place: Place, book: Book, run: Run, sequence: int | None = None) -> None:
    """Commit 3: the scores, the run's folder and its line in the book. ``run`` has said how it ended.

    ``sequence`` is where the run left the book; None when its process is gone and another one closes it.
    """
    if sequence is not None:
        book.still(sequence)
    done = run.report["status"] == "completed" and "based_on" not in run.report  # which is tried, and not kept
    if sequence is None or not done:
        finish_ingest(place, book, run)
    scored = _commit_scores(place, run) if done or _scores_in_table(place, run) else None
    safe.remove(run.folder / "work")  # rows of an ingest that was killed in it
    folder = run.publish(place)
    book.finished(book.state().sequence, run.report, scored)
    if done:
        _point(place, run.report, folder)


def _scores_in_table(place: Place, run: Run) -> bool:
    """Whether a run that failed had committed its predictions before: made again, they would stand there twice."""
    if not safe.exists(place.scores / f"part-{_number(run):06d}-{run.name}.parquet"):
        return False
    from deltalake import DeltaTable

    from attrition.store import delta

    return delta.is_table(place.scores) and DeltaTable(str(place.scores)).transaction_version("scores") == _number(run)


def _number(run: Run) -> int:
    return int(run.name.rsplit("-", 1)[1])


def keep_up(place: Place, portfolio: Portfolio) -> str | None:
    """After commit 3: a bounded piece of the tables' upkeep; why it could not be done, if so. No tick fails of it."""
    from attrition.store.upkeep import keep_up

    try:
        keep_up(portfolio, place.clients, place.scores)
    except Exception as error:  # the tables are as good as before, and the next tick tries again
        return f"the tables could not be kept up: {type(error).__name__}: {error}"
    return None


def _commit_scores(place: Place, run: Run) -> tuple[int, str] | None:
    """Publish what 70_assess staged; the data version and model that it speaks of."""
    from attrition.store.clients import commit_scores

    if not any(stage["name"] == "assess" and stage["status"] == "completed" for stage in run.report["stages"]):
        return None
    scores, ranking = run.folder / "scores.parquet", run.folder / "ranking.parquet"
    commit_scores(place.scores, scores, _number(run), run.name)
    if safe.exists(ranking):
        safe.sync(ranking)
        safe.move(ranking, place.ranking)
    if safe.exists(calls := run.folder / "call_list.json"):
        safe.move(calls, place.call_list)
    return run.report["data_version"], run.report["model"]["version"]


def mend_latest(place: Place, book: Book) -> None:
    """Enter into latest.json the runs that completed and went away before they could do so themselves.

    Where the file is gone, or damaged, it is made again from all that were of late.
    """
    known, missing = latest(place).get("run"), []
    for line in book.runs(limit=10 if known else LATELY):
        if line["run"] == known:
            break
        if line["status"] == "completed" and safe.exists(place.executed / line["run"] / ACCOUNT):
            missing.append(Run.read(place.executed / line["run"]))
    for run in reversed(missing):
        if "based_on" not in run.report:
            _point(place, run.report, run.folder)


def _point(place: Place, report: Mapping[str, Any], folder: Path) -> None:
    """Enter a run that completed into latest.json."""
    known = latest(place)
    known |= {stage["name"]: folder.name for stage in report["stages"] if stage["status"] == "completed"}
    if report.get("performance"):
        known["judged"] = folder.name
    known |= {"run": folder.name, "finished_at": report["finished_at"]}
    safe.write(place.executed / LATEST, json.dumps(known, indent=1))


def _manifest(run: Run) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((run.folder / "ingest.json").read_text(encoding="utf-8"))
    return manifest


def _is(path: Path, sha256: str | None) -> bool:
    """Whether a drop is still the one that was read; what is no file, or may not be read, has no hash."""
    if not safe.is_regular(path):
        return sha256 is None
    try:
        return safe.sha256(path) == sha256
    except PermissionError:
        if sha256 is not None:  # it was read once: the next tick asks again
            raise
        return True


def _kept(path: Path, sha256: str | None) -> bool:
    """Whether what was moved away is what was read, and stays it."""
    return not being_written(path) and _is(path, sha256)


def _put_back(moved: Path, path: Path) -> None:
    """Let a file wait in incoming/ that nobody has read; if another of its name has come, under a name beside it."""
    for back in names(path):
        try:
            os.link(moved, back, follow_symlinks=False)  # a rename would replace what comes at this moment
        except FileExistsError:
            if safe.identity(moved) != safe.identity(back):
                continue
            moved.unlink()  # killed between these two steps
        except PermissionError:  # a folder, or a file system without links
            if safe.there(back):
                continue
            safe.move(moved, back)
        else:
            moved.unlink()
            safe.sync(back.parent)
            safe.sync(moved.parent)
        return
