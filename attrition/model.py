"""The classifier: build, fit, probabilities, and why a client is at risk. It knows no files.

A logistic regression on standardised numbers and one-hot categories, or the classifier that the portfolio names. The
logit of the former is a sum over features, so a client's reasons are exact: what each feature adds to the logit beyond
what it adds on average. Those of any other are what ``shapley`` makes of it, against the usual client.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from attrition import classifiers, shapley
from attrition import words as wording
from attrition.params import Portfolio
from attrition.words import odds, rounded

__all__ = [
    "BASE",
    "MISSING",
    "TooFew",
    "baseline",
    "build",
    "coefficients",
    "contributions",
    "encoded",
    "explained",
    "fit",
    "held_back",
    "held_back_hash",
    "learnt",
    "linear",
    "probabilities",
    "reasons",
    "split",
    "terms",
    "too_few",
    "too_few_of",
    "usual",
]

Floats = npt.NDArray[np.float64]
BASE = "_base"
"""Where a baseline keeps the average client's logit; no column's name may start with ``_``."""
TOLERANCE = 1e-7
"""Of the gradient when fitting; at scikit-learn's 1e-4 coefficients are still .03 from where they end."""
MISSING = "(missing)"
"""The level that stands for a category without a value."""
SHOWN = 500
"""Clients that tell which features matter to a model without coefficients."""


MOST_HELD_BACK = 100_000
"""Clients that a first model does without: they tell its error to ± .001, and more would tell no more."""


class TooFew(ValueError):
    """There are not enough labelled rows, or not enough of one outcome, to train on."""


def build(portfolio: Portfolio) -> Pipeline:
    """The untrained pipeline of a portfolio: steps ``columns`` and ``classifier``.

    A kind of feature that the portfolio lacks has no transformer. A numeric column without any value
    becomes constant, an unknown category becomes no category.
    """
    numeric = Pipeline(
        [("impute", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
    )
    constant = SimpleImputer(missing_values=None, strategy="constant", fill_value=MISSING, keep_empty_features=True)
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    categorical = Pipeline([("impute", constant), ("encode", encode)])
    kinds = [("numeric", numeric, portfolio.numeric), ("categorical", categorical, portfolio.categorical)]
    given = portfolio.model
    own = {"C": given.C, "tol": TOLERANCE, "max_iter": given.max_iter, "solver": "lbfgs"}
    params = (own if given.kind == classifiers.DEFAULT else {}) | given.params
    classifier = classifiers.build(given.kind, params, given.seed)
    columns = ColumnTransformer([kind for kind in kinds if kind[2]])
    return Pipeline([("columns", columns), ("classifier", classifier)])


def fit(portfolio: Portfolio, frame: pd.DataFrame, classifier: Any = None) -> Pipeline:
    """Train on the labelled rows of ``frame``: the features, and the target as 0, 1 or NaN (no outcome yet).

    ``classifier``: any of scikit-learn's kind with ``predict_proba``; None: the one that the portfolio names. One
    thread, so that the same rows give the same model to the last bit.

    Raises:
        UsageError: the portfolio's classifier cannot be made.
        TooFew: fewer labelled rows, or fewer of one outcome, than the portfolio asks for.
        ValueError: a feature's column is not there.
    """
    labelled = frame[frame[portfolio.target.column].notna()]
    if why := too_few(portfolio, labelled):
        raise TooFew(why)
    pipeline = build(portfolio)
    if classifier is not None:
        pipeline.set_params(classifier=classifier)
    with threadpool_limits(limits=1):
        pipeline.fit(_inputs(pipeline, labelled), labelled[portfolio.target.column].to_numpy(dtype=np.int64))
    return pipeline


def split(portfolio: Portfolio, labelled: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The rows to train a first model on, those held back to be its reference, and the mark that parts them.

    The share ``model.holdback`` is held back, at least one and at most ``MOST_HELD_BACK``: those whose ``_key`` has
    the smallest ``held_back_hash``, up to the mark. Chance decides, and neither time nor outcome: leavers are often
    known before those who stay.
    """
    hashes = held_back_hash(labelled["_key"])
    held = held_back(portfolio, len(labelled))
    mark = sorted(hashes)[held - 1] if len(labelled) else ""
    back = np.array([each <= mark for each in hashes], dtype=bool)
    return labelled[~back], labelled[back], mark


def held_back(portfolio: Portfolio, rows: int) -> int:
    """How many of so many rows are held back from a first model."""
    return min(MOST_HELD_BACK, max(1, math.floor(rows * portfolio.model.holdback)))


def held_back_hash(keys: Iterable[object]) -> list[str]:
    """The hash of each row's key that says whether a first model has not seen it."""
    return [hashlib.sha256(f"held back {key}".encode()).hexdigest() for key in keys]


def too_few(portfolio: Portfolio, labelled: pd.DataFrame) -> str | None:
    """Why these rows are too few to train on, in words; None when they are enough."""
    return too_few_of(portfolio, len(labelled), int(labelled[portfolio.target.column].sum()))


def too_few_of(portfolio: Portfolio, rows: int, left: int) -> str | None:
    """The same of so many rows, of which so many left."""
    given = portfolio.model
    if rows < given.least_rows:
        return f"{rows} clients with an outcome to train on, at least {given.least_rows} are needed (model.least_rows)"
    if min(left, rows - left) < given.least_each:
        return (
            f"{left} clients that left and {rows - left} that stayed to train on,"
            f" at least {given.least_each} of each are needed (model.least_each)"
        )
    return None


def probabilities(pipeline: Pipeline, frame: pd.DataFrame) -> Floats:
    """The probability that each client leaves, shape ``(rows,)``.

    Raises:
        ValueError: a feature's column is not there.
    """
    if frame.empty:
        return np.empty(0)
    found: Floats = pipeline.predict_proba(_inputs(pipeline, frame))[:, 1]
    return found


def encoded(pipeline: Pipeline, frame: pd.DataFrame) -> Floats:
    """The features as the classifier reads them: filled, scaled and one-hot, shape ``(rows, terms)``.

    Raises:
        ValueError: a feature's column is not there.
    """
    if frame.empty:
        return np.empty((0, len(_terms(pipeline))))
    return np.asarray(pipeline["columns"].transform(_inputs(pipeline, frame)), dtype=np.float64)


def terms(pipeline: Pipeline, portfolio: Portfolio) -> list[str]:
    """What a person calls each of the columns of ``encoded``."""
    return [portfolio.label(name) + (f" {level}" if level is not None else "") for name, level in _terms(pipeline)]


def coefficients(pipeline: Pipeline, portfolio: Portfolio) -> list[dict[str, Any]]:
    """What the model has learned, the strongest first.

    One entry a number, boolean or level of a category: ``feature``, ``level`` (None for a number or
    boolean), ``coefficient`` (logits; a standard deviation of a number or boolean), ``odds_ratio`` and
    ``words``. The coefficients of one category's levels sum to zero, as the penalty is on their squares
    and not on the intercept: a level is compared with the average level.
    """
    found = []
    scales = _scales(pipeline)
    for (name, level), weight in zip(_terms(pipeline), pipeline["classifier"].coef_[0], strict=True):
        logits = float(weight)
        if level is not None:
            words = f"{portfolio.label(name)} {level}: {odds(logits)} against the average level"
        elif portfolio.columns[name].type == "boolean":
            logits /= scales[name]
            words = f"{portfolio.label(name)} yes: {odds(logits)} against no"
        else:
            words = f"{portfolio.label(name)}: {odds(logits)} for each {rounded(scales[name])} more"
        ratio = math.exp(np.clip(logits, -700, 700))
        found.append(
            {"feature": name, "level": level, "coefficient": float(weight), "odds_ratio": ratio, "words": words}
        )
    return sorted(found, key=lambda entry: -abs(entry["coefficient"]))


def learnt(pipeline: Pipeline, portfolio: Portfolio, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """:func:`coefficients`, and for a model without: by how much each feature moves the logit, the strongest first.

    The latter are means of absolute ``contributions`` over the last of the rows, with ``level`` None.
    """
    if linear(pipeline):
        return coefficients(pipeline, portfolio)
    some = frame.tail(SHOWN)
    moved = np.abs(contributions(pipeline, portfolio, some, baseline(pipeline, frame), usual(portfolio, frame)))
    found = []
    for name, logits in zip(portfolio.features, moved.mean(axis=0).tolist(), strict=True):
        ratio = math.exp(min(logits, 700))
        words = f"{portfolio.label(name)}: moves the odds of leaving by × {ratio:.2f} on average"
        found.append({"feature": name, "level": None, "coefficient": logits, "odds_ratio": ratio, "words": words})
    return sorted(found, key=lambda entry: -entry["coefficient"])


def linear(pipeline: Pipeline) -> bool:
    """Whether the logit is a sum over the encoded features."""
    return isinstance(pipeline["classifier"], LogisticRegression) and len(pipeline["classifier"].coef_) == 1


def explained(pipeline: Pipeline, risks: Floats) -> Floats:
    """The risks as their reasons account for them: all of a linear model, of any other none that is all too certain."""
    return risks if linear(pipeline) else np.clip(risks, shapley.CERTAIN, 1 - shapley.CERTAIN)


def baseline(pipeline: Pipeline, frame: pd.DataFrame) -> dict[str, float]:
    """What each feature adds to the logit on average over ``frame``; under ``BASE`` the average logit itself.

    Of a model that is not linear: under ``BASE`` the logit of the usual client of ``frame``, and nothing else.

    Raises:
        ValueError: no rows, or a feature's column is not there.
    """
    if frame.empty:
        raise ValueError("no rows to take the average client from; give the rows that the model was trained on")
    if not linear(pipeline):
        reference = _reference(pipeline, _usual(_kinds(pipeline), frame))
        return {BASE: float(shapley.logits(_risks(pipeline, reference))[0])}
    names, raw = _raw(pipeline, frame)
    means = raw.mean(axis=0)
    averages = {name: float(mean) for name, mean in zip(names, means, strict=True)}
    return averages | {BASE: float(pipeline["classifier"].intercept_[0] + sum(averages.values()))}


def contributions(
    pipeline: Pipeline,
    portfolio: Portfolio,
    frame: pd.DataFrame,
    base: Mapping[str, float],
    usual: Mapping[str, float | str] | None = None,
) -> Floats:
    """What each feature adds to a client's logit beyond its average, in logits, shape ``(rows, features)``.

    The columns are ``portfolio.features``. ``base[BASE]`` plus a row's sum is the row's logit (of ``explained``).
    ``usual`` is the client that a model which is not linear compares with.

    Raises:
        ValueError: such a model, and no ``usual``.
    """
    if frame.empty:
        return np.empty((0, len(portfolio.features)))
    if not linear(pipeline):
        if usual is None:
            raise ValueError("this model is not linear: give the usual client, of the model's manifest")
        with threadpool_limits(limits=1):  # a request of a few rows at a time costs more in threads than it saves
            return _shares(pipeline, portfolio, frame, usual)
    names, raw = _raw(pipeline, frame)
    order = [names.index(name) for name in portfolio.features]
    beyond: Floats = raw[:, order] - np.array([base[name] for name in portfolio.features])
    return beyond


def _shares(pipeline: Pipeline, portfolio: Portfolio, frame: pd.DataFrame, usual: Mapping[str, float | str]) -> Floats:
    owners = [portfolio.features.index(name) for name, _ in _terms(pipeline)]
    reference = _reference(pipeline, usual)[0]
    rows = encoded(pipeline, frame)
    return shapley.shares(partial(_risks, pipeline), rows, reference, owners, len(portfolio.features))


def _risks(pipeline: Pipeline, rows: Floats) -> Floats:
    """The probabilities of encoded rows."""
    found: Floats = pipeline["classifier"].predict_proba(rows)[:, 1]
    return found


def _reference(pipeline: Pipeline, usual: Mapping[str, float | str]) -> Floats:
    """The usual client, encoded, shape ``(1, terms)``."""
    return encoded(pipeline, pd.DataFrame({name: [usual.get(name)] for name in _kinds(pipeline)}, dtype=object))


def usual(portfolio: Portfolio, frame: pd.DataFrame) -> dict[str, float | str]:
    """The usual value of each feature: a number's or boolean's mean, a category's most frequent level.

    The mean and not the median, as a client there is what reasons compare with: its odds are × 1. A feature
    without any value has none.
    """
    return _usual(dict.fromkeys(portfolio.numeric, "numeric") | dict.fromkeys(portfolio.categorical, ""), frame)


def _usual(kinds: Mapping[str, str], frame: pd.DataFrame) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for name, kind in kinds.items():
        values = frame[name].dropna()
        if len(values):
            found[name] = float(values.astype("float64").mean()) if kind == "numeric" else str(values.mode().iloc[0])
    return found


def reasons(
    portfolio: Portfolio,
    frame: pd.DataFrame,
    contributions: Floats,
    usual: Mapping[str, float | str],
    top: int = 3,
) -> list[list[str]]:
    """:func:`attrition.words.reasons` of the rows of ``frame``, whose ``contributions`` are given."""
    shown = frame[portfolio.features].astype(object)
    columns = {name: shown[name].where(shown[name].notna(), None).tolist() for name in portfolio.features}
    return wording.reasons(portfolio, columns, contributions, usual, top)


def _inputs(pipeline: Pipeline, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that a pipeline reads, numbers as float64 with NaN, categories as object with None."""
    kinds = _kinds(pipeline)
    lacking = [name for name in kinds if name not in frame]
    if lacking:
        raise ValueError(f"the rows lack {', '.join(lacking)}, which the model reads; add the column, empty if unknown")
    return pd.DataFrame(
        {
            name: frame[name].astype("float64")
            if kind == "numeric"
            else frame[name].astype(object).where(frame[name].notna(), None)
            for name, kind in kinds.items()
        }
    )


def _kinds(pipeline: Pipeline) -> dict[str, str]:
    """Each feature that a pipeline reads, and the kind of transformer that reads it."""
    return {name: kind for kind, _, names in pipeline["columns"].transformers for name in names}


def _terms(pipeline: Pipeline) -> list[tuple[str, str | None]]:
    """Feature, and level of a category, for each coefficient in order."""
    terms: list[tuple[str, str | None]] = []
    for kind, fitted, names in pipeline["columns"].transformers_:
        if kind == "numeric":
            terms += [(name, None) for name in names]
        elif kind == "categorical":
            levels = fitted["encode"].categories_
            terms += [(name, str(level)) for name, own in zip(names, levels, strict=True) for level in own]
    return terms


def _scales(pipeline: Pipeline) -> dict[str, float]:
    """Standard deviation of each number and boolean in the training rows (1 where constant)."""
    fitted = {kind: (step, names) for kind, step, names in pipeline["columns"].transformers_}
    if "numeric" not in fitted:
        return {}
    step, names = fitted["numeric"]
    return dict(zip(names, step["scale"].scale_.tolist(), strict=True))


def _raw(pipeline: Pipeline, frame: pd.DataFrame) -> tuple[list[str], Floats]:
    """Features in the pipeline's order, and what each adds to the logit, shape ``(rows, features)``."""
    owners = [name for name, _ in _terms(pipeline)]
    names = list(dict.fromkeys(owners))
    spread = np.zeros((len(owners), len(names)))
    spread[np.arange(len(owners)), [names.index(owner) for owner in owners]] = pipeline["classifier"].coef_[0]
    return names, np.asarray(pipeline["columns"].transform(_inputs(pipeline, frame))) @ spread
