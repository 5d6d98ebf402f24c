"""Small ridge logistic fits around a given log-odds, made for being repeated after every few rows. Pure numpy.

Designs have one *row* a feature and one column a client, shape ``(features, rows)``: the products that a fit is
made of are then contiguous, which halves its time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["expit", "fit", "log_likelihood", "logit"]

Floats = npt.NDArray[np.float64]

CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""
TOLERANCE = 1e-9
"""A fit has converged when no row's log-odds would move further than this."""


def expit(z: npt.ArrayLike) -> Floats:
    """The probability of log-odds ``z``; written with tanh, which neither overflows nor branches."""
    half: Floats = 0.5 * np.asarray(z, dtype=np.float64)
    return 0.5 + 0.5 * np.tanh(half)


def logit(p: npt.ArrayLike) -> Floats:
    """The log-odds of probabilities ``p``, which are first kept within ``CLIP`` of 0 and 1.

    Raises:
        ValueError: a value that is no probability, or missing.
    """
    chances = np.asarray(p, dtype=np.float64)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1, and none may be missing")
    inside = np.clip(chances, CLIP, 1 - CLIP)
    odds: Floats = np.log(inside) - np.log1p(-inside)
    return odds


def log_likelihood(y: Floats, z: Floats) -> Floats:
    """The log of the probability that log-odds ``z`` gave to the outcomes ``y`` (0 or 1); shapes broadcast."""
    against: Floats = np.where(y > 0.5, -z, z)
    return -(np.maximum(against, 0.0) + np.log1p(np.exp(-np.abs(against))))


def fit(
    design: Floats, y: Floats, offset: Floats, ridge: float | Floats, start: Floats, steps: int = 1
) -> tuple[Floats, Floats]:
    """Coefficients of log-odds ``offset + coefficients @ design``, and their variances; shape ``(features,)`` each.

    ``ridge``, one number or one a feature, pulls the coefficients to 0. The variances are the diagonal of the
    inverse of the penalised Hessian, where the last step began.

    At most ``steps`` Newton steps from ``start``; fewer once converged. One is enough where few rows have joined
    since ``start`` was fitted. ``design`` is ``(features, rows)``, ``y`` and ``offset`` ``(rows,)``; without rows
    the answer is ``start`` and the variances that the ridge alone gives.

    A step is damped so that no row's log-odds move by more than 1. The penalised loss then falls with every step,
    without its being computed: as |σ''| ≤ σ', a step t·Δ with t·max|Δη| = h ≤ 1 changes it by at most
    −t·D + t²·D·(e^h − h − 1)/h² < 0, where D is the squared Newton decrement (Bach, "Self-concordant analysis for
    logistic regression", 2010).

    Raises:
        FloatingPointError: the fit is not finite.
        ValueError: ``ridge`` is not above zero.
    """
    penalty = np.full(len(start), ridge)
    if not (penalty > 0).all():
        raise ValueError(f"a fit needs a ridge above 0, to exist with one outcome only; found {ridge}")
    found = start
    variances: Floats = 1 / penalty
    for _ in range(steps if y.size else 0):
        p = expit(offset + found @ design)
        curve = (design * (p * (1 - p))) @ design.T
        curve.flat[:: len(start) + 1] += penalty
        inverse = np.asarray(np.linalg.inv(curve), dtype=np.float64)
        step = inverse @ (design @ (y - p) - penalty * found)
        reach = float(np.abs(step @ design).max())
        found = found + step * (1.0 if reach <= 1.0 else 1.0 / reach)
        variances = inverse.diagonal()
        if not np.isfinite(found).all():
            raise FloatingPointError("a logistic fit is not finite; look for extreme feature values")
        if reach < TOLERANCE:
            break
    return found, variances
