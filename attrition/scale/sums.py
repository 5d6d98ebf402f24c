# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Gradient and Hessian of the loss of a logistic regression, as sums over the rows of a table.

Up to ``NARROW`` numbers the sums are asked of DuckDB, a group for each cell: each combination of categories that
occurs. All of a group's rows have the same one-hot columns, so what concerns these follows from the groups' sums.
Wider rows come to NumPy in batches, where a one-hot column is a number and products of two of them are counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition.model import MISSING
from attrition.scale.table import Part, Query, Table, chunks, rows_of
from attrition.store.engine import literal, quoted

__all__ = ["NARROW", "Encoding", "Number", "Sums", "total"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NARROW = 50
"""Numbers up to which DuckDB computes the sums: one for each pair."""


@dataclass(frozen=True)
class Number:
    """A numeric feature as the classifier reads it: ``fill`` where it is missing, then standardised."""

    name: str
    fill: float
    mean: float
    scale: float

    @property
    def sql(self) -> str:
        """SQL for it."""
        return f"((coalesce(CAST({quoted(self.name)} AS DOUBLE), {self.fill!r}) - {self.mean!r}) / {self.scale!r})"


@dataclass(frozen=True)
class Encoding:
    """How rows become the classifier's terms: its numbers, then the levels of its categories, in order.

    ``cells`` are the combinations of levels that occur, each level by its place; empty: too many to list.
    """

    target: str
    numbers: tuple[Number, ...]
    categories: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[int, ...], ...]
    weight: str = ""

    @property
    def terms(self) -> int:
        """How many coefficients there are, without the intercept."""
        return len(self.numbers) + sum(map(len, self.levels))

    @property
    def narrow(self) -> bool:
        """Whether DuckDB computes the sums."""
        return len(self.numbers) <= NARROW and bool(self.cells)

    @property
    def starts(self) -> list[int]:
        """Where each category's levels begin among intercept and terms."""
        return list(accumulate(map(len, self.levels), initial=1 + len(self.numbers)))[:-1]

    def level(self, category: int) -> str:
        """SQL for a category's level."""
        return f"coalesce({quoted(self.categories[category])}, {literal(MISSING)})"


@dataclass(frozen=True)
class Sums:
    """Over some rows: their ``weight``, and of the log loss the gradient and the Hessian (1 + terms)."""

    weight: float
    gradient: Floats
    hessian: Floats

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.weight + other.weight, self.gradient + other.gradient, self.hessian + other.hessian)


@dataclass(frozen=True)
class _Task:
    """The sums of one part at some coefficients, the intercept first."""

    part: Part
    encoding: Encoding
    beta: tuple[float, ...] = field(repr=False)


def total(table: Table, encoding: Encoding, beta: Floats) -> Sums:
    """The sums over all rows, at coefficients ``beta``, the intercept first."""
    function = _by_cells if encoding.narrow else _by_batches
    given = tuple(map(float, beta))
    parts: list[Sums] = table.each(function, lambda part: _Task(part, encoding, given))
    return reduce(Sums.__add__, parts)


def _by_cells(task: _Task) -> Sums:
    """The sums of a part as DuckDB computes them."""
    encoding, beta = task.encoding, task.beta
    k = len(encoding.numbers)
    names = ["cell"] if encoding.categories else []
    encoded = ", ".join(f"{number.sql} AS x{at}" for at, number in enumerate(encoding.numbers))
    columns = [f"CAST({quoted(encoding.target)} AS DOUBLE) AS y", f"{_weight(encoding)} AS w", *names, "o"]
    rows = f"SELECT {', '.join(columns)}{', ' if k else ''}{encoded} FROM {_offsets(encoding, beta)}"
    linear = " + ".join(["o", *(f"{weight!r} * x{at}" for at, weight in enumerate(beta[1 : 1 + k]))])
    logits = f"SELECT *, {linear} AS z FROM ({rows})"
    chances = f"SELECT *, 1 / (1 + exp(-z)) AS p FROM ({logits})"
    slopes = f"SELECT *, w * (p - y) AS d, w * p * (1 - p) AS v FROM ({chances})"
    products = "".join(f", v * x{i} AS v{i}" for i in range(k))
    sums = ["sum(w)", "sum(d)", "sum(v)"]
    sums += [f"sum(d * x{i})" for i in range(k)] + [f"sum(v{i})" for i in range(k)]
    sums += [f"sum(v{i} * x{j})" for i in range(k) for j in range(i, k)]
    listed = ", ".join(f"{sql} AS s{at}" for at, sql in enumerate(sums))
    group = "GROUP BY cell ORDER BY cell" if names else ""
    found = rows_of(
        Query(task.part, f"SELECT {', '.join([*names, listed])} FROM (SELECT *{products} FROM ({slopes})) {group}")
    )
    found = found[found["s0"].notna()]  # no rows, no group: one row of NULLs
    cells = found["cell"].to_numpy(dtype=np.int64) if names else np.zeros(len(found), dtype=np.int64)
    return _gathered(encoding, cells, found.filter(regex="^s").to_numpy(dtype=np.float64))


def _weight(encoding: Encoding) -> str:
    return f"CAST({encoding.weight} AS DOUBLE)" if encoding.weight else "CAST(1 AS DOUBLE)"


def _offsets(encoding: Encoding, beta: Sequence[float]) -> str:
    """SQL for the rows with ``cell`` and ``o``, what intercept and categories add to the logit."""
    if not encoding.categories:
        return f"(SELECT *, CAST({beta[0]!r} AS DOUBLE) AS o FROM {{rows}})"
    starts, values = encoding.starts, []
    for number, cell in enumerate(encoding.cells):
        levels = [literal(encoding.levels[at][code]) for at, code in enumerate(cell)]
        o = beta[0] + sum(beta[start + code] for start, code in zip(starts, cell, strict=True))
        values.append(f"({', '.join([str(number), f'CAST({o!r} AS DOUBLE)', *levels])})")
    keys = [f"k{at}" for at in range(len(encoding.categories))]
    same = " AND ".join(f"{encoding.level(at)} = {key}" for at, key in enumerate(keys))
    return f"{{rows}} JOIN (VALUES {', '.join(values)}) AS cells(cell, o, {', '.join(keys)}) ON {same}"


def _gathered(encoding: Encoding, cells: Ints, sums: Floats) -> Sums:
    """Gradient and Hessian from the sums of each cell, shape ``(cells, sums)``."""
    k, size = len(encoding.numbers), 1 + encoding.terms
    upper = np.triu_indices(k)
    numbers = np.zeros((len(sums), 1 + k, 1 + k))  # of each cell: intercept and numbers
    numbers[:, 0, 0] = sums[:, 2]
    numbers[:, 0, 1:] = numbers[:, 1:, 0] = sums[:, 3 + k : 3 + 2 * k]
    numbers[:, upper[0] + 1, upper[1] + 1] = numbers[:, upper[1] + 1, upper[0] + 1] = sums[:, 3 + 2 * k :]
    codes = np.array([encoding.cells[cell] for cell in cells], dtype=np.int64).reshape(
        len(cells), len(encoding.categories)
    )
    onehot = np.zeros((len(sums), size - 1 - k))
    for at, start in enumerate(encoding.starts):
        onehot[np.arange(len(sums)), start - 1 - k + codes[:, at]] = 1.0
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    gradient[0], gradient[1 : 1 + k] = sums[:, 1].sum(), sums[:, 3 : 3 + k].sum(axis=0)
    gradient[1 + k :] = sums[:, 1] @ onehot
    hessian[: 1 + k, : 1 + k] = numbers.sum(axis=0)
    hessian[: 1 + k, 1 + k :] = numbers[:, 0, :].T @ onehot
    hessian[1 + k :, : 1 + k] = hessian[: 1 + k, 1 + k :].T
    hessian[1 + k :, 1 + k :] = (onehot * sums[:, 2:3]).T @ onehot
    return Sums(float(sums[:, 0].sum()), gradient, hessian)


def _by_batches(task: _Task) -> Sums:
    """The sums of a part as NumPy computes them, batch by batch."""
    encoding = task.encoding
    size = 1 + encoding.terms
    joined, codes = "{rows}", []
    for at, levels in enumerate(encoding.levels):
        values = ", ".join(f"({code}, {literal(level)})" for code, level in enumerate(levels))
        joined += f" JOIN (VALUES {values}) AS t{at}(c{at}, k{at}) ON {encoding.level(at)} = k{at}"
        codes.append(f"c{at}")
    numbers = [f"{number.sql} AS x{at}" for at, number in enumerate(encoding.numbers)]
    columns = [f"CAST({quoted(encoding.target)} AS DOUBLE) AS y", f"{_weight(encoding)} AS w", *codes, *numbers]
    found = Sums(0.0, np.zeros(size), np.zeros((size, size)))
    for chunk in chunks(Query(task.part, f"SELECT {', '.join(columns)} FROM {joined}")):
        found += _of_batch(encoding, np.array(task.beta), chunk)
    return found


def _of_batch(encoding: Encoding, beta: Floats, chunk: pd.DataFrame) -> Sums:
    k, starts = len(encoding.numbers), encoding.starts
    y, w = chunk["y"].to_numpy(dtype=np.float64), chunk["w"].to_numpy(dtype=np.float64)
    X = np.ones((len(chunk), 1 + k))
    X[:, 1:] = chunk.iloc[:, 2 + len(starts) :]
    places = [start + chunk[f"c{at}"].to_numpy(dtype=np.int64) for at, start in enumerate(starts)]
    z = X @ beta[: 1 + k] + sum((beta[place] for place in places), np.zeros(len(y)))
    p = 0.5 + 0.5 * np.tanh(0.5 * z)
    d, v = w * (p - y), w * p * (1 - p)
    size = beta.size
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    weighted = X * v[:, None]
    gradient[: 1 + k], hessian[: 1 + k, : 1 + k] = X.T @ d, X.T @ weighted
    for at, place in enumerate(places):
        gradient += _counts(place, d, size)
        for number in range(1 + k):
            hessian[number] += _counts(place, weighted[:, number], size)
            hessian[:, number] += _counts(place, weighted[:, number], size)
        for other in places[at:]:
            pairs = _counts(place * size + other, v, size * size).reshape(size, size)
            hessian += pairs if other is place else pairs + pairs.T
    return Sums(float(w.sum()), gradient, hessian)


def _counts(places: Ints, weights: Floats, size: int) -> Any:
    return np.bincount(places, weights=weights, minlength=size)
