"""What a rule for retraining costs: the loss over a horizon, beside an oracle that knows when clients change.

    python -m benchmarks.loss --seeds 5 --first 3000

The project's own stream of clients (``attrition.generator``): 2,000 clients to begin with, then 60 ticks of 200, the
change at tick 20. Each rule plays the same rows; what it pays is the mean Brier loss beyond that of the law itself, in
thousandths, over all ticks. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition import model, params
from attrition.backtest import Always, Every, Evidence, Naive, Never, Past, Strategy, Trained, play
from attrition.generator import DRIFTS, Stream, stream
from attrition.home import REPOSITORY

PORTFOLIO = params.load(REPOSITORY / "params" / "demo.yaml")
FIRST, ROWS, TICKS, CHANGE = 2000, 200, 60, 20
ENOUGH = 100
"""Clients since the change that the oracle needs to learn from them alone."""


class Oracle(Always):
    """Knows with which data version clients change: from then on it learns from the clients since, on every tick.

    It deploys the newest model at once, also where an older one would do better, so a rule may beat it.
    """

    def __init__(self, change: int | None) -> None:
        self.change = change

    def after(self, past: Past, champion: Trained, number: int) -> Trained | None:
        """A model of the clients since the change; of all before it."""
        self._new = None
        since = past.rows
        if self.change is not None and past.version >= self.change:
            since = past.rows[past.rows["_counted"] >= self.change]
            if len(since) < ENOUGH or model.too_few(past.portfolio, since):
                return None
        self._new = Past(past.portfolio, past.version, since, past.new).train_on_all(number)
        return self._new


RULES: dict[str, Callable[[int | None], Strategy]] = {
    "these rules": lambda _: Evidence(),
    "oracle": Oracle,
    "always": lambda _: Always(),
    "monthly": lambda _: Every(4),
    "new F1 below old": lambda _: Naive(),
    "never": lambda _: Never(),
}


@dataclass(frozen=True)
class Paid:
    """Loss beyond the law's (thousandths), models trained and models promoted."""

    loss: float
    trained: int
    promoted: int


def history(clients: Stream) -> tuple[pd.DataFrame, dict[int, float]]:
    """Rows that count, and the law's own mean loss in each version."""
    frames, best = [], {}
    for k in range(TICKS + 1):
        rows = ROWS if k else FIRST
        frames.append(clients.tick(k, rows).assign(_counted=k + 1))
        truth: npt.NDArray[np.float64] = clients.truth(k, rows)
        best[k + 1] = float(np.mean((truth - frames[-1]["churned"].to_numpy(dtype=np.float64)) ** 2))
    found = pd.concat(frames, ignore_index=True)
    found["churned"] = found["churned"].astype(float)
    return found.assign(_row=range(1, len(found) + 1), _key=found["client_id"]), best


def paid(kind: str, seed: int, rule: str) -> Paid:
    """What a rule pays on one stream."""
    rows, best = history(stream(kind, seed=seed, change=CHANGE + 1, start=date(2026, 1, 5)))
    change = None if kind in ("none", "covariate_harmless") else CHANGE + 2
    played = play(PORTFOLIO, rows, RULES[rule](change))
    beyond = [tick["loss"] - best[int(tick["version"])] for tick in played.ticks]
    return Paid(1000 * float(np.mean(beyond)), len(played.trained), len(played.promoted))


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description="measure what a rule for retraining costs")
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--first", type=int, default=3000)
    said = asked.parse_args()
    print("| rule | " + " | ".join(DRIFTS) + " |\n|" + "---|" * (1 + len(DRIFTS)))
    for rule in RULES:
        cells = []
        for kind in DRIFTS:
            found = [paid(kind, seed, rule) for seed in range(said.first, said.first + said.seeds)]
            loss, trained, promoted = (
                np.mean([getattr(each, name) for each in found]) for name in ("loss", "trained", "promoted")
            )
            cells.append(f"{loss:.1f} ({trained:.1f}, {promoted:.1f})")
        print(f"| {rule} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
