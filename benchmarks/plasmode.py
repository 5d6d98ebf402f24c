"""Real telecom clients, outcomes of our own making: labels are drawn from a logistic model fitted to the real ones.

The features come from the data set that ``runner.py telco`` plays (7,043 clients; with ``make telco``), else from the
400 of tests/data/telco_sample.csv, drawn with replacement. The law is linear in the columns, so the champion is right
but for what 4,000 rows leave unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition.commands.telco import fetch
from attrition.drift.logistic import fit
from attrition.home import UsageError
from benchmarks.streams import CHANGE

__all__ = ["Plasmode", "telco"]

Floats = npt.NDArray[np.float64]

SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "telco_sample.csv"
RIDGE = 5.0
PRIOR_SHIFT = 0.75


@dataclass(frozen=True)
class Telco:
    """Features ``(clients, columns)``, their names, the fitted log-odds' intercept and slopes, and what they are of."""

    X: Floats
    columns: tuple[str, ...]
    base: float
    slopes: Floats
    source: str


@cache
def telco() -> Telco:
    """The clients, one-hot and standardised, and the model of their real outcomes."""
    try:
        clients, source = pd.concat(fetch()), "wa_churn"
    except UsageError:
        clients, source = pd.read_csv(SAMPLE), "the sample"
    clients = clients.drop(columns="rownames", errors="ignore").dropna()
    y: Floats = np.asarray(clients.pop("churn") == "Yes", dtype=np.float64)
    wide = pd.get_dummies(clients, drop_first=True, dtype=float)
    wide = wide.loc[:, ~wide.T.duplicated()]  # "no internet service" is told by six features
    X = ((wide - wide.mean()) / wide.std(ddof=0)).to_numpy(dtype=np.float64)
    design: Floats = np.vstack([np.ones(len(X)), X.T])
    found, _ = fit(design, y, np.zeros(len(y)), RIDGE, np.zeros(len(design)), steps=50)
    return Telco(X, tuple(wide.columns), float(found[0]), found[1:], f"{len(X):,} clients of {source}")


@dataclass(frozen=True)
class Plasmode:
    """``none``; ``prior``: all log-odds rise by .75; ``abrupt``: contract and tenure say the opposite."""

    kind: str

    def clients(self, rng: np.random.Generator, n: int, tick: int) -> Floats:
        """See ``streams.Law``."""
        found: Floats = telco().X[rng.integers(0, len(telco().X), n)]
        return found

    def truth(self, X: Floats, tick: int) -> Floats:
        """See ``streams.Law``."""
        law = telco()
        slopes, base = law.slopes, law.base
        if tick >= CHANGE and self.kind == "prior":
            base += PRIOR_SHIFT
        elif tick >= CHANGE and self.kind == "abrupt":
            turned = [name == "tenure" or name.startswith("contract") for name in law.columns]
            slopes = np.where(turned, -slopes, slopes)
        found: Floats = base + X @ slopes
        return found
