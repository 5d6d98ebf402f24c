# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""The portfolio's pipeline from sums: how gaps are filled, numbers scaled and categories encoded, and the coefficients.

What scikit-learn would have set when fitting is set in one place, `fitted`.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from attrition import classifiers, model, scratch
from attrition.moments import Measures, measures
from attrition.params import Portfolio
from attrition.scale.newton import minimise
from attrition.scale.sums import Encoding, Number, total
from attrition.scale.table import Query, Table, WideTable, rows_of
from attrition.store.engine import literal, quoted

__all__ = ["FIRST", "MOST_CELLS", "MOST_TERMS", "by_sums", "coefficients", "fit", "fitted"]

Floats = npt.NDArray[np.float64]

MOST_CELLS = 4_096
"""Combinations of categories that sums are grouped by; more, and NumPy computes them."""
MOST_TERMS = 3_000
"""Coefficients that a Newton step is solved for."""
FIRST = 500_000
"""Rows, drawn by chance, that the search begins on."""
NEAR = 1e-3
"""How near it comes there."""


def by_sums(portfolio: Portfolio) -> bool:
    """Whether sums give what the portfolio's classifier would learn: the usual one, without parameters of its own."""
    return portfolio.model.kind == classifiers.DEFAULT and not portfolio.model.params


def fit(table: Table) -> Pipeline:
    """The portfolio's model on all rows of ``table``, as `attrition.model.fit` would give it if it could load them.

    Coefficients agree with scikit-learn's to 1e-6; their last digits may differ from run to run, as threads add in
    any order.

    Raises:
        TooFew: fewer rows, or fewer of one outcome, than the portfolio asks for.
        WideTable: more than ``MOST_TERMS`` coefficients.
        EngineError: the cluster cannot be used.
    """
    given = table.portfolio
    rows, encoding = _encoding(table)
    if encoding.terms + len(given.numeric) > MOST_TERMS:
        raise WideTable(_too_wide(table, encoding.terms + len(given.numeric)))
    with tempfile.TemporaryDirectory(prefix=scratch.prefix("sample")) as folder:
        few = table.sample(100.0 * FIRST / rows, Path(folder, "rows.parquet")) if rows > 4 * FIRST else table
        ask = table.answers
        sample = ask if few is table else few.answers
        numbers = measures(ask, sample, [table.number(name) for name in given.numeric], rows)
        scaled = tuple(_number(name, found) for name, found in zip(given.numeric, numbers, strict=True))
        encoding = replace(encoding, numbers=scaled)
        beta, steps = coefficients(table, few, encoding)
    variances = [found.filled(number.fill)[1] for found, number in zip(numbers, scaled, strict=True)]
    return fitted(table, encoding, np.array(variances), rows, beta, steps)


def _too_wide(table: Table, terms: int) -> str:
    return (
        f"{terms:,} or more coefficients, at most {MOST_TERMS:,} are fitted on so many rows: "
        f"give {', '.join(table.portfolio.categorical)} fewer values, or show such a column instead (show)"
    )


def _encoding(table: Table) -> tuple[int, Encoding]:
    """How many rows there are, and how their categories are encoded; numbers come later."""
    given, target = table.portfolio, quoted(table.portfolio.target.column)
    names = given.categorical
    levels = [f"coalesce({quoted(name)}, {literal(model.MISSING)})" for name in names]
    keys = ", ".join(f"{level} AS k{at}" for at, level in enumerate(levels))
    groups = f"GROUP BY ALL LIMIT {MOST_CELLS + 1}" if names else ""
    sums = f"count(*) AS n, coalesce(sum({target}), 0) AS gone"
    cells = _grouped(table, f"SELECT {keys}{', ' if names else ''}{sums} FROM {{rows}} {groups}")
    if names:  # of all parts
        cells = cells.groupby([f"k{at}" for at in range(len(names))], as_index=False).sum()
    if len(cells) > MOST_CELLS:
        counts = _grouped(table, f"SELECT {sums} FROM {{rows}}")
        found = [_levels(table, level) for level in levels]
        combinations: tuple[tuple[int, ...], ...] = ()
    else:
        counts = cells
        found = [sorted(cells[f"k{at}"].unique()) for at in range(len(names))]
        codes = [{level: code for code, level in enumerate(own)} for own in found]
        columns = [cells[f"k{at}"].map(codes[at]).tolist() for at in range(len(names))]
        combinations = tuple(zip(*columns, strict=True)) if names else ((),)
    rows, gone = int(counts["n"].sum()), int(counts["gone"].sum())
    if why := model.too_few_of(given, rows, gone):
        raise model.TooFew(why)
    return rows, Encoding(
        given.target.column, (), tuple(names), tuple(map(tuple, found)), combinations, weight=table.weight
    )


def _levels(table: Table, level: str) -> list[str]:
    found = _grouped(table, f"SELECT DISTINCT {level} AS k FROM {{rows}} LIMIT {MOST_TERMS + 1}")
    levels = sorted(found["k"].unique())
    if len(levels) > MOST_TERMS:
        raise WideTable(_too_wide(table, len(levels)))
    return levels


def _grouped(table: Table, sql: str) -> pd.DataFrame:
    """The groups of all parts, one below the other."""
    groups: list[pd.DataFrame] = table.each(rows_of, lambda part: Query(part, sql))
    return pd.concat(groups, ignore_index=True)


def _number(name: str, found: Measures) -> Number:
    """A numeric feature filled with its median and standardised; without any value it is 0 throughout."""
    fill = found.median if found.known else 0.0
    mean, variance = found.filled(fill)
    return Number(name, fill, mean, _scale(mean, variance, found.rows))


def _scale(mean: float, variance: float, rows: int) -> float:
    """The standard deviation; 1 of a column that is constant but for rounding, by scikit-learn's own measure.

    sklearn.preprocessing._data._is_constant_feature (Chan, Golub and LeVeque, "Algorithms for computing the sample
    variance", 1983).
    """
    epsilon = float(np.finfo(np.float64).eps)
    constant = variance <= rows * epsilon * variance + (rows * mean * epsilon) ** 2
    return 1.0 if constant else float(np.sqrt(variance))


def coefficients(table: Table, few: Table, encoding: Encoding) -> tuple[Floats, int]:
    """The coefficients, intercept first, and how many steps over all rows they took, begun where ``few`` led."""
    given, start = table.portfolio.model, np.zeros(1 + encoding.terms)
    if few is not table:
        own = replace(encoding, weight=few.weight)
        start, _ = minimise(partial(total, few, own), start, given.C, given.max_iter, NEAR)
    return minimise(partial(total, table, encoding), start, given.C, given.max_iter)


def fitted(table: Table, encoding: Encoding, variances: Floats, rows: int, beta: Floats, steps: int) -> Pipeline:
    """The portfolio's pipeline as fitted on ``rows`` rows, with these levels, fills, means, scales and coefficients.

    scikit-learn fits it on a few rows that hold every level, so that all it keeps for itself is as its version keeps
    it; then the numbers that it learns are put in their place.
    """
    pipeline = model.build(table.portfolio)
    most = max([2, *map(len, encoding.levels)])
    few = {number.name: np.zeros(most) for number in encoding.numbers}
    few |= {
        name: np.resize(np.array(levels, dtype=object), most)
        for name, levels in zip(encoding.categories, encoding.levels, strict=True)
    }
    frame = pd.DataFrame(few).astype(dict.fromkeys(encoding.categories, object))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        pipeline.fit(frame, np.arange(most) % 2)
    numbers = encoding.numbers
    if numbers:
        impute, scale = (step for _, step in pipeline["columns"].named_transformers_["numeric"].steps)
        impute.statistics_ = np.array([number.fill for number in numbers])
        scale.mean_ = np.array([number.mean for number in numbers])
        scale.scale_ = np.array([number.scale for number in numbers])
        scale.var_ = variances
        scale.n_samples_seen_ = type(scale.n_samples_seen_)(rows)
    classifier = pipeline["classifier"]
    classifier.intercept_, classifier.coef_ = beta[:1].copy(), beta[None, 1:].copy()
    classifier.n_iter_ = np.array([steps], dtype=classifier.n_iter_.dtype)
    return pipeline
