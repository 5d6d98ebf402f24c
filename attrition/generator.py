"""A seeded stream of clients of a software-subscription business, for the portfolio ``demo``, tests and benchmarks.

Who leaves follows a logistic law of tenure, use, support and satisfaction, with one bend that a linear model does
not see: many tickets make a client no likelier to leave than several do. Fee and seats do not matter. A tick is a
week. Drift of a known kind sets in at a known tick, so a monitor can be held to the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition import safe

__all__ = ["DRIFTS", "OWNERS", "Drift", "Stream", "stream", "write_drop"]

Floats = npt.NDArray[np.float64]
Drift = Literal["none", "prior", "covariate_harmful", "covariate_harmless", "gradual", "abrupt"]

DRIFTS: tuple[Drift, ...] = get_args(Drift)
OWNERS = ("Amara Okafor", "Bruno Silva", "Chen Wei", "Dana Levi", "Elif Kaya", "Freya Lund")
PLANS = np.array(["Basic", "Team", "Enterprise"])
MOST = 1_000_000
"""Rows in one tick at most: each tick has so many client numbers to itself."""
TURN = 50
"""Ticks that a gradual drift takes."""

PRIOR_SHIFT = 0.91
"""Logits that lift the base rate from .25 to .40."""
BEFORE = np.array([-1.61, -0.60, -0.93, 0.65, 0.38, -0.60, 0.38, -0.48])
AFTER = np.array([-1.08, 0.30, 0.35, 0.65, 0.38, 0.30, -0.35, 0.45])
"""The law's intercept and its weights of tenure, logins, tickets, late payments, satisfaction, Basic and Enterprise,
before and after the coefficients have turned."""


@dataclass(frozen=True)
class Stream:
    """Ticks of clients, each the same for its seed and number in whatever order they are asked for."""

    drift: Drift
    seed: int
    change: int
    start: date

    def tick(self, k: int, rows: int, unlabelled: float = 0.0) -> pd.DataFrame:
        """The ``rows`` new clients of tick ``k`` (0, 1, 2 …), the newest last.

        ``unlabelled`` is the share of clients, the newest, whose outcome is not known yet.

        Raises:
            ValueError: ``k`` is negative, ``rows`` not between 1 and a million, ``unlabelled`` not a share.
        """
        if not 0 <= unlabelled <= 1:
            raise ValueError(f"unlabelled is {unlabelled}; it is a share of the rows, between 0 and 1")
        frame, chances, rng = self._draw(k, rows)
        churned = pd.Series(rng.random(rows) < chances).astype("Int64")
        known = np.arange(rows) < rows - round(unlabelled * rows)
        return frame.assign(churned=churned.where(known))

    def truth(self, k: int, rows: int) -> Floats:
        """The law's own probability for each client of ``tick(k, rows)``: the limit of any model.

        Raises:
            ValueError: as ``tick``.
        """
        return self._draw(k, rows)[1]

    def _draw(self, k: int, rows: int) -> tuple[pd.DataFrame, Floats, np.random.Generator]:
        if k < 0 or not 1 <= rows <= MOST:
            raise ValueError(f"tick {k} of {rows} rows: ticks count from 0, a tick has 1 to {MOST:,} rows")
        rng = np.random.default_rng([self.seed, k])
        drifted = k >= self.change
        frame, satisfaction = _clients(rng, rows, self.drift if drifted else "none")
        numbers = k * MOST + np.arange(rows)
        days = np.sort(rng.integers(0, 7, rows)) + 7 * k
        frame.insert(0, "client_id", [f"C{number:06d}" for number in numbers])
        frame.insert(1, "as_of", pd.Timestamp(self.start) + pd.to_timedelta(days, unit="D"))
        frame.insert(2, "owner", rng.choice(OWNERS, rows))
        return frame, self._chances(k, frame, satisfaction), rng

    def _chances(self, k: int, frame: pd.DataFrame, satisfaction: Floats) -> Floats:
        turned = {"gradual": np.clip((k - self.change) / TURN, 0, 1), "abrupt": float(k >= self.change)}
        share = turned.get(self.drift, 0.0)
        weights = (1 - share) * BEFORE + share * AFTER
        shift = PRIOR_SHIFT * (self.drift == "prior" and k >= self.change)
        logits = shift + _standardised(frame, satisfaction) @ weights
        chances: Floats = 1 / (1 + np.exp(-logits))
        return chances


def stream(drift: str, *, seed: int, change: int, start: date) -> Stream:
    """A stream of clients whose law or mix changes at tick ``change``; ``start`` is the first day of tick 0.

    ``drift`` is one of ``DRIFTS``: *none*; *prior*: more clients leave, whoever they are; *covariate_harmful*:
    tickets soar, where a model has seen little; *covariate_harmless*: fees and seats grow, which do not matter;
    *gradual*: the coefficients turn over ``TURN`` ticks; *abrupt*: they turn at once.

    Raises:
        ValueError: an unknown drift, or a negative seed or change.
    """
    for known in DRIFTS:
        if known == drift:
            if seed < 0 or change < 0:
                raise ValueError(f"seed {seed} and change {change} must be 0 or more")
            return Stream(known, seed, change, start)
    raise ValueError(f"{drift!r} is no drift; choose one of {', '.join(DRIFTS)}")


def write_drop(frame: pd.DataFrame, path: Path) -> None:
    """Write clients as a CSV drop, whole or not at all; a missing value is an empty field."""
    safe.write(path, frame.to_csv(index=False, date_format="%Y-%m-%d", lineterminator="\n"))


def _clients(rng: np.random.Generator, rows: int, drift: str) -> tuple[pd.DataFrame, Floats]:
    """Features of new clients as a file has them, and the satisfaction of those too who were not asked."""
    plan = rng.choice(3, rows, p=[0.5, 0.35, 0.15])
    dearer, larger = (1.2, 1.4) if drift == "covariate_harmless" else (1.0, 1.0)
    fees = np.array([49.0, 99.0, 189.0])[plan] * rng.lognormal(0, 0.45, rows) * dearer
    seats = np.array([3.0, 9.0, 30.0])[plan] * rng.lognormal(0, 0.7, rows) * larger
    months = rng.gamma(1.3, 18.0, rows)
    logins = rng.gamma(3.0, 4.0, rows)
    tickets = rng.poisson(rng.gamma(2.0, 3.0 if drift == "covariate_harmful" else 0.75, rows))
    satisfaction = np.clip(np.round(rng.normal(3.6, 1.0, rows) * 2) / 2, 1, 5)
    asked = rng.random(rows) >= 0.08
    frame = pd.DataFrame(
        {
            "plan": PLANS[plan],
            "months": np.minimum(months, 240).astype(np.int64),
            "monthly_fee": fees.round(2),
            "seats": np.maximum(seats, 1).astype(np.int64),
            "logins": logins.round(1),
            "tickets": tickets,
            "late_payments": rng.poisson(0.5, rows),
            "satisfaction": np.where(asked, satisfaction, np.nan),
        }
    )
    return frame, satisfaction


def _standardised(frame: pd.DataFrame, satisfaction: Floats) -> Floats:
    """What the law weighs, shape ``(rows, 8)``: fixed centres and scales, and the bend in tickets."""
    return np.column_stack(
        [
            np.ones(len(frame)),
            (np.sqrt(frame["months"]) - 4.4) / 2.1,
            (frame["logins"] - 12.0) / 6.9,
            np.minimum((frame["tickets"] - 1.5) / 1.6, 1.5),
            (frame["late_payments"] - 0.5) / 0.7,
            (satisfaction - 3.6) / 0.95,
            frame["plan"] == "Basic",
            frame["plan"] == "Enterprise",
        ]
    )
