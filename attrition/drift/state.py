"""What the detector is told, what it keeps between ticks, and what it says of one. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Config", "Evidence", "State"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROWS = ("design", "l0", "y")
"""Of a state: what the store can give back."""


@dataclass(frozen=True)
class Config:
    """What the guarantee is about. ``alpha``: false alarms a tick, e.g. wanted a year / ticks a year.

    ``delta``: log-odds by which the champion may be off without a refit being due. ``gain``: ε as a share of the
    reference's ȳ(1 − ȳ). ``k``: the champion is the portfolio's k-th.
    """

    alpha: float = 1 / 2000
    delta: float = 0.3
    gain: float = 0.02
    k: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and self.delta > 0 and 0 < self.gain < 1 and self.k >= 1):
            raise ValueError(f"alpha and gain lie between 0 and 1, delta is above 0, k at least 1; found {self}")


@dataclass(frozen=True)
class State:
    """All that the next tick needs: bounded, and the same again when the ticks are replayed from ``start``.

    What is saved of it is a few hundred numbers. ``design``, ``l0`` and ``y``, the last ``experts.WINDOW`` rows, are
    not among them: ``detector.recall`` puts them back from the store that has them anyway.

    ``m``, ``c`` and ``since`` have one entry a bet: its M, its change point statistic, and the row and the tick,
    both counted from 0 at ``start``, where that was last restarted. ``coefficients`` and ``variances``
    have one row a shadow, shape ``(shadows, 2 + features)``.
    """

    centre: Floats
    scale: Floats
    offset: Floats
    coefficients: Floats
    variances: Floats
    reference: float
    epsilon: float
    rows: int
    ticks: int
    m: Floats
    c: Floats
    since_row: Ints
    since_tick: Ints
    harm_logs: Floats
    harm_m: Floats
    design: Floats
    l0: Floats
    y: Floats

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists of them, without the rows: JSON keeps each bit."""
        kept = [field.name for field in fields(self) if field.name not in ROWS]
        return {name: np.asarray(getattr(self, name)).tolist() for name in kept}

    @staticmethod
    def from_dict(saved: dict[str, Any]) -> State:
        """The state that ``to_dict`` gave, after JSON; its rows are for ``detector.recall``.

        Raises:
            KeyError: something is missing.
        """
        found: dict[str, Any] = {"l0": np.zeros(0), "y": np.zeros(0)}
        for field in fields(State):
            if field.name in ROWS:
                continue
            value = np.asarray(saved[field.name])
            if field.name in ("rows", "ticks"):
                found[field.name] = int(value)
            elif value.ndim == 0:
                found[field.name] = float(value)
            else:
                found[field.name] = value.astype(np.int64 if field.name.startswith("since") else np.float64)
        found["design"] = np.zeros((len(found["offset"]), 0))
        return State(**found)


@dataclass(frozen=True)
class Evidence:
    """What one tick left. ``m`` is M after the tick's rows, or at its first alarm.

    ``share`` is m·α, of what an alarm needs; ``log10`` is log10 m for a drawing, None while m is 0. ``change_row``
    and ``change_ticks`` say where the best bet was last restarted: rows since ``start``, and ticks ago (0: in this
    one); None before the first row. ``best`` is that bet's name, such as "500 rows, full", "intercept",
    "shift +0.7" or "regret". They estimate the change, late by the time it takes to learn, without a
    guarantee, and mean little while ``share`` is small. ``n`` is the tick's rows. Harm: ``harm`` is its own M,
    ``harm_alarm`` whether that reached 1/α, and ``harm_log10_e`` log10 of its e-value since ``start``, the evidence
    that the *average* loss since then is above ``reference``.
    """

    m: float
    share: float
    log10: float | None
    alarm: bool
    change_row: int | None
    change_ticks: int | None
    best: str | None
    n: int
    harm: float
    harm_alarm: bool
    harm_log10_e: float
    reference: float
