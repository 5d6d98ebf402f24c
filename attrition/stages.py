"""What a stage notebook has in its hands: its portfolio, the places it may read, the folder it may write.

A stage that is run by itself, with its default parameters, works on the committed sample: it reads the
sample's home and writes into a scratch folder that holds a copy of the sample's run.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from attrition import params, record, safe, scratch
from attrition.book import Book
from attrition.home import CHECKOUT, PARTS, REPOSITORY, RUN, Home, Place
from attrition.params import Portfolio
from attrition.runs import Run

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from attrition.registry import Manifest
    from attrition.store.clients import Clients

__all__ = ["SAMPLE", "Stage", "keep_params"]

SAMPLE = REPOSITORY / "tests" / "data" / "home" if CHECKOUT else PARTS / "sample"
CHANGED = "params"
"""The folder of a run with the YAML that -p made, which stays."""
BEGUN = ".params"
"""That with the YAML as it was when the run began, while that is at work: it may be saved meanwhile, and a stage that
read it then would take rows in by other words than the run was checked by."""


def keep_params(folder: Path, portfolio: Portfolio, *, changed: bool) -> None:
    """Write down the YAML that a run's stages read; it stays with the run where ``-p`` ``changed`` it."""
    safe.write(safe.make_folder(folder / (CHANGED if changed else BEGUN)) / f"{portfolio.name}.yaml", portfolio.text)


@dataclass(frozen=True)
class Stage:
    """One stage at work. ``staging`` is the only folder it writes to."""

    place: Place
    portfolio: Portfolio
    staging: Path

    @classmethod
    def open(cls, home: str, portfolio: str, staging: str) -> Stage:
        """The stage of ``portfolio`` in ``home``; empty text means the committed sample and a scratch folder.

        Raises:
            ParamsError: the portfolio's YAML is missing or wrong.
        """
        place = Home(Path(home) if home else SAMPLE).place(portfolio)
        folder = Path(staging) if staging else _scratch(place)
        kept = [path for name in (CHANGED, BEGUN) if safe.exists(path := folder / name / place.params.name)]
        return cls(place, params.load(kept[0] if kept else place.params), folder)

    def recorded(self, notebook: str, name: str) -> Any:
        """A value that an earlier stage of this run recorded, such as ``recorded("20_monitor", "verdict")``.

        Raises:
            FileNotFoundError: that stage did not run.
            NotRecorded: it ran without leaving the value.
        """
        return record.value(self.staging / f"{notebook}.ipynb", name)

    def ran(self, notebook: str) -> bool:
        """Whether an earlier stage of this run was executed."""
        return safe.exists(self.staging / f"{notebook}.ipynb")

    def clients(self, version: int | None = None) -> Clients:
        """The client table as it was at a data version; None: the newest."""
        from attrition.store.clients import Clients

        return Clients(self.portfolio, self.place.clients, version)

    def watched(self) -> dict[str, Any] | None:
        """The evidence about the champion that the book keeps (``watch.Watch.to_dict``); None where it keeps none."""
        with Book.open(self.place.book, read_only=True) as book:
            kept: dict[str, Any] | None = book.state().evidence.get("watch")
        return kept

    def model(self, version: str) -> tuple[Pipeline, Manifest]:
        """A model and its manifest: the one that this run has just trained, or one among the versions.

        Raises:
            ModelRefused: it is not what its manifest, or the book, says, or it knows other features than the YAML.
            OSError: it cannot be read at the moment. A champion that is refused is replaced without a proof; this one
                waits for a tick that can read it.
        """
        from attrition import registry

        try:
            pipeline, manifest = self._loaded(version)
        except registry.ModelUnreadable as error:
            raise error.passing() from None
        if not manifest.fits(self.portfolio):
            why = "the portfolio's YAML names other features than it was trained on"
            raise registry.ModelRefused(self.place.models / version, why, "the next tick with outcomes trains anew")
        if not manifest.asks:
            manifest = msgspec.structs.replace(manifest, asks=self._asked(manifest.run))
        return pipeline, manifest

    def _asked(self, run: str) -> dict[str, str | int | None]:
        """What a model of a release that did not note it was asked: by the YAML of its run, if that is there still."""
        begun = Run(self.place.executed / run, {}) if RUN.fullmatch(run) else None
        with suppress(ValueError):  # a torn one
            return params.asked(str(begun.before().get("params") or "")) if begun else {}
        return {}

    def _loaded(self, version: str) -> tuple[Pipeline, Manifest]:
        from attrition import registry

        trained = self.staging / "model"
        if safe.exists(trained) and registry.read_manifest(trained).version == version:
            return registry.load(trained)
        folder = registry.version_path(self.place.models, version)
        with Book.open(self.place.book, read_only=True) as book:
            return registry.load(folder, book.model(version)["sha256"], (self.place.name, version))


def _scratch(place: Place) -> Path:
    # Below it, as a copy is as old as what was copied, and this folder would be that of a process before ours.
    folder = Path(tempfile.mkdtemp(prefix=scratch.prefix("notebook")), "staging")
    runs = [run for each in safe.entries(place.executed) if safe.exists(run := each / "run.json")]
    if runs:
        shutil.copytree(runs[-1].parent, folder)
    else:
        folder.mkdir()
    return folder
