"""A logistic regression as a few lines of arithmetic: the coefficients of a recognised pipeline, without scikit-learn.

What is recognised is the pipeline of ``attrition.model``, part by part; any other is left to scikit-learn. Whether
the arithmetic is the pipeline's is not taken on trust either: :meth:`Folded.agrees` holds it to the golden rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from attrition.pickles import Bone

__all__ = ["AGREEMENT", "Folded"]

Floats = npt.NDArray[np.float64]
Number = tuple[float, float, float, float]
"""What is known of a number: its usual value, its mean, its scale and its weight."""
AGREEMENT = 1e-12
"""Between the folded probability of a golden row and the one that was noted at training."""
STEEPEST = 700.0
"""Logits beyond it are certainty; their exponential would overflow."""


class Folded:
    """The probability of rows that come as columns.

    A number adds ``weight * (value - mean) / scale``, a missing one counts as its column's usual value; a category
    adds what its level does, an unknown one nothing.
    """

    def __init__(self, intercept: float, numbers: Mapping[str, Number], levels: Mapping[str, Mapping[Any, float]]):
        self._intercept = intercept
        self._names = list(numbers)
        self._fill, self._mean, self._scale, self._weight = np.array([*numbers.values()]).reshape(-1, 4).T[:, :, None]
        self._levels = dict(levels)

    @classmethod
    def of(cls, bones: Any) -> Folded | None:
        """The pipeline whose bones they are, folded; None where it is another than is recognised here."""
        try:
            return cls._recognised(bones)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            return None

    @classmethod
    def _recognised(cls, bones: Any) -> Folded | None:
        (_, columns), (_, classifier) = bones.steps
        if _names([bones, columns, classifier]) != ["Pipeline", "ColumnTransformer", "LogisticRegression"]:
            return None
        if classifier.classes_.tolist() != [0, 1] or classifier.coef_.shape[0] != 1 or columns.transformer_weights:
            return None
        weights = classifier.coef_[0].tolist()
        numbers: dict[str, Number] = {}
        levels: dict[str, dict[Any, float]] = {}
        for kind, step, names in columns.transformers_:
            if kind == "remainder" and not names:
                continue
            (_, fill), (_, read) = step.steps
            if kind in numbers or fill.add_indicator:
                return None
            if _names([step, fill, read]) == ["Pipeline", "SimpleImputer", "StandardScaler"]:
                taken, weights = weights[: len(names)], weights[len(names) :]
                parts = (fill.statistics_.tolist(), read.mean_.tolist(), read.scale_.tolist(), taken)
                numbers |= dict(zip(names, zip(*parts, strict=True), strict=True))
            elif _names([step, fill, read]) == ["Pipeline", "SimpleImputer", "OneHotEncoder"]:
                if read.handle_unknown != "ignore" or read.drop is not None or read._infrequent_enabled:
                    return None
                for name, known, default in zip(names, read.categories_, fill.statistics_, strict=True):
                    taken, weights = weights[: len(known)], weights[len(known) :]
                    levels[name] = dict(zip(known.tolist(), taken, strict=True))
                    levels[name][None] = levels[name].get(default, 0.0)
            else:
                return None
        return None if weights else cls(float(classifier.intercept_[0]), numbers, levels)

    @property
    def features(self) -> list[str]:
        """The columns that are read."""
        return [*self._names, *self._levels]

    @property
    def numeric(self) -> list[str]:
        """Those of them that are read as numbers."""
        return self._names

    def probabilities(self, columns: Mapping[str, Sequence[Any]], count: int) -> Floats:
        """The probability that each of ``count`` clients leaves, shape ``(count,)``."""
        logits = self._weight[:, 0] @ self._standard(columns, count) + self._intercept
        for name, known in self._levels.items():
            logits += _looked_up(known, columns[name], count)
        found: Floats = 1 / (1 + np.exp(-np.minimum(np.maximum(logits, -STEEPEST), STEEPEST)))
        return found

    def contributions(
        self, columns: Mapping[str, Sequence[Any]], count: int, order: Iterable[str], base: Mapping[str, float]
    ) -> Floats:
        """What each feature adds to a logit beyond its average, ``base``, shape ``(count, features)`` in ``order``."""
        parts = dict(zip(self._names, self._weight * self._standard(columns, count), strict=True))
        parts |= {name: _looked_up(known, columns[name], count) for name, known in self._levels.items()}
        return np.column_stack([parts[name] - base[name] if name in parts else np.zeros(count) for name in order])

    def agrees(self, rows: Sequence[Mapping[str, Any]], probabilities: Sequence[float]) -> bool:
        """Whether golden rows get the probabilities that were noted, of at least one row."""
        columns = {name: [row.get(name) for row in rows] for name in self.features}
        try:
            found = self.probabilities(columns, len(rows))
        except (TypeError, ValueError):
            return False
        return len(rows) == len(probabilities) > 0 and bool(np.abs(found - probabilities).max() <= AGREEMENT)

    def _standard(self, columns: Mapping[str, Sequence[Any]], count: int) -> Floats:
        """Numbers in standard deviations from their mean, shape ``(numbers, count)``."""
        values = np.empty((len(self._names), count))
        for place, name in enumerate(self._names):
            values[place] = np.fromiter(columns[name], np.float64, count)  # None becomes NaN
        standard: Floats = (np.where(np.isnan(values), self._fill, values) - self._mean) / self._scale
        return standard


def _names(parts: Sequence[Any]) -> list[str]:
    return [type(part).__name__ if isinstance(part, Bone) else "" for part in parts]


def _looked_up(known: Mapping[Any, float], values: Sequence[Any], count: int) -> Floats:
    return np.fromiter(map(known.get, values, repeat(0.0)), np.float64, count)
