"""How often the proof of a promotion lets through a challenger that is worse, and how soon one that is better."""

from __future__ import annotations

import numpy as np

from attrition.drift.bets import STAKES, lifetime_level
from attrition.drift.logistic import expit
from benchmarks.trials import NEVER

__all__ = ["EPSILON", "GROUP", "promoted", "table"]

EPSILON = 0.005 * 0.26 * 0.74
GROUP, TICKS = 500, 40
"""Challengers tried at a time, and the ticks that each has."""


def promoted(n: int, seed: int, gain: float) -> tuple[int, float]:
    """How many of ``GROUP`` challengers are promoted whose true Brier gain is ``gain``, and their median tick.

    Every row of a trial draws champion and truth anew; the challenger's loss is moved to have that mean gain. The bets
    are those of ``attrition.drift.Promotion``, for all trials at once.
    """
    rng = np.random.default_rng([seed, n])
    truth = rng.standard_normal((GROUP, 1000)) * 1.1 - 1.2
    chance, stakes = expit(truth), np.array(STAKES) / (1 + EPSILON)
    p = expit(truth + rng.normal(0, 0.45, truth.shape))
    q = expit(truth + rng.normal(0, 0.45 if gain < 0 else 0.1, truth.shape))
    mean = ((p - chance) ** 2 - (q - chance) ** 2).mean(axis=1, keepdims=True)
    logs, when = np.zeros((GROUP, len(stakes))), np.full(GROUP, NEVER)
    for tick in range(TICKS):
        cells = rng.integers(0, 1000, (GROUP, n))
        y = rng.random((GROUP, n)) < np.take_along_axis(chance, cells, 1)
        d = (np.take_along_axis(p, cells, 1) - y) ** 2 - (np.take_along_axis(q, cells, 1) - y) ** 2 - mean + gain
        over = np.clip(d, -1, 1) - EPSILON
        for column, stake in enumerate(stakes):
            logs[:, column] += np.log1p(stake * over).sum(axis=1)
        when[(when == NEVER) & (np.exp(logs).mean(axis=1) >= 1 / lifetime_level(1))] = tick + 1
    return int((when < NEVER).sum()), float(np.median(when))


def table(seeds: range, trials: int, rates: tuple[int, ...]) -> None:
    """Print it."""
    print("\n| rows | worse (-.003) promoted | gain of exactly ε | better (+.01), median ticks |")
    print("|" + "---|" * 4)
    groups = range(seeds.start, seeds.start + max(1, trials // GROUP))
    tried = f"{GROUP * len(groups):,}"
    for n in rates:
        bad, edge = (sum(promoted(n, seed, gain)[0] for seed in groups) for gain in (-0.003, EPSILON))
        good, after = promoted(n, seeds.start - 1, 0.01)
        print(f"| {n} | {bad} of {tried} | {edge} of {tried} | {good} of {GROUP}, {after:g} |", flush=True)
