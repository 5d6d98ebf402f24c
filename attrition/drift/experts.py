"""What a refit would say: shadows of the champion, fitted on past rows only, and the bets they make. Pure numpy.

An expert's factor on a row is e = q(y) / q~(y), with logit q = z and logit q~ = clip(z, l0 ± δ). Its mean is
linear in P(y = 1) and at most 1 for every P(y = 1) within ±δ of l0 in log-odds, with equality at the edge next to
z: whatever the features do, no expert can expect to win while the champion, once recalibrated, is right within δ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attrition.drift.logistic import fit, log_likelihood

__all__ = ["SHADOWS", "SHIFTS", "WINDOW", "Baseline", "Shadow", "baseline", "log_factors", "refit", "views", "weights"]

Floats = npt.NDArray[np.float64]

BASE_RIDGE = 25.0
"""Of the offset that makes l0 of the champion's l: strong, so that few reference rows change little."""
REACH = 4.0
"""An expert's log-odds stay this close to l0, so that one row multiplies by e^4 at most."""
FEATURE_RIDGE = 400.0
"""The same for the features."""
OUTLIER = 5.0
"""Standardised features stay this close to 0, so that one strange value does not lead a fit."""


@dataclass(frozen=True)
class Shadow:
    """A ridge fit around l0 on the last ``window`` rows, of the first ``terms`` rows of the design (None: all).

    Each share in ``blends`` makes an expert that goes that part of the way from l0 to the fit, with ``weight``.
    """

    window: int
    ridge: float
    terms: int | None
    blends: tuple[float, ...]
    weight: float

    @property
    def every(self) -> int:
        """Micro-batches of one tick between two fits."""
        return max(1, self.window // 750)


SHADOWS = (
    Shadow(500, 3.0, None, (0.5, 1.0), 1.0),
    Shadow(3000, 1.0, None, (0.5, 1.0), 1.0),
    Shadow(250, 10.0, None, (1.0, 1.5, 2.0), 0.5),  # sees an abrupt change first; the overshoot undoes its ridge
    Shadow(500, 1.0, 1, (1.0,), 1.0),  # intercept
    Shadow(500, 1.0, 2, (1.0,), 1.0),  # intercept and slope on l
)
"""Chosen on the streams of benchmarks/, seeds 100 to 111, with 50 and 200 rows a tick."""
SHIFTS = (-1.5, -1.0, -0.7, 0.7, 1.0, 1.5)
"""Experts that need not learn: everybody's log-odds moved by this much."""
SHIFT_WEIGHT = 0.5
WINDOW = max(shadow.window for shadow in SHADOWS)
"""Past rows that the shadows need."""


@dataclass(frozen=True)
class Baseline:
    """The champion as deployed: how features are standardised, and the offset that makes l0 of l.

    ``centre`` and ``scale`` have shape ``(1 + features,)``, for l and x; ``offset`` ``(2 + features,)``, for 1, l
    and x.
    """

    centre: Floats
    scale: Floats
    offset: Floats

    def design(self, X: Floats, l: Floats) -> Floats:  # noqa: E741 - the specification's letter
        """The rows 1, l, x (standardised, outliers drawn in), shape ``(2 + features, rows)``."""
        values = (np.vstack([l, X.T]) - self.centre[:, None]) / self.scale[:, None]
        return np.vstack([np.ones(len(l)), np.clip(values, -OUTLIER, OUTLIER)])


def baseline(X: Floats, l: Floats, y: Floats) -> Baseline:  # noqa: E741
    """The baseline of reference rows that did not train the champion; without rows it is l itself."""
    columns = np.column_stack([l, X])
    centre, scale = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
    if len(columns):
        centre, spread = columns.mean(axis=0), columns.std(axis=0)
        scale = np.where(spread > 1e-9 * (1 + np.abs(centre)), spread, 1.0)  # a constant feature says nothing
    plain = Baseline(centre, scale, np.zeros(1 + columns.shape[1]))
    ridge = np.full(len(plain.offset), FEATURE_RIDGE)
    ridge[:2] = BASE_RIDGE
    offset = fit(plain.design(X, l), y, l, ridge, plain.offset, steps=50)
    return Baseline(centre, scale, offset)


def views(coefficients: Floats, design: Floats) -> Floats:
    """How far from l0 each expert sees each row, shape ``(experts, rows)``: shadows in order, then ``SHIFTS``."""
    moved = []
    for shadow, full in zip(SHADOWS, coefficients @ design, strict=True):
        moved += [share * full for share in shadow.blends]
    moved += [np.full(design.shape[1], shift) for shift in SHIFTS]
    found: Floats = np.clip(np.array(moved), -REACH, REACH)
    return found


def weights() -> Floats:
    """The experts' weights, as ``views`` orders them."""
    learnt = [shadow.weight for shadow in SHADOWS for _ in shadow.blends]
    return np.array(learnt + [SHIFT_WEIGHT] * len(SHIFTS))


def log_factors(moved: Floats, l0: Floats, y: Floats, delta: float) -> Floats:
    """log e = log q(y) − log q~(y), of the shape of ``moved`` (experts, rows): 0 where an expert is within δ."""
    return log_likelihood(y, l0 + moved) - log_likelihood(y, l0 + np.clip(moved, -delta, delta))


def refit(coefficients: Floats, design: Floats, l0: Floats, y: Floats, due: int) -> Floats:
    """The shadows one damped Newton step further, on the last rows of those given; ``(shadows, 2 + features)``.

    ``due`` counts micro-batches down to 0, the tick's last. A shadow learns then and at every multiple of its
    ``every``: a window of 3,000 rows is not worth a fit for 50 new ones.
    """
    found = coefficients.copy()
    for shadow, after in zip(SHADOWS, found, strict=True):
        if due % shadow.every == 0:
            last, terms = slice(max(0, y.size - shadow.window), None), slice(shadow.terms)
            after[terms] = fit(design[terms, last], y[last], l0[last], shadow.ridge, after[terms])
    return found
