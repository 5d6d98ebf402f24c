"""Other detectors on the same streams: two rules of our own writing, three libraries in environments of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency, ks_2samp

from attrition.drift.state import Config
from benchmarks.streams import CHANGE, DRIFTS, Rows, open_stream
from benchmarks.trials import Trial, delay, ours, spread

__all__ = ["LIBRARIES", "install", "ks_bonferroni", "naive_f1", "outside", "table"]

HERE = Path(__file__).parent
LIBRARIES = ("river", "evidently", "nannyml")
SEEDS = {"evidently": 3, "nannyml": 3}
"""They take their time: no more seeds than these."""
KINDS = ("none", "harmless", "harder", *DRIFTS)
LEVEL = 0.05
"""Of a tick's tests together."""
QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""None of the libraries reports that it was used."""


def naive_f1(reference: Rows, ticks: list[Rows]) -> Trial:
    """Retrain when F1 is lower than it was on the reference."""
    then, began = _f1(reference), process_time()
    found = tuple(tick for tick, rows in enumerate(ticks) if _f1(rows) < then)
    return Trial(found, (), len(ticks), 1000 * (process_time() - began) / len(ticks))


def ks_bonferroni(reference: Rows, ticks: list[Rows]) -> Trial:
    """Kolmogorov and Smirnov of each feature, χ² of the outcome, the level shared evenly (Bonferroni)."""
    began, width = process_time(), reference.X.shape[1]

    def moved(rows: Rows) -> bool:
        counts = [[(side.y == outcome).sum() for outcome in (0, 1)] for side in (reference, rows)]
        tests = [ks_2samp(reference.X[:, column], rows.X[:, column]).pvalue for column in range(width)]
        outcome = chi2_contingency(counts).pvalue if np.all(np.sum(counts, axis=0)) else 1.0
        return bool(min([*tests, outcome]) < LEVEL / (width + 1))

    found = tuple(tick for tick, rows in enumerate(ticks) if moved(rows))
    return Trial(found, (), len(ticks), 1000 * (process_time() - began) / len(ticks))


def _f1(rows: Rows) -> float:
    said: npt.NDArray[np.bool_] = rows.l > 0
    hit = float((said & (rows.y == 1)).sum())
    return 2 * hit / max(1.0, float(said.sum() + rows.y.sum()))


def install(library: str, home: Path) -> Path:
    """The Python of the library's own environment, made from its lock at the first time.

    Raises:
        RuntimeError: it does not install; says what pip said last.
    """
    lock, place = HERE.parent / "locks" / f"peers-{library}.txt", home / library
    python, made = place / "bin" / "python", place / "lock.txt"
    home.mkdir(exist_ok=True)
    (home / ".gitignore").write_text("*\n")
    if not made.exists() or made.read_bytes() != lock.read_bytes():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(place)],
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{library} does not install: {done.stderr.strip().splitlines()[-1]}")
        made.write_bytes(lock.read_bytes())
    return python


def outside(library: str, python: Path, histories: dict[str, tuple[Rows, list[Rows]]]) -> dict[str, dict[str, Trial]]:
    """What a library's methods said of the histories, by the name of the method and then of the history.

    Raises:
        RuntimeError: its script failed; says the last line of what it said.
    """
    found: dict[str, dict[str, Trial]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as folder:
        for name, (reference, ticks) in histories.items():
            np.savez(Path(folder) / f"{name}.npz", **_npz(reference, ticks))
        command = [str(python), str(HERE / "outside" / f"{library}_peer.py"), folder]
        done = subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{library} failed: {done.stderr.strip().splitlines()[-1]}")
        for name, (_, ticks) in histories.items():
            for method, said in json.loads((Path(folder) / f"{name}.json").read_text()).items():
                found[method][name] = Trial(tuple(said["alarms"]), (), len(ticks), said["cost"])
    return found


def _npz(reference: Rows, ticks: list[Rows]) -> dict[str, Any]:
    parts = {f"reference_{name}": getattr(reference, name) for name in ("X", "l", "y")}
    parts |= {f"tick_{name}": np.concatenate([getattr(rows, name) for rows in ticks]) for name in ("X", "l", "y")}
    return parts | {"tick": np.repeat(np.arange(len(ticks)), [len(rows.y) for rows in ticks])}


def table(seeds: range, rates: tuple[int, ...], home: Path) -> None:
    """Print it: every method, every rate."""
    pythons: dict[str, Path] = {}
    for library in LIBRARIES:
        try:
            pythons[library] = install(library, home)
        except RuntimeError as error:
            print(f"\n{error}")
    for n in rates:
        print(f"\n{n} rows a tick, {len(seeds)} seeds from {seeds.start}\n")
        print("| method | false a 1,000 | prior | harmful | gradual | abrupt | harmless | harder | ms a tick |")
        print("|" + "---|" * 9)
        for method, trials in _rate(seeds, n, pythons).items():
            print(f"| {method} | {_row(trials, [seed for seed in seeds if f'none {seed}' in trials])} |", flush=True)


def _rate(seeds: range, n: int, pythons: dict[str, Path]) -> dict[str, dict[str, Trial]]:
    found: dict[str, dict[str, Trial]] = defaultdict(dict)
    for kind in KINDS:
        histories = {}
        for seed in seeds:
            stream = open_stream(kind, seed)
            histories[f"{kind} {seed}"] = (stream.reference(), list(stream.ticks(n)))
        for name, (reference, ticks) in histories.items():
            found["ours, δ = .3"][name] = ours(reference, ticks, Config())
            found["F1 lower than before"][name] = naive_f1(reference, ticks)
            found["KS / χ², Bonferroni"][name] = ks_bonferroni(reference, ticks)
        for library, python in pythons.items():
            some = dict(list(histories.items())[: SEEDS.get(library)])
            for method, trials in outside(library, python, some).items():
                found[method] |= trials
    return found


def _row(trials: dict[str, Trial], seeds: list[int]) -> str:
    """False alarms without drift and before it; delays; the share of harmless and of harder streams that alarmed."""
    false = sum(sum(tick < CHANGE for tick in trials[f"{kind} {seed}"].alarms) for kind in KINDS[1:] for seed in seeds)
    false += sum(len(trials[f"none {seed}"].alarms) for seed in seeds)
    ticks = sum(trials[f"none {seed}"].ticks for seed in seeds) + CHANGE * len(seeds) * (len(KINDS) - 1)
    delays = [spread(delay(trials[f"{kind} {seed}"].alarms) for seed in seeds) for kind in DRIFTS]
    after = [np.mean([delay(trials[f"{kind} {seed}"].alarms) < 1000 for seed in seeds]) for kind in KINDS[1:3]]
    cost = float(np.mean([trial.cost for trial in trials.values()]))
    return " | ".join([f"{1000 * false / ticks:.1f}", *delays, *(f"{share:.0%}" for share in after), f"{cost:.1f}"])
