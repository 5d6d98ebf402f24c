"""The least penalised log loss, by Newton's method on sums over the rows: a pass over them a step.

The loss is convex, so it is least where its gradient is zero, and a Newton step, or a part of it, makes the gradient
smaller: full steps, halved where it would grow (Deuflhard, "Newton methods for nonlinear problems", 2011, chapter 3).
The loss itself is not asked for: its logarithms take as long as half of all other sums.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning

from attrition.scale.sums import Sums

__all__ = ["TOLERANCE", "minimise"]

Floats = npt.NDArray[np.float64]

TOLERANCE = 5e-6
"""The search ends after a step that moved no coefficient further than this (of the largest)."""
LEFT = 1e-10
"""Or after one that leaves less than this to go. Near the end each step is the square of the one before, times what the
last two tell (Deuflhard, section 2.1): so a pass over all rows is spared that would only say so."""
SHORTEST = 2.0**-20
"""Of a step; a gradient that does not shrink even so is as small as rounding lets it be."""


def minimise(
    sums: Callable[[Floats], Sums], start: Floats, C: float, max_steps: int, tolerance: float = TOLERANCE
) -> tuple[Floats, int]:
    """Coefficients, the intercept first, that make ``C`` times the loss plus half their squares least; and the steps.

    The intercept carries no penalty, as in scikit-learn. Warns where ``max_steps`` do not suffice.
    """
    beta, at, before = start, sums(start), np.inf
    for step in range(1, max_steps + 1):
        ridge = np.full(beta.size, 1 / (C * at.weight))
        ridge[0] = 0.0
        slope = at.gradient / at.weight + ridge * beta
        move, length = _solved(at.hessian / at.weight + np.diag(ridge), slope), 1.0
        size = float(np.abs(move).max() / max(1.0, np.abs(beta).max()))
        if size <= tolerance or (size < before < 0.1 and size**3 / before**2 <= LEFT):
            return beta - move, step
        while True:
            moved = beta - length * move
            there = sums(moved)
            if np.linalg.norm(there.gradient / at.weight + ridge * moved) < np.linalg.norm(slope):
                break
            length /= 2
            if length < SHORTEST:
                return beta, step
        beta, at, before = moved, there, size if length == 1 else np.inf
    warnings.warn(
        f"after {max_steps} steps the model is not where it ends: raise model.max_iter",
        ConvergenceWarning,
        stacklevel=2,
    )
    return beta, max_steps


def _solved(hessian: Floats, gradient: Floats) -> Floats:
    """The Newton step; where all probabilities are so certain that the Hessian is singular, the shortest."""
    try:
        step: Floats = cho_solve(cho_factor(hessian), gradient)
    except LinAlgError:
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0].astype(np.float64)
    return step
