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

__all__ = [
    "SHADOWS",
    "SHIFTS",
    "WINDOW",
    "Baseline",
    "Shadow",
    "baseline",
    "log_factors",
    "names",
    "refit",
    "thrifty",
    "views",
    "weights",
]

Floats = npt.NDArray[np.float64]

BASE_RIDGE = 25.0
"""Of the offset that makes l0 of the champion's l: strong, so that few reference rows change little."""
FEATURE_RIDGE = 400.0
"""The same for the features."""
REACH = 4.0
"""An expert's log-odds stay this close to l0, so that one row multiplies by e^4 at most."""
OUTLIER = 5.0
"""Standardised features stay this close to 0, so that one strange value does not lead a fit."""
TINY = 1e-300
"""Keeps a quotient finite."""
ODDS_RIDGE = 100.0
"""A full shadow's ridge is so many times higher for l: what the features can say should be said of the features."""


@dataclass(frozen=True)
class Shadow:
    """A ridge fit around l0 on the last ``window`` rows, of the first ``terms`` rows of the design (None: all).

    Each number in ``blends`` makes an expert that goes so many times the way from l0 to the fit, with ``weight``:
    more than once undoes the ridge, the thrift and the lag behind a change that goes on.
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

    def names(self) -> list[str]:
        """What its experts are called, such as "500 rows × 1.25"."""
        if self.terms is not None:
            return [("intercept", "intercept and slope")[self.terms - 1] for _ in self.blends]
        return [f"{self.window} rows × {blend:g}" for blend in self.blends]

    def penalty(self, width: int) -> Floats:
        """The ridge of each of its terms, of a design ``width`` wide."""
        found = np.full(width if self.terms is None else self.terms, self.ridge)
        found[1:2] *= ODDS_RIDGE if self.terms is None else 1
        return found


SHADOWS = (
    Shadow(250, 10.0, None, (1.25, 1.5), 1.0),
    Shadow(500, 10.0, None, (1.25, 1.5), 1.0),
    Shadow(1000, 10.0, None, (1.25, 1.5), 1.0),
    Shadow(3000, 10.0, None, (1.25,), 1.0),  # sees little noise and a slow change: no need to go further
    Shadow(500, 1.0, 1, (1.0,), 1.0),  # intercept
    Shadow(500, 1.0, 2, (1.0,), 1.0),  # intercept and slope on l
)
"""Chosen on the streams of benchmarks/, seeds 100 to 131, with 50, 200 and 1,000 rows a tick."""
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
        found = np.ones((len(self.offset), len(l)))
        found[1], found[2:] = l, X.T
        values = (found[1:] - self.centre[:, None]) / self.scale[:, None]
        np.clip(values, -OUTLIER, OUTLIER, out=found[1:])
        return found

    def l0(self, l: Floats, design: Floats) -> Floats:  # noqa: E741
        """The champion's log-odds as recalibrated on the reference, shape ``(rows,)``.

        Summed feature by feature: a matrix product rounds a row's sum by how many rows stand beside it, and a row
        that is read again must get the same bits.
        """
        found = l.copy()
        for coefficient, row in zip(self.offset, design, strict=True):
            found += coefficient * row
        return found


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
    offset, _ = fit(plain.design(X, l), y, l, ridge, plain.offset, steps=50)
    return Baseline(centre, scale, offset)


def thrifty(coefficients: Floats, variances: Floats) -> Floats:
    """The shadows' coefficients less what noise alone would make of them, as Breiman's garrote has it.

    β becomes β·max(0, 1 − v/β²), v its variance: next to nothing is lost of a coefficient that has moved far, and
    those that have not moved cost nothing, which is what most of them do in most changes.
    """
    kept: Floats = coefficients * np.maximum(0.0, 1 - variances / np.maximum(coefficients**2, TINY))
    return kept


def views(seen: Floats) -> Floats:
    """How far from l0 each expert sees each row, ``(experts, rows)``, if its shadow sees ``seen``, ``(shadows, rows)``.

    The shadows' experts in order, then ``SHIFTS``.
    """
    moved = [blend * row for shadow, row in zip(SHADOWS, seen, strict=True) for blend in shadow.blends]
    moved += [np.full(seen.shape[1], shift) for shift in SHIFTS]
    found: Floats = np.clip(np.array(moved), -REACH, REACH)
    return found


def weights() -> Floats:
    """The experts' weights, as ``views`` orders them."""
    learnt = [shadow.weight for shadow in SHADOWS for _ in shadow.blends]
    return np.array(learnt + [SHIFT_WEIGHT] * len(SHIFTS))


def names() -> list[str]:
    """What the experts are called, as ``views`` orders them."""
    return [name for shadow in SHADOWS for name in shadow.names()] + [f"shift {shift:+g}" for shift in SHIFTS]


def log_factors(moved: Floats, l0: Floats, y: Floats, delta: float) -> Floats:
    """log e = log q(y) − log q~(y), of the shape of ``moved`` (experts, rows): 0 where an expert is within δ."""
    return log_likelihood(y, l0 + moved) - log_likelihood(y, l0 + np.clip(moved, -delta, delta))


def refit(
    coefficients: Floats, variances: Floats, design: Floats, l0: Floats, y: Floats, due: int
) -> tuple[Floats, Floats]:
    """The shadows one damped Newton step further on the last rows of those given, and their coefficients' variances.

    Both ``(shadows, 2 + features)``. ``due`` counts micro-batches down to 0, the tick's last. A shadow learns then
    and at every multiple of its ``every``: a window of 3,000 rows is not worth a fit for 50 new ones.
    """
    found, spread = coefficients.copy(), variances.copy()
    for shadow, after, around in zip(SHADOWS, found, spread, strict=True):
        if due % shadow.every == 0:
            last, terms = slice(max(0, y.size - shadow.window), None), slice(shadow.terms)
            penalty = shadow.penalty(len(after))
            after[terms], around[terms] = fit(design[terms, last], y[last], l0[last], penalty, after[terms])
    return found, spread
