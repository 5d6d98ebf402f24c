"""What old runs leave behind, and what of it nobody needs any more.

A run that is pruned keeps its account and its own page; its notebooks, their pages, its files and the drops that it
took in go. A model goes that no kept run, no rollback and no other model speaks of. Rows, predictions, the book and
quarantine/ stay: what is evidence is never pruned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from attrition import publish, registry, safe
from attrition.book import Book
from attrition.home import RUN, Place
from attrition.params import Portfolio
from attrition.runs import Run, latest, published

__all__ = ["Plan", "carry_out", "plan"]

KEPT = {"run.json", "index.html", "index.json", "compare.html", "compare.json"}
"""Of a pruned run: what lists, and pages of other runs, link to."""
ROLLBACKS = 3
"""Earlier models that served and may serve again."""


@dataclass(frozen=True)
class Plan:
    """What is to go, and how many bytes that frees; ``damaged``: models that are needed, and say of none what it is.

    Such a model may begin with the coefficients of any other one: while there is one, no model goes.
    """

    runs: tuple[str, ...]
    models: tuple[str, ...]
    bytes: int
    damaged: tuple[str, ...]


def plan(place: Place, book: Book, now: datetime, *, days: int, keep: int) -> Plan:
    """What goes: of runs those that are both older than ``days`` and not among the newest ``keep``.

    What ``latest.json`` names stays, and all after the newest completed run; so do the runs that made a model which
    stays, or deployed the one that serves.

    Raises:
        OSError: what a model says of itself cannot be read at the moment.
    """
    pointed = set(latest(place).values())
    folders = published(place)
    newest = max((each for each in pointed if RUN.fullmatch(each)), default="")
    limit = (now - timedelta(days=days)).strftime("%Y%m%dT%H%M%SZ")
    old = [
        folder
        for folder in folders[: max(0, len(folders) - keep)]
        if folder.name < limit and folder.name not in pointed and folder.name < newest
    ]
    models = {model["version"]: model for model in book.models()}
    staying = [folder for folder in folders if folder not in old]
    needed, damaged = _models_needed(place, book, staying)
    needed |= models.keys() if damaged else set()
    makers = {models[version]["run"] for version in needed if version in models}
    makers |= {str(each["run"]) for each in book.deployments(1)}
    going = [folder for folder in old if folder.name not in makers]
    needed |= _spoken_of([folder for folder in old if folder.name in makers])
    runs = [folder for folder in going if any(_files(place, folder))]
    gone = [version for version in models if version not in needed and safe.exists(place.models / version)]
    files = [path for folder in runs for path in _files(place, folder)]
    files += [path for version in gone for path in safe.below(place.models / version) if safe.is_file(path)]
    size = sum(path.lstat().st_size for path in files)
    return Plan(tuple(folder.name for folder in runs), tuple(gone), size, tuple(damaged))


def carry_out(place: Place, portfolio: Portfolio, book: Book, chosen: Plan, at: str) -> None:
    """Remove what was planned. The account and the page of a run say so before the first of its files goes.

    The caller writes the lists of the portfolio anew; until then `Place.at_work` says that they are not.
    """
    place.begin_lists()
    for name in chosen.runs:
        run = Run.read(place.executed / name)
        if "pruned" not in run.report:
            for line in run.report["stages"]:
                line["report"] = None
            run.note(pruned=at)
        publish.run_page(place, run, portfolio, book)
        for path in _files(place, run.folder):
            path.unlink(missing_ok=True)
        for folder in (*(each for each in run.folder.iterdir() if safe.is_folder(each)), place.taken / name):
            safe.remove(folder)
        safe.sync(run.folder)
    for version in chosen.models:
        safe.remove(place.models / version)


def _files(place: Place, folder: Path) -> Iterator[Path]:
    """The files of a run that pruning takes away."""
    for root in (folder, place.taken / folder.name):
        for path in safe.below(root):
            if not safe.is_folder(path) and not (path.parent == folder and path.name in KEPT):
                yield path


def _models_needed(place: Place, book: Book, staying: list[Path]) -> tuple[set[str], list[str]]:
    """Versions that serve, are on trial, are the newest, may be rolled back to, or that a kept run speaks of; and those
    of them whose manifest is damaged.
    """
    state = book.state()
    needed = {each for each in (state.champion, state.challenger) if each} | {f"{state.versions:04d}"}
    barred = {model["version"] for model in book.models() if model["status"] == "barred"}
    served = list(dict.fromkeys(str(each["version"]) for each in book.deployments()))
    needed |= set([each for each in served if each not in barred][: ROLLBACKS + 1])
    needed |= _spoken_of(staying)
    waiting, damaged = list(needed), []
    while waiting:  # a model that begins with the coefficients of another one names it
        folder = place.models / waiting.pop()
        try:
            mends = registry.read_manifest(folder).mends if safe.exists(folder) else ""
        except registry.ModelUnreadable as error:
            raise error.passing() from None
        except registry.ModelRefused:
            damaged.append(folder.name)
            continue
        if mends and mends not in needed:
            needed.add(mends)
            waiting.append(mends)
    return needed, sorted(damaged)


def _spoken_of(folders: list[Path]) -> set[str]:
    found = set()
    for folder in folders:
        try:
            report = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue
        if "pruned" not in report:
            found |= {report["champion_before"], report["challenger"], (report["model"] or {}).get("version")}
    return {str(version) for version in found if version}
