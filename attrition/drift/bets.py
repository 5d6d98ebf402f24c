"""Bets against a null: wealth that cannot be expected to grow while the null holds. Pure numpy.

A bet with stake λ multiplies the wealth by ``1 + λ·v``, and its null says that the mean of v, given what came
before, is at most 0; then so is the mean of every factor at most 1, and the wealth of a *fixed* mixture of stakes
is an e-process: under the null it ever reaches 1/α with probability α at most (Ville). Stakes chosen from the
rows would void the guarantee that holds for the average over rows (see ``Promotion``).

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024); Shekhar and
Ramdas 2309.09111; Choe and Ramdas 2110.00115.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["STAKES", "Promotion", "betting_upper_bound", "harm_stakes", "lifetime_level", "log_mean_exp", "log_wealth"]

Floats = npt.NDArray[np.float64]

STAKES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 0.95)
"""Stakes as a share of the largest that cannot lose everything."""
LIFETIME = 0.01
"""Probability of ever being wrong, over all models that a portfolio will ever have."""
LEAST_REFERENCE = 1e-3
"""A reference Brier is never taken to be lower than this: it divides the stakes of ``harm_stakes``."""
HALVINGS = 40
"""Of the interval [0, 1], when a bound is searched: down to 1e-12."""


def lifetime_level(k: int, lifetime: float = LIFETIME) -> float:
    """The k-th model's share (k = 1, 2 …) of ``lifetime``: the shares 6/(π²k²) of all k add up to 1.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"models are counted from 1; found {k}")
    return lifetime * 6 / (math.pi**2 * k**2)


def log_wealth(values: Floats, stakes: Floats) -> Floats:
    """log ∏ (1 + λ·v) over the rows for each stake: shape ``(stakes,)``, zeros without rows.

    Raises:
        FloatingPointError: a value is not finite, or so low that a stake loses more than everything.
    """
    factors = 1.0 + stakes[:, None] * values
    if not (factors > 0).all() or not np.isfinite(factors).all():
        raise FloatingPointError("a bet is not finite or lost more than everything; its values are out of range")
    logs: Floats = np.log(factors).sum(axis=1)
    return logs


def log_mean_exp(logs: Floats) -> float:
    """The log of the mean of e^logs, for wealth too large or small to be written as a number."""
    top = float(logs.max())
    return top + math.log(float(np.mean(np.exp(logs - top))))


def betting_upper_bound(losses: npt.ArrayLike, level: float) -> float:
    """The mean of ``losses`` (each in [0, 1], shape ``(rows,)``) is above this with probability ``level`` at most.

    The least m at which bets of ``1 + λ·(m − loss)`` against a mean of m or more have won 1/level; 1 where no m
    below it is refuted, as without rows. The wealth grows with m, so the least is found by halving. The order of
    the rows does not matter.

    Raises:
        ValueError: a loss outside [0, 1] or missing, or a level that is not between 0 and 1.
    """
    found = np.asarray(losses, dtype=np.float64)
    if found.ndim != 1 or not ((found >= 0) & (found <= 1)).all():
        raise ValueError("losses must lie between 0 and 1, one a row, and none may be missing")
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1; found {level}")
    stakes, needed = np.array(STAKES), -math.log(level)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        refuted = log_mean_exp(log_wealth(middle - found, stakes)) >= needed
        low, high = (low, middle) if refuted else (middle, high)
    return high


def harm_stakes(reference: float) -> Floats:
    """Stakes of bets ``1 + λ·(loss − reference)``: the largest keeps .05 of the wealth when a loss is 0."""
    return np.array(STAKES) / max(reference, LEAST_REFERENCE)


@dataclass(frozen=True)
class Promotion:
    """The proof that a challenger must give: its wealth in bets that the champion loses more than it does.

    ``gains`` are d = (p − y)² − (q − y)², champion's loss less challenger's, on rows that neither trained nor
    chose the challenger, each in [−1, 1]. E is the mean over the stakes of ∏ (1 + λ·(d − epsilon)); E ≥ 1/α_k
    proves challenger ``k`` (every one ever tried counts). Under any drift, over the portfolio's life, the
    probability of proving one whose average true gain over the rows judged so far is ``epsilon`` or less is at
    most 1%: for each fixed λ the product of the true means 1 + λ·(μ − epsilon) is then at most 1 (arithmetic and
    geometric mean), and E divided by it is a martingale. Nothing is promised for later rows.
    """

    k: int
    epsilon: float
    rows: int = 0
    logs: tuple[float, ...] = (0.0,) * len(STAKES)

    def update(self, gains: npt.ArrayLike) -> Promotion:
        """The same proof with these rows as well; any order, no rows included.

        Raises:
            ValueError: a gain outside [−1, 1], or missing.
        """
        found = np.asarray(gains, dtype=np.float64)
        if found.ndim != 1 or not (np.abs(found) <= 1).all():
            raise ValueError("gains must lie between -1 and 1, one a row, and none may be missing")
        grown = np.array(self.logs) + log_wealth(found - self.epsilon, np.array(STAKES) / (1 + self.epsilon))
        return replace(self, rows=self.rows + found.size, logs=tuple(grown.tolist()))

    @property
    def log10(self) -> float:
        """log10 E."""
        return log_mean_exp(np.array(self.logs)) / math.log(10)

    @property
    def log10_needed(self) -> float:
        """log10 of 1/α_k."""
        return -math.log10(lifetime_level(self.k))

    @property
    def proven(self) -> bool:
        """Whether E has reached 1/α_k with the rows so far. Once is enough: the caller keeps it."""
        return self.log10 >= self.log10_needed
