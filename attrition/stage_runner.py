"""One stage of a run after another: each executed in a kernel of its own, or taken over from an earlier run."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrition import kernels, publish, record, safe
from attrition.console import say
from attrition.forks import Forks
from attrition.home import Place
from attrition.kernels import CellFailed, Deadline
from attrition.params import Portfolio
from attrition.progress import Progress
from attrition.runs import ACCOUNT, BEFORE, RESERVE, Run, latest
from attrition.signals import Interrupted, Stop

__all__ = ["StageRunner", "parameters_of"]

OF_THE_RUN = {"home", "staging", "run", "previous", "api_url"}
"""Parameters that say where and for which run a stage works, not what it computes."""


class StageRunner:
    """Executes the stages of one run, keeps its account of them and its log."""

    def __init__(self, place: Place, portfolio: Portfolio, notebooks: Path, forks: Forks, stop: Stop, log: Run):
        self.place, self.portfolio, self.log = place, portfolio, log
        self.notebooks, self.forks, self.stop = notebooks, forks, stop
        self.progress = Progress(partial(say, place))
        self.ends = time.monotonic() + portfolio.run_deadline
        self._earlier: Run | None = None  # to take stages over from

    def take_over(self, earlier: Run) -> None:
        """Take completed stages over from an earlier run, as long as they would be executed in the same way."""
        if earlier.report.get("params_sha256") != self.portfolio.sha256:
            self.progress.line(f"nothing is taken over from {earlier.name}: it had other parameters")
            return
        own = ("*.ipynb", "*.html", ACCOUNT, BEFORE, RESERVE, "ingest.json", "rows", "quarantine")
        shutil.copytree(earlier.folder, self.log.folder, ignore=shutil.ignore_patterns(*own), dirs_exist_ok=True)
        self._earlier = earlier

    def run(self, name: str, notebook: str, parameters: Mapping[str, Any]) -> None:
        """Execute one stage and make its page, also when it fails.

        Args:
            name, notebook: the stage and its file.
            parameters: its own, beside those that every stage has: where it works, and for which run.

        Raises:
            CellFailed: it did not come to its end.
            Interrupted: a signal came.
        """
        self.stop.check()
        own = {"home": str(self.place.root), "staging": str(self.log.folder), "run": self.log.name}
        parameters = {**parameters, **own, "portfolio": self.place.name}
        if self._reused(name, notebook, parameters):
            return
        self.log.stage(name, "running")
        executed = self.log.folder / notebook
        begun = time.monotonic()
        try:
            seconds = kernels.execute(
                self.notebooks / notebook,
                executed,
                parameters,
                forks=self.forks,
                deadline=self._deadline(),
                stop=self.stop,
                printed=self.progress.stage(name),
            )
        except (CellFailed, Interrupted) as error:
            status = "interrupted" if isinstance(error, Interrupted) else "failed"
            self.log.stage(name, status, seconds=round(time.monotonic() - begun, 2))
            if safe.exists(executed):
                self.log.stage(name, status, report=publish.stage_page(self.log, notebook))
            raise
        self.log.stage(name, "completed", seconds=round(seconds, 2), report=publish.stage_page(self.log, notebook))
        self.progress.line(f"{name} completed in {seconds:.1f} s")

    def reuse(self, name: str, notebook: str, earlier: Path) -> None:
        """Take a stage over from an earlier run as it stands there."""
        page = Path(notebook).with_suffix(".html").name
        for file in (notebook, page):
            shutil.copy(earlier / file, self.log.folder)
        self.log.stage(name, "reused", reason=f"from run {earlier.name}", report=page)
        self.progress.line(f"{name} reused from run {earlier.name}")

    def recorded(self, stage: str, name: str) -> Any:
        """A value that a stage of this run recorded."""
        return record.value(self.log.folder / self._notebook(stage), name)

    def previous(self, stage: str) -> str:
        """The executed notebook of the run that last went through a stage; empty where none did."""
        run = latest(self.place).get(stage)
        return str(self.place.executed / run / self._notebook(stage)) if run else ""

    def _notebook(self, stage: str) -> str:
        return str(next(line["notebook"] for line in self.log.report["stages"] if line["name"] == stage))

    def _reused(self, name: str, notebook: str, parameters: Mapping[str, Any]) -> bool:
        """Whether the stage was taken over: it completed there, and code and parameters are the same."""
        if self._earlier is None or name == "ingest":
            return False
        stages, folder = self._earlier.report["stages"], self._earlier.folder
        done = any(line["name"] == name and line["status"] in ("completed", "reused") for line in stages)
        if done and _same(folder / notebook, self.notebooks / notebook, parameters):
            self.reuse(name, notebook, folder)
            return True
        self._earlier = None  # what comes after it may differ too
        return False

    def _deadline(self) -> Deadline:
        """How long the next stage may take: its own deadline, or what is left of the run's."""
        stage, run = self.portfolio.deadline, self.portfolio.run_deadline
        left = self.ends - time.monotonic()
        if left < stage:
            return Deadline(left, f"not done within {run:g} s, the deadline of a run")
        return Deadline(stage, f"not done within {stage:g} s, the deadline of a stage")


def parameters_of(executed: Path) -> dict[str, Any]:
    """The parameters that an executed notebook was given."""
    given: dict[str, Any] = json.loads(executed.read_text(encoding="utf-8"))["metadata"]["papermill"]["parameters"]
    return given


def _same(executed: Path, notebook: Path, parameters: Mapping[str, Any]) -> bool:
    given = parameters_of(executed)
    if {k: v for k, v in given.items() if k not in OF_THE_RUN} != {
        k: v for k, v in parameters.items() if k not in OF_THE_RUN
    }:
        return False
    return _sources(executed) == _sources(notebook)


def _sources(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    own = [cell for cell in cells if "injected-parameters" not in cell["metadata"].get("tags", ())]
    return ["".join(cell["source"]) for cell in own if cell["cell_type"] == "code"]
