"""How long the detector takes, and how often it is wrong, on the synthetic streams; beside the goal.

    python -m benchmarks.decision --seeds 20 --first 1000

Prints Markdown. The limit knows the true log-odds of every client and tolerates δ around the recalibrated champion
as the detector must: no method with that tolerance can be much faster on these streams.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attrition.drift.bets import STAKES, lifetime_level, log_wealth
from attrition.drift.detector import start, update
from attrition.drift.experts import Baseline, log_factors
from attrition.drift.logistic import expit
from attrition.drift.state import Config, Evidence
from benchmarks.streams import CHANGE, HORIZON, open_stream

Floats = npt.NDArray[np.float64]

DRIFTS = ("prior", "harmful", "gradual", "abrupt")
GOAL = {50: "18 / 4 / 19 / 7", 200: "5 / 1 / 13 / 2", 1000: "1 / 1 / 8 / 1"}
QUIET = {50: 500, 200: 250, 1000: 100}
"""Ticks of a stream without drift, by rows a tick."""
NEVER = 10**6
EPSILON = 0.005 * 0.26 * 0.74
"""Of a promotion."""
GROUP = 500
"""Challengers tried at a time."""


@dataclass(frozen=True)
class Trial:
    """Of one history: each tick's evidence, and seconds of CPU a tick in the detector."""

    looks: list[Evidence]
    seconds: float

    def alarms(self) -> list[int]:
        """The ticks that alarmed."""
        return [tick for tick, look in enumerate(self.looks) if look.alarm]


def run(kind: str, seed: int, n: int, config: Config, horizon: int = HORIZON) -> Trial:
    """The detector on one stream."""
    stream = open_stream(kind, seed)
    rows = stream.reference()
    state, looks, spent = start(rows.X, rows.l, rows.y, config), [], 0.0
    for rows in stream.ticks(n, horizon):
        began = time.process_time()
        state, look = update(state, rows.X, rows.l, rows.y, config)
        spent += time.process_time() - began
        looks.append(look)
    return Trial(looks, spent / horizon)


def limit(kind: str, seed: int, n: int, config: Config) -> int:
    """Ticks from the change until a bet that knows the truth has won 1/α."""
    stream = open_stream(kind, seed)
    rows = stream.reference()
    state = start(rows.X, rows.l, rows.y, config)
    base, m = Baseline(state.centre, state.scale, state.offset), 0.0
    for tick, rows in enumerate(stream.ticks(n)):
        if tick >= CHANGE:
            l0 = rows.l + base.offset @ base.design(rows.X, rows.l)
            won = log_factors((rows.truth - l0)[None], l0, rows.y, config.delta).sum()
            m = (m + 1) * float(np.exp(min(won, 600.0)))
            if m >= 1 / config.alpha:
                return tick - CHANGE + 1
    return NEVER


def delays(n: int, seeds: range, config: Config) -> tuple[str, str, str, int, float]:
    """Medians, 90th percentiles and share missed of the four drifts; alarms before the change; seconds a tick."""
    medians, high, missed, early, seconds = [], [], [], 0, []
    for kind in DRIFTS:
        found = []
        for seed in seeds:
            trial = run(kind, seed, n, config)
            after = [tick - CHANGE + 1 for tick in trial.alarms() if tick >= CHANGE]
            found.append(after[0] if after else NEVER)
            early += len(trial.alarms()) - len(after)
            seconds.append(trial.seconds)
        medians.append(f"{np.median(found):g}")
        high.append(f"{np.quantile(found, 0.9, method='inverted_cdf'):g}")
        missed.append(f"{np.mean(np.array(found) == NEVER):.0%}")
    return " / ".join(medians), " / ".join(high), " / ".join(missed), early, float(np.mean(seconds))


def quiet(n: int, seeds: range, config: Config) -> str:
    """False alarms without drift; alarms of harmless shifts and harder clients; harm said of the latter."""
    false = sum(len(run("none", seed, n, config, QUIET[n]).alarms()) for seed in seeds)
    ticks = QUIET[n] * len(seeds)
    harmless = sum(bool(run("harmless", seed, n, config).alarms()) for seed in seeds)
    harder = [run("harder", seed, n, config) for seed in seeds]
    retrained = sum(bool(trial.alarms()) for trial in harder)
    harmed = sum(any(look.harm_alarm for look in trial.looks) for trial in harder)
    share = f"{false} in {ticks:,} ({1000 * false / ticks:.2f})"
    return f"{share} | {harmless / len(seeds):.0%} | {retrained / len(seeds):.0%} | {harmed / len(seeds):.0%}"


def promoted(n: int, seed: int, gain: float, ticks: int = 40) -> tuple[int, float]:
    """How many of ``GROUP`` challengers are promoted whose true Brier gain is ``gain``, and their median tick.

    Every row of a trial draws champion and truth anew; the challenger's loss is moved to have that mean gain.
    """
    rng, trials = np.random.default_rng([seed, n]), GROUP
    truth = rng.standard_normal((trials, 1000)) * 1.1 - 1.2
    chance, stakes = expit(truth), np.array(STAKES)
    p = expit(truth + rng.normal(0, 0.45, truth.shape))
    q = expit(truth + rng.normal(0, 0.45 if gain < 0 else 0.1, truth.shape))
    mean = ((p - chance) ** 2 - (q - chance) ** 2).mean(axis=1, keepdims=True)
    logs, when = np.zeros((trials, len(stakes))), np.full(trials, NEVER)
    for tick in range(ticks):
        cells = rng.integers(0, 1000, (trials, n))
        y = rng.random((trials, n)) < np.take_along_axis(chance, cells, 1)
        d = (np.take_along_axis(p, cells, 1) - y) ** 2 - (np.take_along_axis(q, cells, 1) - y) ** 2 - mean + gain
        for trial in range(trials):
            logs[trial] += log_wealth(np.clip(d[trial], -1, 1) - EPSILON, stakes / (1 + EPSILON))
        e = np.exp(logs).mean(axis=1)
        when[(when == NEVER) & (e >= 1 / lifetime_level(1))] = tick + 1
    return int((when < NEVER).sum()), float(np.median(when))


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description="measure the retrain and promote decision")
    asked.add_argument("--seeds", type=int, default=20)
    asked.add_argument("--first", type=int, default=1000, help="first seed; 100 to 111 chose the experts")
    asked.add_argument("--delta", type=float, default=0.3)
    asked.add_argument("--worse", type=int, default=10_000, help="trials of a worse challenger")
    said = asked.parse_args()
    seeds, config = range(said.first, said.first + said.seeds), Config(delta=said.delta)
    print(f"delta {config.delta}, {said.seeds} seeds from {said.first}; prior / harmful / gradual / abrupt\n")
    print("| rows | median | goal | limit | p90 | missed | before the change | ms a tick |\n|" + "---|" * 8)
    for n, goal in GOAL.items():
        medians, high, missed, early, seconds = delays(n, seeds, config)
        knows = " / ".join(f"{np.median([limit(kind, seed, n, config) for seed in seeds]):g}" for kind in DRIFTS)
        before = f"{early} in {CHANGE * len(DRIFTS) * len(seeds):,}"
        print(
            f"| {n} | {medians} | {goal} | {knows} | {high} | {missed} | {before} | {seconds * 1000:.1f} |", flush=True
        )
    print("\n| rows | false (a 1,000 ticks) | harmless | harder | harder: said harmed |\n|" + "---|" * 5)
    for n in GOAL:
        print(f"| {n} | {quiet(n, seeds, config)} |", flush=True)
    print("\n| rows | worse (-.003) promoted in 40 ticks | gain of exactly epsilon | better (+.01), median ticks |")
    print("|" + "---|" * 4)
    for n in GOAL:
        groups = range(said.first, said.first + max(1, said.worse // GROUP))
        bad, edge = (sum(promoted(n, seed, gain)[0] for seed in groups) for gain in (-0.003, EPSILON))
        good, after = promoted(n, said.first - 1, 0.01)
        tried = f"{GROUP * len(groups):,}"
        print(f"| {n} | {bad} of {tried} | {edge} of {tried} | {good} of {GROUP}, {after:g} |", flush=True)


if __name__ == "__main__":
    main()
