"""Is one set of losses worse than another, and what changed, feature by feature. Pure.

Losses are skewed, so a percentile interval of their mean is too narrow on few rows and alarms too often. The
intervals here are bootstrap-t: each resample's difference is divided by its own standard error, and the quantiles
of those quotients, instead of Student's, are laid around the difference found. With fewer than ``LEAST`` rows on
a side nothing is claimed, whatever the interval.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition.metrics import LEAST, bootstrap_means, checked
from attrition.params import Portfolio

__all__ = ["Comparison", "better", "changes", "losses", "worse"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two mean Brier losses compared.

    ``low`` and ``high`` each hold on their own side with the confidence asked for, within −1 and 1. ``says`` is
    whether the difference is above zero beyond doubt: ``low > 0``, with ``LEAST`` rows at least on both sides.
    """

    difference: float
    low: float
    high: float
    n_new: int
    n_reference: int
    says: bool

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded."""
        return asdict(self)


def losses(y: npt.ArrayLike, p: npt.ArrayLike) -> Floats:
    """The Brier loss ``(p − y)²`` of each row, shape ``(rows,)``.

    Raises:
        ValueError: no rows, different lengths, an outcome other than 0 and 1, or no probability.
    """
    outcomes, chances = checked(y, p)
    return (chances - outcomes) ** 2


def worse(
    new: npt.ArrayLike, reference: npt.ArrayLike, *, confidence: float = 0.99, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Are the losses ``new`` higher than the losses ``reference``? Rows of both are drawn anew, each on its own.

    Raises:
        ValueError: no rows on a side, or a loss that is not between 0 and 1.
    """
    after, before = _losses("new", new), _losses("reference", reference)
    interval = _interval([after, before], confidence, resamples, seed)
    return _comparison(interval, after.size, before.size)


def better(
    y: npt.ArrayLike,
    p_champion: npt.ArrayLike,
    p_challenger: npt.ArrayLike,
    *,
    confidence: float = 0.99,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Is the challenger's loss lower than the champion's, paired on the same rows? Above zero it is.

    Raises:
        ValueError: as ``losses``.
    """
    gains = losses(y, p_champion) - losses(y, p_challenger)
    return _comparison(_interval([gains], confidence, resamples, seed), gains.size, gains.size)


def _comparison(interval: tuple[float, float, float], n_new: int, n_reference: int) -> Comparison:
    says = interval[1] > 0 and min(n_new, n_reference) >= LEAST
    return Comparison(*interval, n_new, n_reference, says)


def _losses(side: str, values: npt.ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not found.size:
        raise ValueError(f"the {side} losses need at least one row, one number each; found shape {found.shape}")
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"the {side} losses must lie between 0 and 1, and none may be missing")
    return found


def _interval(sides: list[Floats], confidence: float, resamples: int, seed: int) -> tuple[float, float, float]:
    """Bootstrap-t of the mean of the first side, less that of the second where there is one."""
    difference, error = 0.0, 0.0
    shift, squared = np.zeros(resamples), np.zeros(resamples)
    for index, (side, sign) in enumerate(zip(sides, (1, -1), strict=False)):
        middle = float(side.mean())
        centred = side - middle
        drawn = bootstrap_means(np.column_stack([centred, centred**2]), resamples=resamples, seed=[seed, index])
        difference += sign * middle
        error += float(np.mean(centred**2)) / side.size
        shift += sign * drawn[:, 0]
        squared += np.maximum(drawn[:, 1] - drawn[:, 0] ** 2, 0) / side.size
    # A resample of equal values has no error of its own: its quotient is beyond all others, not a number missing.
    quotients = np.where(shift == 0, 0.0, np.copysign(np.inf, shift))
    np.divide(shift, np.sqrt(squared), out=quotients, where=squared > 1e-24)
    below, above = np.quantile(quotients, [1 - confidence, confidence], method="closest_observation")
    scale = math.sqrt(error)
    if scale < 1e-12:  # equal values: no resample differs either
        return difference, difference, difference
    low, high = difference - above * scale, difference - below * scale
    return difference, max(float(low), -1.0), min(float(high), 1.0)


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
