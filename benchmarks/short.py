"""The claims of docs/benchmarks.md in a minute of one core, so that a change which breaks one is noticed."""

from __future__ import annotations

import numpy as np

from attrition.drift.state import Config
from benchmarks.peers import naive_f1
from benchmarks.promotion import promoted
from benchmarks.streams import CHANGE, open_stream
from benchmarks.trials import delay, ours

__all__ = ["short"]

FIRST, SEEDS = 2000, 8
RECORDED = {
    50: {"prior": 10.5, "harmful": 4.0, "gradual": 23.0, "abrupt": 6.0},
    200: {"prior": 3.0, "harmful": 2.0, "gradual": 16.0, "abrupt": 2.0},
    1000: {"prior": 1.0, "harmful": 1.0, "gradual": 10.0, "abrupt": 1.0},
}
"""Median delays of 20 seeds, docs/benchmarks.md."""
SLACK = 1.5
QUIET = {50: 400, 200: 200, 1000: 50}
"""Ticks without drift of each seed."""
FALSE = 0.5
"""Alarms a 1,000 ticks."""


def short() -> int:
    """Print what was found and what was broken; the exit status: 1 where anything was."""
    broken = [*_delays(), *_quiet(), *_promoted()]
    print("\n" + ("\n".join(f"broken: {line}" for line in broken) or "every floor holds"))
    return 1 if broken else 0


def _delays() -> list[str]:
    broken = []
    for n, recorded in RECORDED.items():
        for kind, median in recorded.items():
            streams = [open_stream(kind, seed) for seed in range(FIRST, FIRST + SEEDS)]
            trials = [ours(stream.reference(), stream.ticks(n), Config(), CHANGE) for stream in streams]
            found = float(np.median([delay(trial.alarms) for trial in trials]))
            print(f"{n} rows, {kind}: {found:g} ticks, recorded {median:g}", flush=True)
            if found > SLACK * median:
                broken.append(f"{kind} at {n} rows takes {found:g} ticks, more than {SLACK} × {median:g}")
    return broken


def _quiet() -> list[str]:
    broken, false, ticks, naive = [], 0, 0, []
    for n, horizon in QUIET.items():
        for seed in range(FIRST, FIRST + SEEDS):
            stream = open_stream("none", seed)
            rows = list(stream.ticks(n, horizon))
            false += len(ours(stream.reference(), rows, Config()).alarms)
            ticks += horizon
            naive.append(1000 * len(naive_f1(stream.reference(), rows).alarms) / horizon)
    print(f"without drift: {false} alarms in {ticks:,} ticks; F1 lower than before: {np.mean(naive):.0f} a 1,000")
    if 1000 * false / ticks > FALSE:
        broken.append(f"{false} false alarms in {ticks:,} ticks, more than {FALSE} a 1,000")
    for kind in ("harmless", "harder"):
        for n in (50, 200):
            stream = open_stream(kind, FIRST)
            if ours(stream.reference(), stream.ticks(n), Config()).alarms:
                broken.append(f"{kind} clients alarm at {n} rows")
    return broken


def _promoted() -> list[str]:
    tried, worse = 0, 0
    for n in (50, 200):
        for seed in (FIRST, FIRST + 1):
            tried, worse = tried + 500, worse + promoted(n, seed, -0.003)[0]
    better, _ = promoted(200, FIRST, 0.01)
    print(f"worse challengers promoted: {worse} of {tried:,}; better ones: {better} of 500")
    broken = [f"{worse} of {tried:,} worse challengers promoted"] if worse > 0.01 * tried else []
    return [*broken, "better challengers are not promoted"] if better < 490 else broken
