"""Exact mean, median, standard deviation, least and largest value of columns, however many rows, in a few passes.

The rows may lie in one table or in many parts: whoever answers is given expressions to select, and answers with one
row a part. A median needs no sort: a sample tells between which two values it surely lies, a pass over all rows counts
what is below and brings back the few values between (Munro and Paterson, "Selection and sorting with limited storage",
1980). Should the sample mislead, the pass is repeated with wider bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["SAMPLE", "SMALLER", "Ask", "Measures", "measures"]

Floats = npt.NDArray[np.float64]


class Ask(Protocol):
    """Answers SQL expressions by name with one row a part, over all rows or those ``where`` …"""

    def __call__(self, select: Mapping[str, str], *, where: str = "true") -> Sequence[Mapping[str, Any]]:
        """A value for each expression, part by part."""


SAMPLE = 100_000
"""Rows that are enough of a sample."""
SMALLER = 2.0**-10
"""By which differences are multiplied before they are summed: so none of two doubles is beyond a double."""
SPREAD = 6.0
"""Bounds are so many standard errors of the sample's median apart from it: missed once in 10⁸ columns."""


@dataclass(frozen=True)
class Measures:
    """One column: of ``rows`` values ``known`` are there, and these are their measures; NaN where there is none.

    ``std`` is of a sample (n - 1), NaN below two values.
    """

    rows: int
    known: int
    mean: float = math.nan
    median: float = math.nan
    std: float = math.nan
    min: float = math.nan
    max: float = math.nan

    @property
    def missing(self) -> float:
        """The share that is missing; NaN without rows."""
        return 1 - self.known / self.rows if self.rows else math.nan

    def filled(self, value: float) -> tuple[float, float]:
        """Mean and variance (of all, n) once ``value`` stands where one is missing; NaN without rows."""
        if not self.rows:
            return math.nan, math.nan
        if not self.known:
            return value, 0.0
        share, off = self.known / self.rows, self.mean - value
        own = self.std**2 * (self.known - 1) / self.known if self.known > 1 else 0.0
        return value + share * off, share * own + share * (1 - share) * off**2


def measures(ask: Ask, sample: Ask, columns: Sequence[str], rows: int) -> list[Measures]:
    """The measures of columns, each an SQL expression of type DOUBLE over the ``rows`` rows that ``ask`` answers for.

    ``sample`` answers for a random share of them; with ``SAMPLE`` rows or fewer it may be ``ask`` itself. Sums are of
    differences from a value near the median, which loses no digits to a large mean.
    """
    if not rows or not columns:
        return [Measures(rows, 0) for _ in columns]
    lists = sample({f"v{at}": f"list({sql}) FILTER (WHERE {sql} IS NOT NULL)" for at, sql in enumerate(columns)})
    found = []
    drawn = [_together(lists, f"v{place}") for place in range(len(columns))]
    near = [float(values[values.size // 2]) if values.size else 0.0 for values in drawn]
    asked = zip(columns, near, strict=True)
    sums = ask({f"{key}{at}": sql for at, pair in enumerate(asked) for key, sql in _sums(*pair).items()})
    for place, column in enumerate(columns):
        parts = [{key: part[f"{key}{place}"] for key in "nsqaz"} for part in sums]
        spread = math.inf if sample is ask else SPREAD
        known = sum(int(part["n"]) for part in parts)
        median = None if known else math.nan
        while median is None:
            median = _median(ask, column, known, _bounds(drawn[place], spread))
            spread *= 8
        found.append(_measured(parts, rows, near[place], median))
    return found


def _sums(column: str, near: float) -> dict[str, str]:
    off = f"({column} * {SMALLER!r} - {_double(near * SMALLER)})"
    return {
        "n": f"count({column})",
        "s": f"sum({off})",
        "q": f"sum({off} * {off})",
        "a": f"min({column})",
        "z": f"max({column})",
    }


def _measured(parts: Sequence[Mapping[str, Any]], rows: int, near: float, median: float) -> Measures:
    some = [part for part in parts if part["n"]]
    n = sum(int(part["n"]) for part in some)
    if not n:
        return Measures(rows, 0)
    off, squares = (sum(float(part[key]) for part in some) for key in "sq")
    spread = squares - off * off / n if math.isfinite(squares) else math.inf
    variance = max(0.0, spread) / (n - 1) if n > 1 else math.nan
    return Measures(
        rows,
        n,
        mean=near + off / n / SMALLER,
        median=median,
        std=math.sqrt(variance) / SMALLER,
        min=min(float(part["a"]) for part in some),
        max=max(float(part["z"]) for part in some),
    )


def _bounds(sample: Floats, spread: float) -> tuple[float, float]:
    """Where the median of all lies if it is within ``spread`` standard errors of the sample's; no bound from few."""
    middle, reach = (sample.size - 1) / 2, 0.5 * spread * math.sqrt(sample.size)
    if not middle >= reach:
        return -math.inf, math.inf
    return float(sample[math.floor(middle - reach)]), float(sample[math.ceil(middle + reach)])


def _median(ask: Ask, column: str, known: int, bounds: tuple[float, float]) -> float | None:
    """The mean of the two middle ones of ``known`` values; None where one is not within the bounds."""
    low, high = map(_double, bounds)
    below = sum(int(part["n"]) for part in ask({"n": "count(*)"}, where=f"{column} < {low}"))
    among = ask(
        {
            "low": f"count(*) FILTER (WHERE {column} = {low})",
            "high": f"count(*) FILTER (WHERE {column} = {high} AND {high} > {low})",
            "inside": f"list({column}) FILTER (WHERE {column} > {low} AND {column} < {high})",
        },
        where=f"{column} BETWEEN {low} AND {high}",
    )
    at_low, at_high = (sum(int(part[key]) for part in among) for key in ("low", "high"))
    inside, middle = _together(among, "inside"), []
    for rank in ((known - 1) // 2 - below, known // 2 - below):
        if rank < 0 or rank >= at_low + inside.size + at_high:
            return None
        at = rank - at_low
        middle.append(bounds[0] if at < 0 else float(inside[at]) if at < inside.size else bounds[1])
    return middle[0] / 2 + middle[1] / 2 if middle[0] != middle[1] else middle[0]


def _together(parts: Sequence[Mapping[str, Any]], key: str) -> Floats:
    """The lists of all parts as one, in order; a part without any value has none."""
    lists = [np.asarray(part[key], dtype=np.float64) for part in parts if np.ndim(part[key])]
    values: Floats = np.concatenate(lists) if lists else np.zeros(0)
    return np.sort(values)


def _double(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"
