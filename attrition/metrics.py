"""How good a set of probabilities is, with intervals. Pure: outcomes and probabilities in, numbers out.

Intervals are bootstrap percentiles, taken at levels widened as Student's t is wider than the normal (Hesterberg,
"What Teachers Should Know About the Bootstrap", 2015): a plain percentile interval is too narrow on few rows.
With five rows they span most of what is possible, which is what five rows say. Where every resample gives the
same value, the rows show no spread at all; the interval then allows for the share of other rows that may have
gone unseen (Clopper and Pearson's bound for none among n).

A resample is a vector of weights. Above ``EXACT`` rows, neighbouring rows (same outcome, close values) are pooled
into ``CELLS`` cells that are drawn as one with their means, which keeps time and memory bounded; the interval
moves by far less than its own width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit, ndtr, ndtri, stdtrit

__all__ = [
    "CELLS",
    "EXACT",
    "LEAST",
    "bootstrap_means",
    "calibration",
    "calibration_error",
    "checked",
    "gain_curve",
    "score",
    "wilson",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST = 20
"""Rows on each side of a comparison below which nothing is claimed."""
EXACT = 10_000
"""Rows up to which each row is drawn by itself."""
CELLS = 2_000
"""Cells that more rows are pooled into."""
CHUNK = 1 << 21
"""Weights in memory at a time."""
CLIP = 1e-15
"""Probabilities are this far from 0 and 1 in the log loss."""
LOGIT_CLIP = 1e-6
"""The same before log-odds are taken."""
COX_RIDGE = 0.01
"""So that the slope of a few rows that are told apart without error is finite."""
CEILINGS = {"brier": 1.0, "log_loss": float(-np.log(1 - (1 - CLIP))), "auc": 1.0, "f1": 1.0}
"""The measures with an interval, and the most that each can be."""


def checked(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Outcomes and probabilities as float64 of shape ``(rows,)``.

    Raises:
        ValueError: no rows, different lengths, an outcome other than 0 and 1, or no probability.
    """
    outcomes, chances = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if outcomes.ndim != 1 or outcomes.shape != chances.shape:
        raise ValueError(f"outcomes {outcomes.shape} and probabilities {chances.shape} must be one each a row")
    if not outcomes.size:
        raise ValueError("no rows to judge; leave the score out until there is an outcome")
    if not np.isin(outcomes, (0.0, 1.0)).all():
        raise ValueError("outcomes must be 0 or 1; drop the rows without an outcome first")
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1, and none may be missing")
    return outcomes, chances


def score(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    threshold: float = 0.5,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How good the probabilities ``p`` were for the outcomes ``y``, both of shape ``(rows,)``.

    ``n``, ``positives``, ``accuracy``, ``precision``, ``recall`` and ``confusion`` (``[[tn, fp], [fn, tp]]``) are
    plain; ``brier``, ``log_loss``, ``auc`` and ``f1`` are ``{"value", "low", "high"}``. With one outcome only,
    the three of AUC are None; it also says how many resamples were ``skipped`` for that. Precision, recall and
    F1 are 0 where they have nothing to divide by.

    Raises:
        ValueError: as ``checked``.
    """
    y, p = checked(y, p)
    called = (p >= threshold).astype(np.float64)
    clipped = np.clip(p, CLIP, 1 - CLIP)
    losses = np.column_stack([(p - y) ** 2, -np.log(np.where(y == 1, clipped, 1 - clipped))])
    tp, fp, fn = (int(cell.sum()) for cell in (y * called, (1 - y) * called, y * (1 - called)))
    values = np.array([*losses.mean(axis=0), _auc(np.ones((1, y.size)), y, p)[0], _ratio(2 * tp, 2 * tp + fp + fn)])
    drawn = _resampled(y, p, called, losses, resamples, seed)
    found = {
        name: _interval(float(value), draws, y.size, confidence, (0.0, ceiling))
        for (name, ceiling), value, draws in zip(CEILINGS.items(), values, drawn.T, strict=True)
    }
    found["auc"]["skipped"] = int(np.isnan(drawn[:, 2]).sum())
    return {
        "n": int(y.size),
        "positives": int(y.sum()),
        **found,
        "accuracy": 1 - (fp + fn) / y.size,
        "precision": float(_ratio(tp, tp + fp)),
        "recall": float(_ratio(tp, tp + fn)),
        "confusion": [[y.size - tp - fp - fn, fp], [fn, tp]],
    }


def bootstrap_means(values: Floats, *, resamples: int, seed: int | list[int]) -> Floats:
    """Column means of ``values`` (rows, columns) in each resample of its rows, shape ``(resamples, columns)``."""
    sizes, cells = _pooled(values, np.argsort(values[:, 0], kind="stable"))
    rng = np.random.default_rng(seed)
    sums: Floats = np.concatenate([weights @ cells for weights in _weights(sizes, resamples, rng)])
    return sums / len(values)


def calibration(y: npt.ArrayLike, p: npt.ArrayLike, bins: int = 10) -> list[dict[str, Any]]:
    """Predicted and observed share of leavers in equal intervals of probability; empty ones are left out.

    Each is ``{"from", "to", "n", "predicted", "observed", "low", "high"}``, the last two of the observed share.

    Raises:
        ValueError: as ``checked``.
    """
    y, p = checked(y, p)
    places = np.minimum((p * bins).astype(np.int64), bins - 1)
    found = []
    for place in np.unique(places).tolist():
        left, predicted = y[places == place], p[places == place]
        low, high = wilson(int(left.sum()), left.size)
        found.append(
            {
                "from": place / bins,
                "to": (place + 1) / bins,
                "n": left.size,
                "predicted": float(predicted.mean()),
                "observed": float(left.mean()),
                "low": low,
                "high": high,
            }
        )
    return found


def wilson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share of which ``count`` of ``n`` rows (at least one) were seen (Wilson, 1927)."""
    z = float(ndtri((1 + confidence) / 2))
    middle, spread = count + z**2 / 2, z * math.sqrt(count * (n - count) / n + z**2 / 4)
    return max(0.0, (middle - spread) / (n + z**2)), min(1.0, (middle + spread) / (n + z**2))


def calibration_error(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    bins: int = 10,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How far predicted shares of leavers are from the observed ones.

    ``value`` is the expected calibration error: the mean over rows of |observed − predicted| in bins of equally
    many rows, none of which parts equal probabilities. ``low`` and ``high`` are for the error in these bins that no
    end of rows would show. Chance alone makes the error of few rows large, and a resample's larger still, so that
    its percentiles miss a small error always: ``low`` is the error less what the resampled gaps stray from those
    found (triangle inequality), and only ``high`` a percentile, too high if anything. ``chance`` is the error that
    perfect probabilities would show, on average, on as many rows.

    ``large`` is the calibration in the large: the observed share less the predicted one, with its interval.
    ``slope`` and ``intercept`` are of the regression of outcomes on the predicted log-odds (1 and 0 when
    calibrated; a slope below 1 means risks too extreme; Cox, 1958); None with one outcome or one probability only.

    Raises:
        ValueError: as ``checked``.
    """
    y, p = checked(y, p)
    gaps, places = y - p, _equal_bins(p, bins)
    apart = np.where(places[:, None] == np.arange(bins), gaps[:, None], 0.0)
    drawn = bootstrap_means(np.column_stack([gaps, apart]), resamples=resamples, seed=seed)
    found, tail = apart.mean(axis=0), (1 - confidence) / 2
    value = float(np.abs(found).sum())
    strayed = float(np.quantile(np.abs(drawn[:, 1:] - found).sum(axis=1), 1 - tail))
    high = float(np.quantile(np.abs(drawn[:, 1:]).sum(axis=1), 1 - tail))
    spreads = np.sqrt(np.bincount(places, weights=p * (1 - p), minlength=bins))
    intercept, slope = _cox(y, p)
    return {
        "value": value,
        "low": max(0.0, value - strayed),
        "high": min(1.0, max(value, high)),
        "chance": float(spreads.sum() * math.sqrt(2 / math.pi) / y.size),
        "large": _interval(float(gaps.mean()), drawn[:, 0], y.size, confidence, (-1.0, 1.0)),
        "slope": slope,
        "intercept": intercept,
    }


def gain_curve(y: npt.ArrayLike, p: npt.ArrayLike, points: int = 20) -> list[dict[str, float]]:
    """Share of all leavers ``found`` when the ``share`` of clients with the highest risk is called.

    From 0 to 1 in ``points`` steps; clients of equal risk count as called in random order. Empty when
    nobody left.

    Raises:
        ValueError: as ``checked``.
    """
    y, p = checked(y, p)
    if not y.any():
        return []
    _, inverse, sizes = np.unique(-p, return_inverse=True, return_counts=True)
    called = np.concatenate([[0.0], np.cumsum(sizes)]) / y.size
    found = np.concatenate([[0.0], np.cumsum(np.bincount(inverse, weights=y))]) / y.sum()
    shares = np.linspace(0, 1, points + 1)
    reached = np.interp(shares, called, found)
    return [{"share": float(share), "found": float(part)} for share, part in zip(shares, reached, strict=True)]


def _equal_bins(p: Floats, bins: int) -> Ints:
    """The bin of each row, by the middle of its rank: equal probabilities share one."""
    _, inverse, sizes = np.unique(p, return_inverse=True, return_counts=True)
    middles = np.cumsum(sizes) - sizes / 2
    places: Ints = (middles * bins / p.size).astype(np.int64)[inverse]
    return places


def _cox(y: Floats, p: Floats) -> tuple[float | None, float | None]:
    """Intercept and slope of the outcomes' log-odds on the predicted ones; a faint ridge around 0 and 1."""
    if np.ptp(y) == 0 or np.ptp(p) == 0:
        return None, None
    design = np.vstack([np.ones(p.size), logit(np.clip(p, LOGIT_CLIP, 1 - LOGIT_CLIP))])

    def loss(found: Floats) -> tuple[float, Floats]:
        z, moved = found @ design, found - (0.0, 1.0)
        total = -log_expit(np.where(y == 1, z, -z)).sum() + COX_RIDGE / 2 * (moved @ moved)
        return total / y.size, (design @ (expit(z) - y) + COX_RIDGE * moved) / y.size

    intercept, slope = minimize(loss, np.array([0.0, 1.0]), jac=True, method="BFGS").x
    return float(intercept), float(slope)


def _interval(value: float, drawn: Floats, n: int, confidence: float, limits: tuple[float, float]) -> dict[str, Any]:
    """The bootstrap interval around ``value``, within ``limits``; undefined draws are left out."""
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    known, tail = drawn[~np.isnan(drawn)], (1 - confidence) / 2
    if known.size < 2 or np.ptp(known) < 1e-12:
        unseen = 1 - tail ** (1 / n)
        low, high = (value + unseen * (limit - value) for limit in limits)
    else:
        widened = float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, tail)))
        low, high = np.quantile(known, [widened, 1 - widened])
    return {"value": value, "low": float(low), "high": float(high)}


def _resampled(y: Floats, p: Floats, called: Floats, losses: Floats, resamples: int, seed: int) -> Floats:
    """Brier, log loss, AUC (NaN with one outcome) and F1 of each resample, shape ``(resamples, 4)``."""
    rows = np.column_stack([losses, y * called, y + called, y, p])
    sizes, cells = _pooled(rows, np.lexsort((p, y)), apart=int(np.sum(y == 0)))
    drawn = []
    for weights in _weights(sizes, resamples, np.random.default_rng(seed)):
        sums = weights @ cells[:, :4]
        auc = _auc(weights, cells[:, 4], cells[:, 5])
        drawn.append(np.column_stack([sums[:, :2] / y.size, auc, _ratio(2 * sums[:, 2], sums[:, 3])]))
    return np.concatenate(drawn)


def _pooled(rows: Floats, order: npt.NDArray[np.intp], apart: int = 0) -> tuple[Ints, Floats]:
    """Sizes and column means of cells: each row by itself, or about ``CELLS`` runs of neighbours in ``order``.

    No cell holds rows from both sides of position ``apart``.
    """
    n = len(rows)
    if n <= EXACT:
        return np.ones(n, dtype=np.int64), rows
    starts = np.union1d(np.arange(CELLS) * n // CELLS, [apart % n])
    sizes = np.diff(starts, append=n)
    return sizes, np.add.reduceat(rows[order], starts, axis=0) / sizes[:, None]


def _weights(sizes: Ints, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each cell is drawn, in pieces of shape ``(some resamples, cells)``."""
    n, cells = int(sizes.sum()), len(sizes)
    step = max(1, CHUNK // cells)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        if n == cells:
            drawn = rng.integers(0, n, size=(count, n)) + np.arange(count)[:, None] * n
            yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)
        else:
            yield rng.multinomial(n, sizes / n, size=count).astype(np.float64)


def _auc(weights: Floats, y: Floats, p: Floats) -> Floats:
    """Area under the ROC curve of each row of ``weights``; ties count half, one outcome gives NaN."""
    order = np.argsort(p, kind="stable")
    starts = np.flatnonzero(np.diff(p[order], prepend=-1.0))
    ordered = weights[:, order]
    left = np.add.reduceat(ordered * y[order], starts, axis=1)
    stayed = np.add.reduceat(ordered * (1 - y[order]), starts, axis=1)
    below = np.cumsum(stayed, axis=1) - stayed / 2
    pairs = left.sum(axis=1) * stayed.sum(axis=1)
    area: Floats = np.divide((left * below).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return area


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """``part / whole``, and 0 where there is nothing to divide by."""
    top, bottom = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio: Floats = np.divide(top, bottom, out=np.zeros_like(bottom), where=bottom > 0)
    return ratio
