"""Which of two models is better on the same clients, and what changed about clients, feature by feature. Pure.

Losses are skewed, so a percentile interval of their mean is too narrow on few rows. The interval here is bootstrap-t:
each resample's mean is divided by its own standard error, and the quantiles of those quotients, instead of Student's,
are laid around the mean found. It informs; what decides is the proof of ``bets.Promotion``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition.metrics import bootstrap_means, checked
from attrition.params import Portfolio

__all__ = ["changes", "losses", "mean_interval"]

Floats = npt.NDArray[np.float64]


def losses(y: npt.ArrayLike, p: npt.ArrayLike) -> Floats:
    """The Brier loss ``(p − y)²`` of each row, shape ``(rows,)``.

    Raises:
        ValueError: no rows, different lengths, an outcome other than 0 and 1, or no probability.
    """
    outcomes, chances = checked(y, p)
    return (chances - outcomes) ** 2


def mean_interval(
    values: npt.ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of ``values``, shape ``(rows,)`` and each within −1 and 1, and its two-sided bootstrap-t interval.

    Raises:
        ValueError: no rows, or a value outside [−1, 1] or missing.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not found.size or not (np.abs(found) <= 1).all():
        raise ValueError(f"an interval needs at least one row, each within -1 and 1; found shape {found.shape}")
    middle = float(found.mean())
    centred = found - middle
    drawn = bootstrap_means(np.column_stack([centred, centred**2]), resamples=resamples, seed=seed)
    shift, spread = drawn[:, 0], np.maximum(drawn[:, 1] - drawn[:, 0] ** 2, 0) / found.size
    # A resample of equal values has no error of its own: its quotient is beyond all others, not a number missing.
    quotients = np.where(shift == 0, 0.0, np.copysign(np.inf, shift))
    np.divide(shift, np.sqrt(spread), out=quotients, where=spread > 1e-24)
    tail = (1 - confidence) / 2
    below, above = np.quantile(quotients, [tail, 1 - tail], method="closest_observation")
    scale = math.sqrt(float(np.mean(centred**2)) / found.size)
    if scale < 1e-12:  # equal values: no resample differs either
        return middle, middle, middle
    low, high = middle - above * scale, middle - below * scale
    return middle, max(float(low), -1.0), min(float(high), 1.0)


def changes(new: pd.DataFrame, reference: pd.DataFrame, portfolio: Portfolio) -> list[dict[str, Any]]:
    """How each feature's values differ between two sets of clients, the largest change first.

    Each entry has ``feature``, ``label``, ``effect``, ``size``, ``then`` and ``now``, ``missing_then`` and
    ``missing_now`` (shares) and a ``sentence``. For a number ``effect`` is the difference of the means in standard
    deviations of all the rows, and ``then`` and ``now`` are means (None without values); for a category or a
    boolean it is the total variation distance, and they are shares by level. ``size``, from 0 to 1, makes them
    comparable: total variation (of two normal laws as far apart), or the change of the share missing. These are
    effect sizes, not evidence: a change may be large and do no harm.

    Raises:
        ValueError: one of the sets is empty.
    """
    if new.empty or reference.empty:
        raise ValueError(f"nothing to compare: {len(new)} new rows, {len(reference)} in the reference")
    found = [_change(new[name], reference[name], portfolio, name) for name in portfolio.features]
    return sorted(found, key=lambda entry: -entry["size"])


def _change(new: pd.Series[Any], reference: pd.Series[Any], portfolio: Portfolio, name: str) -> dict[str, Any]:
    label, kind = portfolio.label(name), portfolio.columns[name].type
    then, now = reference.dropna(), new.dropna()
    missing_then, missing_now = float(reference.isna().mean()), float(new.isna().mean())
    if kind in ("integer", "number"):
        entry = _numbers(then.to_numpy(dtype=np.float64), now.to_numpy(dtype=np.float64), label)
    else:
        if kind == "boolean":
            then, now = (side.map({1.0: "yes", 0.0: "no"}) for side in (then, now))
        entry = _levels(then, now, label)
    gone = missing_now - missing_then
    if abs(gone) >= 0.005:
        entry["sentence"] += f"; missing in {missing_now:.0%}, was {missing_then:.0%}"
    missing = {"missing_then": missing_then, "missing_now": missing_now}
    return {"feature": name, "label": label, **entry, "size": max(entry["size"], abs(gone)), **missing}


def _numbers(then: Floats, now: Floats, label: str) -> dict[str, Any]:
    before, after = (float(side.mean()) if side.size else None for side in (then, now))
    if before is None or after is None:
        sentence, effect = f"{label}: no values to compare", 0.0
    else:
        spread = float(np.concatenate([then, now]).std())
        effect = (after - before) / spread if spread else 0.0
        amount = f"{effect:+.1f}".replace("-", "−")
        moved = "rose" if effect > 0 else "fell"
        sentence = f"{label} {moved} from {_number(before)} to {_number(after)} ({amount} sd)"
        if abs(effect) < 0.05:
            sentence = f"{label} stayed at {_number(after)}"
    size = math.erf(abs(effect) / math.sqrt(8))  # total variation of two normal laws this far apart
    return {"effect": effect, "size": size, "then": before, "now": after, "sentence": sentence}


def _levels(then: pd.Series[Any], now: pd.Series[Any], label: str) -> dict[str, Any]:
    before, after = _shares(then), _shares(now)
    moves = {level: after.get(level, 0.0) - before.get(level, 0.0) for level in {**before, **after}}
    distance = 0.0
    if not (before and after):
        sentence = f"{label}: no values to compare"
    else:
        distance = sum(map(abs, moves.values())) / 2
        most = max(sorted(moves, reverse=True), key=lambda level: round(abs(moves[level]), 9))  # of yes and no, yes
        moved = "rose" if moves[most] > 0 else "fell"
        shares = f"from {before.get(most, 0.0):.0%} to {after.get(most, 0.0):.0%}"
        sentence = f"{label} {most} {moved} {shares} (shares moved by {distance:.0%})"
        if abs(moves[most]) < 0.005:
            sentence = f"{label}: the shares stayed"
    return {"effect": distance, "size": distance, "then": before, "now": after, "sentence": sentence}


def _shares(values: pd.Series[Any]) -> dict[str, float]:
    return {str(level): float(share) for level, share in values.value_counts(normalize=True).items()}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
