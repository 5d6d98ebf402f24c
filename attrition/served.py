"""A deployed model with its portfolio: from a request's body to its answer."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from attrition import params, pickles, registry, words
from attrition.body import Reader, Refused, Rows
from attrition.folded import Folded
from attrition.home import Place
from attrition.params import Portfolio
from attrition.registry import Current, Manifest, ModelRefused
from attrition.schema import Answer, Identity, Prediction, Predictions

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = ["Served", "Stamp", "stamp"]

RISING = ("low", "medium", "high")
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Served:
    """What one portfolio's requests are answered by; it never changes.

    ``folded`` is None where scikit-learn must say, ``pipeline`` where it need not. ``files`` are the stamps that the
    model's files had before they were read.
    """

    portfolio: Portfolio
    current: Current
    manifest: Manifest
    identity: Identity
    reader: Reader
    folded: Folded | None
    pipeline: Pipeline | None
    files: tuple[Stamp, ...]

    @classmethod
    def load(cls, place: Place) -> Served | None:
        """What is deployed in a portfolio, proven on its golden rows; None before the first model is.

        Raises:
            ModelRefused: the model is not what was deployed, or does not fit the portfolio.
            ParamsError: the portfolio's YAML cannot be used.
        """
        portfolio = params.load(place.params)
        current = registry.current(place.models)
        if current is None:
            return None
        folder = registry.version_path(place.models, current.version)
        files = tuple(map(stamp, place.version_files(current.version)))
        data, manifest = registry.verified(folder, current.sha256, (place.name, current.version))
        folded = _folded(data, manifest)
        pipeline = None if folded else registry.load(folder, current.sha256)[0]
        if not _fits(folded or pipeline, portfolio):
            why = "its features are not the portfolio's any more"
            raise ModelRefused(folder, why, f"take back the change in {place.name}.yaml, or train anew with --force")
        identity = Identity(manifest.version, manifest.sha256)
        reader = Reader(portfolio, manifest.features)
        return cls(portfolio, current, manifest, identity, reader, folded, pipeline, files)

    def answer(self, data: bytes, media_type: str, explain: int = 0) -> tuple[Answer, list[bool]]:
        """Probability, decision and band of each row of a body, in order, and whose they are; the decisions alone.

        ``explain`` asks for so many reasons a client, in words.

        Raises:
            Refused: as :meth:`attrition.body.Reader.read`; 422 where the model can give no reasons.
        """
        rows = self.reader.read(data, media_type)
        found = self._probabilities(rows)
        reasons = self._reasons(rows, explain) if explain else UNSET
        threshold = self.portfolio.threshold
        bands = self.portfolio.bands
        probabilities, decisions = found.tolist(), (found >= threshold).tolist()
        heights = (found >= bands.medium).astype(np.int8) + (found >= bands.high)
        named = [*map(RISING.__getitem__, heights.tolist())]
        ids: Any = rows.columns[self.portfolio.id] if self.portfolio.id else None
        if ids is None or not any(each is not None for each in ids):
            ids = UNSET
        said: Any
        if rows.columnar:
            said = Predictions(probabilities, decisions, named, ids, reasons)  # type: ignore[arg-type]
        elif ids is UNSET and reasons is UNSET:
            said = list(map(Prediction, probabilities, decisions, named))  # type: ignore[arg-type]
        else:
            given = repeat(UNSET) if ids is UNSET else [UNSET if each is None else each for each in ids]
            told = repeat(UNSET) if reasons is UNSET else reasons
            said = list(map(Prediction, probabilities, decisions, named, given, told))  # type: ignore[arg-type]
        return Answer(self.portfolio.name, self.manifest.run, self.identity, threshold, said), decisions

    def _probabilities(self, rows: Rows) -> npt.NDArray[np.float64]:
        if self.folded:
            return self.folded.probabilities(rows.columns, rows.size)
        from attrition import model

        return model.probabilities(self.pipeline, self._frame(rows))

    def _frame(self, rows: Rows) -> pd.DataFrame:
        records = [dict(zip(rows.columns, values, strict=True)) for values in zip(*rows.columns.values(), strict=True)]
        return registry.frame(records, self.manifest)

    def _reasons(self, rows: Rows, top: int) -> list[list[str]]:
        base, usual = self.manifest.base, self.manifest.usual
        if not base:
            raise Refused(422, "explain: this model gives no reasons; leave explain out")
        if self.folded:
            parts = self.folded.contributions(rows.columns, rows.size, self.portfolio.features, base)
        else:
            from attrition import model

            parts = model.contributions(self.pipeline, self.portfolio, self._frame(rows), base, usual)
        return words.reasons(self.portfolio, rows.columns, parts, usual, top)


def stamp(path: Path) -> Stamp:
    """What changes when a file does; None where it cannot be told."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _folded(data: bytes, manifest: Manifest) -> Folded | None:
    """The model as arithmetic, where it is one that can be, and the golden rows agree; else None."""
    try:
        folded = Folded.of(pickles.bones(data))
    except pickle.UnpicklingError:
        return None  # registry.load says what is wrong, if anything is
    except Exception:  # a pickle that was made up may raise anything
        return None
    if folded is None or manifest.golden is None or sorted(folded.features) != sorted(manifest.features):
        return None
    return folded if folded.agrees(manifest.golden.rows, manifest.golden.probabilities) else None


def _fits(model: Any, portfolio: Portfolio) -> bool:
    """Whether each feature of a model is still one of the portfolio's, and of the same kind."""
    kinds = {"numeric": set(portfolio.numeric), "categorical": set(portfolio.categorical)}
    if isinstance(model, Folded):
        read = [("numeric", model.numeric), ("categorical", set(model.features) - set(model.numeric))]
    else:
        read = [(kind, names) for kind, _, names in getattr(model.named_steps.get("columns"), "transformers", [])]
    return bool(read) and all(set(names) <= kinds.get(kind, set()) for kind, names in read)
