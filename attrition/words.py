"""Why a client is at risk, in words with its own values. It knows no pandas, so that the API can tell at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from attrition.params import Portfolio

__all__ = ["odds", "reasons", "rounded"]

NEGLIGIBLE = 0.05
"""A contribution below this many logits reads as odds × 1.0 and is no reason."""
EXTREME = 1000.0
"""Odds beyond this factor, either way, are named no more precisely."""


def reasons(
    portfolio: Portfolio,
    columns: Mapping[str, Sequence[Any]],
    contributions: npt.NDArray[np.float64],
    usual: Mapping[str, float | str],
    top: int = 3,
) -> list[list[str]]:
    """For each client the features that move its risk most, either way, in words with its own values.

    Args:
        portfolio: whose features they are.
        columns: the values of each feature, None where missing.
        contributions: logits beyond the average client's, shape ``(rows, features)`` in the portfolio's order.
        usual: what a number is put beside.
        top: at most so many a client; contributions next to nothing are left out.
    """
    strength = np.abs(contributions)
    ranked = np.argsort(-strength, axis=1, kind="stable")[:, :top]
    words = np.full(ranked.shape, "", dtype=object)
    for index, name in enumerate(portfolio.features):
        rows, places = np.nonzero((ranked == index) & (strength[:, [index]] >= NEGLIGIBLE))
        if not len(rows):
            continue
        subject, values, known = _subject(portfolio, name, usual.get(name)), columns[name], dict[Any, str]()
        told = []
        for row, effect in zip(rows.tolist(), contributions[rows, index].tolist(), strict=True):
            value = values[row]
            if value not in known:  # each distinct value is put in words once
                known[value] = subject(value)
            told.append(f"{known[value]}: {odds(effect)}")
        words[rows, places] = told
    return [[text for text in row if text] for row in words.tolist()]


def odds(logits: float) -> str:
    """By what factor so many logits change the odds of leaving."""
    if abs(logits) > math.log(EXTREME):
        return "odds of leaving × " + (f"more than {EXTREME:,.0f}" if logits > 0 else f"less than {1 / EXTREME}")
    factor = math.exp(logits)
    digits = 0 if factor >= 10 else 1 if factor >= 1 else 2 if factor >= 0.1 else 3
    return f"odds of leaving × {factor:.{digits}f}"


def rounded(value: float) -> str:
    """A number as it stands in a comparison."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _subject(portfolio: Portfolio, name: str, usual: float | str | None) -> Callable[[Any], str]:
    """How a feature's name and a value of it are said."""
    label, kind = portfolio.label(name), portfolio.columns[name].type
    compared = "" if usual is None or kind in ("category", "boolean") else f", usual {rounded(float(usual))}"

    def subject(value: Any) -> str:
        if value is None:
            return f"{label} missing{compared}"
        if kind == "category":
            return f"{label} {value}"
        if kind == "boolean":
            return f"{label} {'yes' if value else 'no'}"
        return f"{label} {_number(value)}{compared}"

    return subject


def _number(value: float) -> str:
    if abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")
