"""One detector on one stream, and what a set of such trials says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attrition.drift.detector import start, update
from attrition.drift.experts import Baseline, log_factors
from attrition.drift.logistic import expit, fit
from attrition.drift.state import Config
from benchmarks.streams import CHANGE, HORIZON, Rows, Stream

__all__ = ["NEVER", "Trial", "delay", "knows_both_laws", "knows_the_best_refit", "ours", "spread"]

Floats = npt.NDArray[np.float64]

NEVER = 10**6
CROWD = 20_000
"""Clients on whom the best refit of a tick's law is found, with their true chances instead of outcomes."""


@dataclass(frozen=True)
class Trial:
    """The ticks that alarmed, those that said harm, how many ticks there were, milliseconds of CPU a tick."""

    alarms: tuple[int, ...]
    harms: tuple[int, ...]
    ticks: int
    cost: float


def ours(reference: Rows, ticks: Iterable[Rows], config: Config, until: int | None = None) -> Trial:
    """The detector on a history; with ``until`` it ends at the first alarm from that tick on."""
    state = start(reference.X, reference.l, reference.y, config)
    alarmed, harmed, spent, tick = [], [], 0.0, -1
    for tick, rows in enumerate(ticks):
        began = time.process_time()
        state, look = update(state, rows.X, rows.l, rows.y, config)
        spent += time.process_time() - began
        alarmed += [tick] if look.alarm else []
        harmed += [tick] if look.harm_alarm else []
        if look.alarm and until is not None and tick >= until:
            break
    return Trial(tuple(alarmed), tuple(harmed), tick + 1, 1000 * spent / (tick + 1))


def delay(alarms: Iterable[int]) -> int:
    """Ticks from the change until the first alarm from then on, 1 if in the same; ``NEVER`` without one."""
    return next((tick - CHANGE + 1 for tick in alarms if tick >= CHANGE), NEVER)


def spread(delays: Iterable[int]) -> str:
    """The median, in brackets the 90th percentile, and the share missed if any was."""
    found = np.array(list(delays))
    median, high = np.median(found), np.quantile(found, 0.9, method="inverted_cdf")
    said = [f"{value:g}" if value < NEVER / 2 else f">{HORIZON - CHANGE}" for value in (median, high)]
    missed = float(np.mean(found == NEVER))
    return f"{said[0]} ({said[1]})" + (f", {missed:.0%} missed" if missed else "")


def knows_both_laws(stream: Stream, n: int, config: Config) -> int:
    """The delay of a bet that knows every client's true log-odds, and tolerates δ as the detector must."""
    return _limit(stream, n, config, lambda base, rows, tick: rows.truth)


def knows_the_best_refit(stream: Stream, n: int, config: Config) -> int:
    """The same of a bet that knows the best refit of a tick's law, of those that are linear in l and the features.

    That is what the detector's shadows would be with infinitely many rows of the tick that they judge.
    """

    def refit(base: Baseline, rows: Rows, tick: int) -> Floats:
        crowd = stream.rows(np.random.default_rng([stream.seed, 3, tick]), CROWD, tick)
        design = base.design(crowd.X, crowd.l)
        moved, _ = fit(design, expit(crowd.truth), base.l0(crowd.l, design), 1.0, np.zeros(len(design)), steps=20)
        here = base.design(rows.X, rows.l)
        found: Floats = base.l0(rows.l, here) + moved @ here
        return found

    return _limit(stream, n, config, refit)


def _limit(stream: Stream, n: int, config: Config, knows: Callable[[Baseline, Rows, int], Floats]) -> int:
    seen = stream.reference()
    state, m = start(seen.X, seen.l, seen.y, config), 0.0
    base = Baseline(state.centre, state.scale, state.offset)
    for tick, rows in enumerate(stream.ticks(n)):
        if tick >= CHANGE:
            l0 = base.l0(rows.l, base.design(rows.X, rows.l))
            won = log_factors((knows(base, rows, tick) - l0)[None], l0, rows.y, config.delta).sum()
            m = (m + 1) * float(np.exp(min(won, 600.0)))
            if m >= 1 / config.alpha:
                return tick - CHANGE + 1
    return NEVER
