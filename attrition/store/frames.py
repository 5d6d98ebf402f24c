"""The store's columns as frames hold them: which type stands for which, and how "missing" is written."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from attrition.params import Portfolio
from attrition.store.engine import OWN, StoreError, fields, quoted

__all__ = ["plain", "shaped"]

SHAPED = ("BIGINT", "DOUBLE", "BOOLEAN", "TINYINT")  # float64 in a frame, so that NaN can say "missing"


def shaped(portfolio: Portfolio, columns: Sequence[str] | None, own: Sequence[str] = ("_row", "_version")) -> str:
    """SQL for columns (None: all and the target) as a frame holds them, then the store's ``own``.

    Raises:
        StoreError: a column is not the portfolio's.
    """
    types = fields(portfolio)
    names = list(types) if columns is None else [name for name in columns if name not in OWN]
    if unknown := [name for name in names if name not in types]:
        raise StoreError(f"no column {', '.join(map(repr, unknown))}; there are {', '.join(types)}")
    cast = {name: f"CAST({quoted(name)} AS DOUBLE)" if types[name] in SHAPED else quoted(name) for name in names}
    if portfolio.id in cast:  # as text: beyond 2^53 two integers may share a double
        cast[portfolio.id] = f"CAST({quoted(portfolio.id)} AS VARCHAR)"
    return ", ".join([*(f"{value} AS {quoted(name)}" for name, value in cast.items()), *own])


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as objects with None, whatever type the engine chose for them."""
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.StringDtype) or frame[name].dtype == object:
            values = frame[name].astype(object)
            frame[name] = values.where(values.notna(), None)
    return frame
