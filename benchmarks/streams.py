"""The streams of the decision benchmark: clients whose true chance of leaving is known.

A law says who comes and how likely each is to leave; a stream adds the champion, a plain logistic regression that was
fitted on the law's rows before tick 0. Everything is drawn from the seed, the law and the tick alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from attrition.drift.logistic import expit, fit

__all__ = ["CHANGE", "DRIFTS", "HORIZON", "Law", "Pushed", "Rows", "Stream", "Synthetic", "begin", "open_stream"]

Floats = npt.NDArray[np.float64]

DRIFTS = ("prior", "harmful", "gradual", "abrupt")
"""Prior: the share that leaves goes from .26 to .40. Harmful: the mean of x1 moves by 1.5. Gradual: the first two
coefficients swap signs over 50 ticks. Abrupt: other coefficients at once. Besides: none. Harmless: two features
without a say move by 1.5. Harder: no tail, so the champion is right, and clients come closer to even odds: its loss
rises, rightly."""
TRAIN, REFERENCE, CHANGE, HORIZON, RAMP = 4000, 2000, 20, 120, 50
SLOPES = np.array([0.8, -0.6, 0.5, 0.4, 0.0, 0.0])
BASE, TAIL = -1.13, 1.2
PRIOR_SHIFT = 0.79


@dataclass(frozen=True)
class Rows:
    """Features ``(rows, features)``, the champion's log-odds, the true log-odds, the outcomes, ``(rows,)`` each."""

    X: Floats
    l: Floats  # noqa: E741
    truth: Floats
    y: Floats

    def only(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Rows:
        """Some of them, or all in another order."""
        return Rows(self.X[which], self.l[which], self.truth[which], self.y[which])


class Law(Protocol):
    """Who comes in a tick (−1: all time before) and the true log-odds that they leave."""

    def clients(self, rng: np.random.Generator, n: int, tick: int) -> Floats:
        """Features of ``n`` clients."""

    def truth(self, X: Floats, tick: int) -> Floats:
        """Their true log-odds."""


@dataclass(frozen=True)
class Synthetic:
    """Six standard normal features; log-odds linear but for a ``tail`` in the first.

    The champion cannot say that tail: about 16% of clients lie more than .4 from it.
    """

    kind: str
    tail: float = TAIL

    def clients(self, rng: np.random.Generator, n: int, tick: int) -> Floats:
        """See ``Law``."""
        X = rng.standard_normal((n, len(SLOPES)))
        if tick >= CHANGE:
            if self.kind == "harmful":
                X[:, 0] += 1.5
            elif self.kind == "harmless":
                X[:, 4:] += 1.5
            elif self.kind == "harder":
                X[:, 0] += 1.5
                X[:, 1] -= 0.7
        return X

    def truth(self, X: Floats, tick: int) -> Floats:
        """See ``Law``."""
        slopes, base = SLOPES.copy(), BASE
        if tick >= CHANGE:
            if self.kind == "prior":
                base += PRIOR_SHIFT
            elif self.kind == "gradual":
                slopes[:2] *= 1 - 2 * min(1.0, (tick - CHANGE + 1) / RAMP)
            elif self.kind == "abrupt":
                slopes = np.array([0.0, -0.6, -0.4, 0.4, 0.0, 0.0])
        found: Floats = base + X @ slopes - self.tail * np.maximum(X[:, 0] - 0.8, 0) ** 2
        return found


@dataclass(frozen=True)
class Pushed:
    """A law whose log-odds all move together from tick 0 on, by ``push(tick)``: seasons, shocks."""

    law: Law
    push: Callable[[int], float]

    def clients(self, rng: np.random.Generator, n: int, tick: int) -> Floats:
        """See ``Law``."""
        return self.law.clients(rng, n, tick)

    def truth(self, X: Floats, tick: int) -> Floats:
        """See ``Law``."""
        return self.law.truth(X, tick) + (self.push(tick) if tick >= 0 else 0.0)


@dataclass(frozen=True)
class Stream:
    """One history: the champion that was trained before it, its reference of ``held`` rows, the ticks that follow."""

    law: Law
    seed: int
    champion: Floats
    held: int = REFERENCE

    def reference(self) -> Rows:
        """Rows that the champion has not seen, before tick 0."""
        return self.rows(np.random.default_rng([self.seed, 1]), self.held, -1)

    def ticks(self, n: int, horizon: int = HORIZON) -> Iterator[Rows]:
        """``horizon`` ticks of ``n`` rows; the law changes at tick ``CHANGE``, if it does."""
        for tick in range(horizon):
            yield self.rows(np.random.default_rng([self.seed, 2, tick]), n, tick)

    def rows(self, rng: np.random.Generator, n: int, tick: int) -> Rows:
        """``n`` rows by the law of a tick."""
        X = self.law.clients(rng, n, tick)
        truth = self.law.truth(X, tick)
        y = (rng.random(n) < expit(truth)).astype(float)
        return Rows(X, self.champion @ _design(X), truth, y)


def begin(law: Law, seed: int, train: int = TRAIN, held: int = REFERENCE) -> Stream:
    """The stream of a law and a seed, with its champion fitted on ``train`` rows."""
    rng = np.random.default_rng([seed, 0])
    X = law.clients(rng, train, -1)
    y = (rng.random(train) < expit(law.truth(X, -1))).astype(float)
    design = _design(X)
    champion, _ = fit(design, y, np.zeros(train), 1.0, np.zeros(len(design)), steps=50)
    return Stream(law, seed, champion, held)


def open_stream(kind: str, seed: int) -> Stream:
    """The synthetic stream of a kind (``DRIFTS`` says which) and a seed."""
    return begin(Synthetic(kind, 0.0 if kind == "harder" else TAIL), seed)


def _design(X: Floats) -> Floats:
    return np.vstack([np.ones(len(X)), X.T])
