"""A run's folder: its staging, its own account (run.json), its publication."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrition import record, safe
from attrition.home import RUN, Place

__all__ = ["BEFORE", "Run", "latest", "leftovers", "published"]

ACCOUNT = "run.json"
LATEST = "latest.json"
BEFORE = "before.json"
"""What a run began from: the book's state and the portfolio's YAML."""
RESERVE = ".reserve"
"""A file of a run at work that holds a place on the disk, so that a run which fills the disk can still say so."""
RESERVED = 512 * 1024


class Run:
    """One run at work. ``report`` is its account; each change is written whole before the run goes on."""

    def __init__(self, folder: Path, report: dict[str, Any]):
        self.folder, self.report = folder, report

    @classmethod
    def start(cls, place: Place, run: str, started_at: str, stages: Mapping[str, str], **facts: Any) -> Run:
        """Make the staging folder of a run whose ``stages`` (name -> notebook) are all pending."""
        folder = safe.make_folder(place.staging / run)
        safe.write(place.at_work, "")
        report = {
            "run": run,
            "portfolio": place.name,
            "status": "running",
            "manual": False,
            "decision": None,
            "reason": None,
            "started_at": started_at,
            "finished_at": None,
            "rows": {"in": 0, "ingested": 0, "duplicates": 0, "quarantined": 0},
            "data_version": 0,
            "champion_before": None,
            "challenger": None,
            "model": None,
            **facts,
            "stages": [
                {"name": name, "status": "pending", "seconds": None, "notebook": notebook, "report": None}
                for name, notebook in stages.items()
            ],
        }
        started = cls(folder, report)
        started.write()
        safe.write(folder / RESERVE, os.urandom(RESERVED))  # at random, so that no file system makes it smaller
        return started

    @classmethod
    def read(cls, folder: Path) -> Run:
        """The run that left ``folder``.

        Raises:
            FileNotFoundError, ValueError: the folder holds no account that can be read.
        """
        return cls(folder, json.loads((folder / ACCOUNT).read_text(encoding="utf-8")))

    @property
    def name(self) -> str:
        """The run's id."""
        return str(self.report["run"])

    def write(self) -> None:
        """Put the account on the disk, if need be in the place that was held for it."""
        text = json.dumps(self.report, indent=1, ensure_ascii=False) + "\n"
        try:
            safe.write(self.folder / ACCOUNT, text)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not safe.exists(self.folder / RESERVE):
                raise
            self.spend()
            safe.write(self.folder / ACCOUNT, text)

    def recorded(self, *notebooks: str) -> dict[str, dict[str, Any]]:
        """What its stages recorded, by notebook such as ``20_monitor``; of all stages, or of these."""
        names = notebooks or [Path(line["notebook"]).stem for line in self.report["stages"]]
        found: dict[str, dict[str, Any]] = {}
        for name in names:
            with suppress(FileNotFoundError, ValueError):  # it did not run, or was cut short
                found[name] = record.read(self.folder / f"{name}.ipynb")
        return found

    def remember(self, state: Mapping[str, Any], params: str) -> None:
        """Leave what a replay starts from: the book's state and the portfolio's YAML, as they are now."""
        safe.write(self.folder / BEFORE, json.dumps({"state": dict(state), "params": params}, ensure_ascii=False))

    def before(self) -> dict[str, Any]:
        """What `remember` left: ``state`` and ``params``; empty where nothing was."""
        path = self.folder / BEFORE
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if safe.exists(path) else {}
        return found

    def spend(self) -> None:
        """Give the place back that was held on the disk."""
        (self.folder / RESERVE).unlink(missing_ok=True)

    def note(self, **facts: Any) -> None:
        """Change keys of the account."""
        self.report.update(facts)
        self.write()

    def stage(self, name: str, status: str, **facts: Any) -> None:
        """Change one stage's line."""
        line = next(line for line in self.report["stages"] if line["name"] == name)
        line.update(status=status, **facts)
        self.write()

    def end(self, status: str, finished_at: str, **facts: Any) -> None:
        """Say how the run ended; stages that did not come to their turn are skipped, one at work is cut short."""
        self.spend()
        for line in self.report["stages"]:
            if line["status"] == "running":
                line["status"] = "interrupted" if status == "interrupted" else "failed"
            elif line["status"] == "pending":
                line.update(status="skipped", reason=line.get("reason") or "the run ended before it")
        if status == "completed":  # what is said to be there must outlast a power cut before it is said
            safe.sync_below(self.folder)
        self.note(status=status, finished_at=finished_at, **facts)

    def publish(self, place: Place) -> Path:
        """Move the whole folder to its place among the runs; published already is fine."""
        target = place.executed / self.name
        if self.folder != target and safe.exists(self.folder):
            safe.clear(self.folder)  # of kernels that were killed while they wrote, or that outlived their runner
            safe.publish(self.folder, target)
        safe.clear(target)  # what such a kernel began between the two
        self.folder = target
        return target


def latest(place: Place) -> dict[str, str]:
    """The newest completed run of each stage, ``judged`` for the newest that judged the champion on new clients,
    ``run`` and ``finished_at`` of the newest of all: so that no reader has to search through the runs.

    Nothing where the file is gone or damaged: the next tick makes it again.
    """
    try:
        found = json.loads((place.executed / LATEST).read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(each, str) for each in found.values()) else {}


def published(place: Place) -> list[Path]:
    """The folders of published runs, oldest first."""
    return [folder for folder in safe.entries(place.executed) if RUN.fullmatch(folder.name)]


def leftovers(place: Place) -> Iterator[Run]:
    """Runs whose staging folder is still there: their process went away before it could publish."""
    for folder in safe.entries(place.staging):
        # Killed before its first line, there is nothing to tell. And what stands here beside a run that is published
        # was written by a process that slept while somebody took its lock away and another closed its run.
        if safe.exists(folder / ACCOUNT) and not safe.exists(place.executed / folder.name):
            yield Run.read(folder)
        else:
            safe.remove(folder)
