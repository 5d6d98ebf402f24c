"""How soon a change is noticed and how often for nothing; what is promoted. Beside goal, limits and peers.

    python -m benchmarks.decision --seeds 20 --first 2000     everything, half an hour of one core
    python -m benchmarks.decision --short                     a minute; exits 1 where a floor is broken

Prints Markdown: docs/benchmarks.md is made of it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from attrition.drift.state import Config
from benchmarks import peers, promotion
from benchmarks.plasmode import Plasmode, telco
from benchmarks.short import short
from benchmarks.streams import CHANGE, DRIFTS, begin, open_stream
from benchmarks.stress import STRESSES
from benchmarks.trials import Trial, delay, knows_both_laws, knows_the_best_refit, ours, spread

RATES = (50, 200, 1000)
GOAL = {50: (18, 4, 19, 7), 200: (5, 1, 13, 2), 1000: (1, 1, 8, 1)}
QUIET = {50: 500, 200: 250, 1000: 100}
"""Ticks of a stream without drift, by rows a tick."""
TABLES = ("delays", "quiet", "promotion", "stress", "plasmode", "peers")


def run(kind: str, seed: int, n: int, config: Config, until: int | None = None) -> Trial:
    """The detector on one synthetic stream."""
    stream = open_stream(kind, seed)
    return ours(stream.reference(), stream.ticks(n), config, until)


def delays(seeds: range) -> None:
    """Of the four drifts: median and 90th percentile, the goal, and two limits."""
    print("\n| rows | what | " + " | ".join(DRIFTS) + " | before the change | ms a tick |\n|" + "---|" * 8)
    for n in RATES:
        print(f"| {n} | goal | " + " | ".join(map(str, GOAL[n])) + " | | |")
        for delta in (0.3, 0.4):
            trials = {kind: [run(kind, seed, n, Config(delta=delta), CHANGE) for seed in seeds] for kind in DRIFTS}
            cells = [spread(delay(trial.alarms) for trial in trials[kind]) for kind in DRIFTS]
            every = [trial for kind in DRIFTS for trial in trials[kind]]
            early = sum(tick < CHANGE for trial in every for tick in trial.alarms)
            cost = np.mean([trial.cost for trial in every])
            said = f"{early} in {CHANGE * len(every):,} | {cost:.1f}"
            print(f"| {n} | ours, δ = {delta} | " + " | ".join(cells) + f" | {said} |", flush=True)
        for name, knows in (("knows the best refit", knows_the_best_refit), ("knows both laws", knows_both_laws)):
            cells = [spread(knows(open_stream(kind, seed), n, Config()) for seed in seeds) for kind in DRIFTS]
            print(f"| {n} | {name} | " + " | ".join(cells) + " | | |", flush=True)


def quiet(seeds: range) -> None:
    """False alarms without drift; what harmless shifts and harder clients lead to."""
    print("\n| rows | δ | false in ticks (a 1,000) | harmless | harder | harder, said harmed |\n|" + "---|" * 6)
    for n in RATES:
        for delta in (0.3, 0.4):
            config, ticks, false = Config(delta=delta), QUIET[n] * len(seeds), 0
            for seed in seeds:
                stream = open_stream("none", seed)
                false += len(ours(stream.reference(), stream.ticks(n, QUIET[n]), config).alarms)
            harmless, harder = ([run(kind, seed, n, config) for seed in seeds] for kind in ("harmless", "harder"))
            shares = [np.mean([bool(trial.alarms) for trial in trials]) for trials in (harmless, harder)]
            shares.append(np.mean([bool(trial.harms) for trial in harder]))
            said = f"{false} in {ticks:,} ({1000 * false / ticks:.2f})"
            print(f"| {n} | {delta} | {said} | " + " | ".join(f"{share:.0%}" for share in shares) + " |", flush=True)


def stress(seeds: range) -> None:
    """Alarms a 1,000 ticks and the share of streams that alarmed at all."""
    rates = " | ".join(f"{n} rows" for n in RATES)
    print(f"\n| stream | expected | {rates} | said harmed |\n|" + "---|" * 6)
    for name, open_stress, expected in STRESSES:
        cells, harmed = [], []
        for n in RATES:
            trials = []
            for seed in seeds:
                stream, ticks = open_stress(seed, n)
                trials.append(ours(stream.reference(), ticks, Config()))
            rate = 1000 * sum(len(trial.alarms) for trial in trials) / sum(trial.ticks for trial in trials)
            cells.append(f"{rate:.1f} ({np.mean([bool(trial.alarms) for trial in trials]):.0%})")
            harmed.append(f"{np.mean([bool(trial.harms) for trial in trials]):.0%}")
        print(f"| {name} | {expected} | " + " | ".join(cells) + f" | {' / '.join(harmed)} |", flush=True)


def plasmode(seeds: range) -> None:
    """Real features: false alarms and delays."""
    print(f"\n{telco().source}, {telco().X.shape[1]} columns\n")
    print("| rows | false in ticks | prior | abrupt | ms a tick |\n|" + "---|" * 5)
    for n in RATES:
        found: dict[str, list[Trial]] = {}
        for kind in ("none", "prior", "abrupt"):
            streams = [begin(Plasmode(kind), seed) for seed in seeds]
            until = None if kind == "none" else CHANGE
            found[kind] = [ours(stream.reference(), stream.ticks(n), Config(), until) for stream in streams]
        false = sum(len(trial.alarms) for trial in found["none"])
        early = sum(tick < CHANGE for kind in ("prior", "abrupt") for trial in found[kind] for tick in trial.alarms)
        ticks = sum(trial.ticks for trial in found["none"]) + 2 * CHANGE * len(seeds)
        cells = [spread(delay(trial.alarms) for trial in found[kind]) for kind in ("prior", "abrupt")]
        cost = np.mean([trial.cost for trial in found["none"]])
        print(f"| {n} | {false + early} in {ticks:,} | " + " | ".join(cells) + f" | {cost:.1f} |", flush=True)


def main() -> int:
    """Print the tables that are asked for."""
    asked = argparse.ArgumentParser(description="measure the retrain and promote decision")
    asked.add_argument("--seeds", type=int, default=20)
    asked.add_argument("--first", type=int, default=2000, help="first seed; 100 to 131 chose the experts")
    asked.add_argument("--only", nargs="+", choices=TABLES, default=TABLES)
    asked.add_argument("--short", action="store_true", help="a minute for CI; exits 1 where a floor is broken")
    said = asked.parse_args()
    if said.short:
        return short()
    seeds = range(said.first, said.first + said.seeds)
    print(f"{said.seeds} seeds from {said.first}")
    for name in said.only:
        if name == "peers":
            peers.table(seeds, RATES, Path(__file__).parents[1] / ".bench")
        elif name == "promotion":
            promotion.table(seeds, 10_000, RATES)
        else:
            {"delays": delays, "quiet": quiet, "stress": stress, "plasmode": plasmode}[name](seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
