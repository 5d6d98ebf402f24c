"""What can be said before the outcomes are known: which features changed, and the error to expect. Pure.

Both inform and neither is a reason to retrain: most shifts of features do no harm, and the error to expect takes for
granted what a monitor is there to doubt, that clients of equal risk leave as often as before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2_contingency, ks_2samp

from attrition.drift.comparison import changes
from attrition.drift.logistic import expit, fit, logit
from attrition.metrics import LEAST, checked
from attrition.params import Portfolio

__all__ = ["expected_loss", "feature_evidence"]

Floats = npt.NDArray[np.float64]

DOUBT = 0.01
"""An adjusted p-value from which on a change may be chance."""
EXPECTED = 5.0
"""Rows to be expected of a level on each side, below which it is counted with the others (Cochran's rule)."""
DRAWS = 500
"""Resamples behind an interval."""
RIDGE = 1.0
"""Of the recalibration's intercept and slope, around 0 and 1."""


def feature_evidence(new: pd.DataFrame, reference: pd.DataFrame, portfolio: Portfolio) -> list[dict[str, Any]]:
    """For each feature, is its change between two sets of clients more than chance, and how large is it?

    The entries of ``changes`` with ``p``, ``p_adjusted`` (Holm's, for looking at all features at once) and
    ``beyond_chance``, the least likely to be chance first; the sentence says it too. Numbers are compared by
    Kolmogorov and Smirnov's test and their share missing by a chi-square test, the smaller p-value counting twice;
    categories and booleans by a chi-square test, missing being one more level. Of many rows the smallest change is
    beyond chance, so read the size; and with each tick that one looks again, chance has another go.

    Raises:
        ValueError: one of the sets is empty.
    """
    found = changes(new, reference, portfolio)
    raw = np.array([_p_value(new[one["feature"]], reference[one["feature"]], portfolio) for one in found])
    for entry, p, adjusted in zip(found, raw.tolist(), _holm(raw).tolist(), strict=True):
        beyond = adjusted < DOUBT
        said = f"p {_p(adjusted)}: {'beyond chance' if beyond else 'it may be chance'}"
        sentence = f"{entry['sentence']}; {said}"
        entry |= {"p": p, "p_adjusted": adjusted, "beyond_chance": beyond, "sentence": sentence}
    return sorted(found, key=lambda entry: (entry["p_adjusted"], -entry["size"]))


def expected_loss(
    p_new: npt.ArrayLike, p_reference: npt.ArrayLike, y_reference: npt.ArrayLike, seed: int = 0
) -> dict[str, Any]:
    """The champion's Brier loss to expect on clients whose outcome is not known, and the share of leavers.

    ``p_new`` are the champion's probabilities for them, ``p_reference`` those for clients whose outcomes
    ``y_reference`` are known and which did not train it; shape ``(rows,)`` each. ``value``, ``low`` and ``high``
    (95%) are of the loss that the outcomes will show once they are known, ``leavers`` the same of the share that
    leaves; all None where there is nothing to tell them by: no new clients, fewer than ``LEAST`` known ones, or one
    outcome. ``sentence`` says it for a person.

    The champion is recalibrated on the reference (intercept and slope, after Platt), and outcomes are drawn from that:
    the interval holds the doubt about the recalibration (each draw resamples the reference) and about who happens to
    leave (Białek et al., "Estimating Model Performance Under Covariate Shift Without Labels", 2024).

    It rests on one assumption, which these rows cannot test: **clients to whom the champion gives equal risk leave as
    often as before**. More clients at high risk are no trouble; a changed law, or clients of a kind that the champion
    is wrong about, are: on the generator's *prior* and *covariate_harmful* 0 of 30 intervals held, on *none* and
    *covariate_harmless* 59 of 60.

    Raises:
        ValueError: something that is no probability, an outcome other than 0 and 1, different lengths.
    """
    l_new, l_known = logit(p_new), logit(p_reference)
    y = np.asarray(y_reference, dtype=np.float64)
    if not l_new.size or y.size < LEAST or np.ptp(y) == 0:
        return _nothing(l_new.size)
    y, _ = checked(y, np.asarray(p_reference, dtype=np.float64))
    risks = np.asarray(p_new, dtype=np.float64)
    stays, leaves = risks**2, (1 - risks) ** 2  # the loss when a client does
    start = _recalibration(l_known, y, np.zeros(2), steps=50)
    chances = _chances(start, l_new)
    value, share = float(np.mean(stays + chances * (leaves - stays))), float(chances.mean())
    rng, drawn = np.random.default_rng(seed), np.empty((DRAWS, 2))
    for draw in drawn:
        rows = rng.integers(0, y.size, y.size)
        moved = _recalibration(l_known[rows], y[rows], start, steps=2)  # from so near, two are enough
        left = rng.random(l_new.size) < _chances(moved, l_new)
        draw[:] = np.where(left, leaves, stays).mean(), left.mean()
    (low, fewest), (high, most) = np.quantile(drawn, [0.025, 0.975], axis=0).tolist()
    sentence = (
        f"If clients of equal risk leave as often as before, the error on {l_new.size:,} clients without an outcome"
        f" will be about {value:.3f} ({low:.3f} to {high:.3f}), and {share:.0%} of them will leave"
        f" ({fewest:.0%} to {most:.0%})."
    )
    leavers = {"value": share, "low": fewest, "high": most}
    return {"n": l_new.size, "value": value, "low": low, "high": high, "leavers": leavers, "sentence": sentence}


def _nothing(n: int) -> dict[str, Any]:
    unknown = {"value": None, "low": None, "high": None}
    sentence = "No client is waiting for an outcome."
    if n:
        sentence = f"What to expect is unknown until the outcomes of {LEAST} clients are, with some of each."
    return {"n": n, **unknown, "leavers": dict(unknown), "sentence": sentence}


def _recalibration(logits: Floats, y: Floats, start: Floats, steps: int) -> Floats:
    """Intercept and slope less one, shape ``(2,)``, after so many Newton steps at most."""
    found, _ = fit(np.vstack([np.ones(y.size), logits]), y, logits, RIDGE, start, steps)
    return found


def _chances(recalibration: Floats, logits: Floats) -> Floats:
    return expit(recalibration[0] + (1 + recalibration[1]) * logits)


def _p_value(new: pd.Series[Any], reference: pd.Series[Any], portfolio: Portfolio) -> float:
    name = str(new.name)
    if portfolio.columns[name].type not in ("integer", "number"):
        return _levels(new, reference)
    missing = _levels(new.isna(), reference.isna())
    now, then = new.dropna().to_numpy(dtype=np.float64), reference.dropna().to_numpy(dtype=np.float64)
    if not (now.size and then.size):
        return missing
    values = float(ks_2samp(now, then, method="asymp").pvalue)
    return min(1.0, 2 * min(values, missing)) if new.hasnans or reference.hasnans else values


def _levels(new: pd.Series[Any], reference: pd.Series[Any]) -> float:
    """Chi-square of the levels' counts, the rare ones together; 1 where there is only one level."""
    codes, _ = pd.factorize(np.concatenate([new.astype(object), reference.astype(object)]))
    counts = [np.bincount(side + 1, minlength=codes.max() + 2) for side in np.split(codes, [len(new)])]  # 0: missing
    table = np.array(counts, dtype=np.float64)
    table = table[:, table.any(axis=0)]
    rare = table.sum(axis=0) * min(len(new), len(reference)) / codes.size < EXPECTED
    pooled = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)]) if rare.any() else table
    return float(chi2_contingency(pooled, correction=False).pvalue) if pooled.shape[1] > 1 else 1.0


def _holm(p: Floats) -> Floats:
    """p-values adjusted for being several (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
