"""What a challenger is trained on: several ways are tried, and progressive validation picks one. It knows no files.

After a change a model on all clients ever still believes the old ones, and one on the few since the change has
learnt little; in between lies the old model, mended on what is new. Which is best depends on the change, so each
way is fitted on what came before a block of new rows and scored on the block, block after block ("prequential";
Dawid, "Statistical theory: the prequential approach", 1984). The rows that will judge the challenger take no part.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits

from attrition import model
from attrition.drift import logistic
from attrition.metrics import checked
from attrition.params import Portfolio

__all__ = ["ENOUGH", "Candidate", "half_life", "tried", "words"]

Floats = npt.NDArray[np.float64]

ENOUGH = 60
"""Rows, with both outcomes among them, that a choice can be made on, or an old model mended."""
BLOCKS = 4
"""The new rows are cut into so many; the first is learnt from only."""
RECALIBRATION_RIDGE = 1.0
"""Of the new intercept and slope."""
OFFSET_RIDGE = 10.0
"""Of the corrections. Of 1, 3, 10, 20 and 40 the best after 100 to 400 rows of the generator's streams."""
STEPS = 100
"""Newton steps at most; most fits take about five."""


@dataclass(frozen=True)
class Candidate:
    """A model that could become the challenger, and how its way of training did.

    ``words`` say for a person what it is; ``rows`` are those that ``pipeline`` was fitted on. ``loss`` is the mean
    Brier loss of models trained in this way on ``scored`` later rows each, None (and 0) where it was not validated.
    """

    name: str
    words: str
    rows: int
    loss: float | None
    scored: int
    pipeline: Pipeline

    @property
    def mends(self) -> bool:
        """Whether it is the old model with something set anew, so that it rests on that model's rows as well."""
        return self.name in ("recalibrated", "offset")


def words(name: str, *, rows: int, new: int, since: int) -> str:
    """A way for a person: there are ``rows`` clients, ``new`` to the champion, ``since`` the change."""
    everybody = f"a new model on all {rows:,} clients"
    return {
        "recalibrated": f"the old model with intercept and slope set anew on {new:,} clients",
        "offset": f"the old model with every coefficient corrected on {new:,} clients",
        "recent": f"a new model on the {since:,} clients since the change",
        "weighted": f"{everybody}, each counting half as much as one {new:,} clients later",
        "all": f"{everybody} alike",
    }[name]


def half_life(new: int) -> int:
    """By how many clients later one counts twice as much, when ``new`` came since the champion was trained."""
    return max(new, ENOUGH)


@dataclass(frozen=True)
class _Way:
    """One way of training: ``fit`` makes a pipeline of the rows up to some moment, or raises ``TooFew``."""

    name: str
    words: str
    rows: int
    fit: Callable[[pd.DataFrame], Pipeline]


def tried(
    portfolio: Portfolio,
    train: pd.DataFrame,
    champion: Pipeline | None = None,
    trained_version: int = 0,
    since_version: int = 0,
) -> list[Candidate]:
    """The candidates, the one to take first, the others by their loss; each fitted on all rows that it may use.

    ``train`` are rows with the portfolio's columns and ``_counted``, the data version in which each became known, in
    its order and within one version in one that does not know the outcomes; those without an outcome are left out.
    ``champion`` was trained on rows up to ``trained_version``; a change is thought to have set in with
    ``since_version`` (0: unknown). From the simplest: *recalibrated*, the champion with a new intercept and slope;
    *offset*, with every coefficient corrected besides; *recent*, a new model on the rows since the change;
    *weighted*, on all rows, the older the less; *all*. The first two are for a champion that is a logistic
    regression, and learn from rows that it has not seen; without ``ENOUGH`` of those there is *all* only.

    The choice is the simplest whose loss exceeds the lowest by no more than the standard error of their paired
    difference. One thread, so that the same rows give the same candidates to the last bit.

    Raises:
        TooFew: no candidate can be trained.
    """
    labelled = train[train[portfolio.target.column].notna()].reset_index(drop=True)
    change = max(0, since_version - 1)
    unseen = trained_version if champion is not None else 0
    if not _enough(portfolio, _after(labelled, max(unseen, change))):
        change = 0  # with so few rows since, it is as if it were unknown
    start = max(unseen, change)
    fresh = _after(labelled, start)
    if start and _enough(portfolio, fresh):
        ways, judged = _ways(portfolio, labelled, champion, start, change), fresh
    else:  # nothing to mend an old model on
        ways, judged = _ways(portfolio, labelled, None, 0, 0), labelled.tail(math.ceil(len(labelled) / 4))
    with threadpool_limits(limits=1):
        losses = {way.name: _progressive(portfolio, labelled, judged, way) for way in ways}
        found = [one for way in ways if (one := _candidate(way, labelled, losses[way.name]))]
    if not found:
        raise model.TooFew(model.too_few(portfolio, labelled) or "no rows to train on")
    return _ranked(found, losses)


def _candidate(way: _Way, labelled: pd.DataFrame, losses: Floats | None) -> Candidate | None:
    """The way with all rows that it may use; None when they are too few."""
    try:
        pipeline = way.fit(labelled)
    except model.TooFew:
        return None
    mean, scored = (None, 0) if losses is None else (float(losses.mean()), losses.size)
    return Candidate(way.name, way.words, way.rows, mean, scored, pipeline)


def _ranked(found: list[Candidate], losses: dict[str, Floats | None]) -> list[Candidate]:
    """The choice first, the others by loss, those without one last; ``found`` is in order of simplicity."""
    ordered = sorted(found, key=lambda one: math.inf if one.loss is None else one.loss)
    lowest = losses[ordered[0].name]
    if lowest is None:
        return ordered
    for one in found:
        loss = losses[one.name]
        if loss is not None:
            excess = loss - lowest
            if excess.mean() <= excess.std() / math.sqrt(excess.size):
                return [one, *(other for other in ordered if other is not one)]
    raise AssertionError("unreachable: the lowest loss does not exceed itself")


def _progressive(portfolio: Portfolio, labelled: pd.DataFrame, judged: pd.DataFrame, way: _Way) -> Floats | None:
    """The losses on all blocks of ``judged`` but the first, each by a model of all rows before the block.

    None where a block is empty, or one model could not be trained: candidates are compared on the same rows.
    """
    cuts = np.linspace(0, len(judged), BLOCKS + 1).astype(int)
    if (np.diff(cuts) == 0).any():
        return None
    losses = []
    for begin, end in pairwise(cuts[1:]):
        block = judged.iloc[begin:end]
        try:
            pipeline = way.fit(labelled.iloc[: block.index[0]])
        except model.TooFew:
            return None
        y, p = checked(block[portfolio.target.column], model.probabilities(pipeline, block))
        losses.append((p - y) ** 2)
    return np.concatenate(losses)


def _enough(portfolio: Portfolio, rows: pd.DataFrame) -> bool:
    left = int(rows[portfolio.target.column].sum())
    return len(rows) >= ENOUGH and min(left, len(rows) - left) >= portfolio.model.least_each


def _after(rows: pd.DataFrame, version: int) -> pd.DataFrame:
    return rows[rows["_counted"] > version]


def _ways(
    portfolio: Portfolio, labelled: pd.DataFrame, champion: Pipeline | None, start: int, change: int
) -> list[_Way]:
    """The ways of training that these rows allow, the simplest first.

    Rows after version ``start`` are new: the champion has not seen them, and they came after ``change`` (the last
    version before it; 0: unknown). A way is given the rows up to some moment, and takes its own of them.
    """
    rows, new, since = len(labelled), len(_after(labelled, start)), len(_after(labelled, change))
    target, ways = portfolio.target.column, []

    def way(name: str, own: int, fit: Callable[[pd.DataFrame], Pipeline]) -> None:
        ways.append(_Way(name, words(name, rows=rows, new=new, since=since), own, fit))

    if champion is not None and _linear(champion, labelled):
        old = champion
        way("recalibrated", new, lambda known: _recalibrated(old, _after(known, start), target))
        way("offset", new, lambda known: _offset(old, _after(known, start), target))
    if change:
        way("recent", since, lambda known: model.fit(portfolio, _after(known, change)))
    if (champion is not None or change) and _weighs(portfolio):
        way("weighted", rows, lambda known: _weighted(portfolio, known, len(_after(known, start))))
    way("all", rows, lambda known: model.fit(portfolio, known))
    return ways


def _weighs(portfolio: Portfolio) -> bool:
    """Whether the portfolio's classifier can let some rows count for less than others."""
    return bool(has_fit_parameter(model.build(portfolio)["classifier"], "sample_weight"))


def _linear(champion: Pipeline, rows: pd.DataFrame) -> bool:
    """Whether its logit is a sum over encoded features, which alone can be mended, and these rows have them."""
    last = champion[-1]
    known = isinstance(last, LogisticRegression) and len(last.coef_) == 1
    return known and set(champion.feature_names_in_) <= set(rows)


def _encoded(champion: Pipeline, rows: pd.DataFrame) -> Floats:
    """What the champion's coefficients multiply, shape ``(features, rows)``."""
    if rows.empty:
        raise model.TooFew("no clients that the old model has not seen")
    encoded = champion[:-1].transform(rows[list(champion.feature_names_in_)])
    dense = encoded.toarray() if issparse(encoded) else np.asarray(encoded)
    return np.ascontiguousarray(dense.T, dtype=np.float64)


def _recalibrated(champion: Pipeline, rows: pd.DataFrame, target: str) -> Pipeline:
    """The champion with log-odds a + b·(its own), by a ridge fit around a = 0, b = 1."""
    last, encoded = champion[-1], _encoded(champion, rows)
    logits = last.coef_[0] @ encoded + last.intercept_[0]
    a, slope = _correction(logits[None, :], logits, rows[target], RECALIBRATION_RIDGE)
    return _mended(champion, a + (1 + slope) * last.intercept_[0], (1 + slope) * last.coef_[0])


def _offset(champion: Pipeline, rows: pd.DataFrame, target: str) -> Pipeline:
    """The recalibrated champion with a ridge correction of the intercept and each coefficient."""
    nearer = _recalibrated(champion, rows, target)
    last, encoded = nearer[-1], _encoded(champion, rows)
    moved = _correction(encoded, last.coef_[0] @ encoded + last.intercept_[0], rows[target], OFFSET_RIDGE)
    return _mended(champion, last.intercept_[0] + moved[0], last.coef_[0] + moved[1:])


def _correction(design: Floats, logits: Floats, y: pd.Series[float], ridge: float) -> Floats:
    """What a ridge fit adds to ``logits``: the intercept first, then one coefficient a row of ``design``."""
    full = np.vstack([np.ones(len(y)), design])
    outcomes = np.asarray(y, dtype=np.float64)
    found, _ = logistic.fit(full, outcomes, logits, ridge, np.zeros(len(full)), STEPS)
    return found


def _mended(champion: Pipeline, intercept: float, coefficients: Floats) -> Pipeline:
    """A copy of the champion with these in place of its own: it serves and explains itself like any other."""
    pipeline = copy.deepcopy(champion)
    pipeline[-1].intercept_ = np.array([intercept])
    pipeline[-1].coef_ = coefficients[None, :].copy()
    return pipeline


def _weighted(portfolio: Portfolio, rows: pd.DataFrame, new: int) -> Pipeline:
    """The portfolio's model on all rows, each weighing half as much as one that came ``half_life`` rows later."""
    if why := model.too_few(portfolio, rows):
        raise model.TooFew(why)
    ages = np.arange(len(rows))[::-1]
    pipeline = model.build(portfolio)
    pipeline.fit(
        rows[[*portfolio.numeric, *portfolio.categorical]],
        rows[portfolio.target.column].to_numpy(dtype=np.int64),
        classifier__sample_weight=0.5 ** (ages / half_life(new)),
    )
    return pipeline
