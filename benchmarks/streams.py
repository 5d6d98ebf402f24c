"""The synthetic streams of the decision benchmark: clients whose true chance of leaving is known.

Six standard normal features; the true log-odds are linear but for a mild tail in the first, which the champion, a
plain logistic regression, cannot say: about 16% of clients lie more than .4 from it. Everything is drawn from the
seed, kind and tick alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attrition.drift.logistic import expit, fit

__all__ = ["KINDS", "Rows", "Stream", "open_stream"]

Floats = npt.NDArray[np.float64]

KINDS = ("none", "prior", "harmful", "gradual", "abrupt", "harmless", "harder")
"""Prior: the share that leaves goes from .26 to .40. Harmful: the mean of x1 moves by 1.5. Gradual: the first two
coefficients swap signs over 50 ticks. Abrupt: other coefficients at once. Harmless: two features without a say move
by 1.5. Harder: no tail, so the champion is right, and clients come closer to even odds: its loss rises, rightly."""
TRAIN, REFERENCE, CHANGE, HORIZON, RAMP = 4000, 2000, 20, 100, 50
SLOPES = np.array([0.8, -0.6, 0.5, 0.4, 0.0, 0.0])
BASE, TAIL = -1.13, 1.2
PRIOR_SHIFT = 0.79


@dataclass(frozen=True)
class Rows:
    """Features ``(rows, 6)``, the champion's log-odds, the true log-odds and the outcomes, ``(rows,)`` each."""

    X: Floats
    l: Floats  # noqa: E741
    truth: Floats
    y: Floats


@dataclass(frozen=True)
class Stream:
    """One history: the champion that was trained before it, its reference, and the ticks that follow."""

    kind: str
    seed: int
    champion: Floats

    def reference(self) -> Rows:
        """Rows that the champion has not seen, before tick 0."""
        return self._rows(np.random.default_rng([self.seed, 1]), REFERENCE, -1)

    def ticks(self, n: int, horizon: int = HORIZON) -> Iterator[Rows]:
        """``horizon`` ticks of ``n`` rows; the law changes at tick ``CHANGE``."""
        for tick in range(horizon):
            yield self._rows(np.random.default_rng([self.seed, 2, tick]), n, tick)

    def truth(self, X: Floats, tick: int) -> Floats:
        """The true log-odds of clients in a tick; −1 for all time before."""
        return _truth(X, self.kind, tick)

    def _rows(self, rng: np.random.Generator, n: int, tick: int) -> Rows:
        X = _clients(rng, n, self.kind, tick)
        truth = self.truth(X, tick)
        y = (rng.random(n) < expit(truth)).astype(float)
        return Rows(X, self.champion @ _design(X), truth, y)


def open_stream(kind: str, seed: int) -> Stream:
    """The stream of a kind and seed, with its champion fitted on 4,000 rows."""
    rng = np.random.default_rng([seed, 0])
    X = _clients(rng, TRAIN, kind, -1)
    y = (rng.random(TRAIN) < expit(_truth(X, kind, -1))).astype(float)
    design = _design(X)
    return Stream(kind, seed, fit(design, y, np.zeros(TRAIN), 1.0, np.zeros(len(design)), steps=50))


def _design(X: Floats) -> Floats:
    return np.vstack([np.ones(len(X)), X.T])


def _clients(rng: np.random.Generator, n: int, kind: str, tick: int) -> Floats:
    X = rng.standard_normal((n, len(SLOPES)))
    if tick >= CHANGE:
        if kind == "harmful":
            X[:, 0] += 1.5
        elif kind == "harmless":
            X[:, 4:] += 1.5
        elif kind == "harder":
            X[:, 0] += 1.5
            X[:, 1] -= 0.7
    return X


def _truth(X: Floats, kind: str, tick: int) -> Floats:
    slopes, base = SLOPES.copy(), BASE
    if tick >= CHANGE:
        if kind == "prior":
            base += PRIOR_SHIFT
        elif kind == "gradual":
            slopes[:2] *= 1 - 2 * min(1.0, (tick - CHANGE + 1) / RAMP)
        elif kind == "abrupt":
            slopes = np.array([0.0, -0.6, -0.4, 0.4, 0.0, 0.0])
    tail = 0.0 if kind == "harder" else TAIL
    found: Floats = base + X @ slopes - tail * np.maximum(X[:, 0] - 0.8, 0) ** 2
    return found
