# ruff: noqa: S608 -- every name that enters SQL goes through `listed`
"""Equal rows of one file, where no id tells clients apart and ``repeats: keep`` says that each is a client.

The first, second, third … of equal rows in a file are rows of their own, and each is known by its content and that
number. So the same file again brings nothing, an overlapping file only what it has more of, and the store holds a row
as often as the file that has it most often. That number is in the hash alone, times an odd number: equal rows with
different numbers never have the same one. Two files that share no client, and yet a row, cannot be told from that.
"""

from __future__ import annotations

from attrition.params import Portfolio
from attrition.store.engine import fields, listed

__all__ = ["before", "numbered"]


def numbered(portfolio: Portfolio, rows: str) -> str:
    """The SQL ``rows`` (_drop, columns, target …) with ``_nth``, a row's number among its equals in one drop."""
    if portfolio.repeats == "drop":
        return rows
    equal = f"_drop, {listed(fields(portfolio))}"
    return f"SELECT *, row_number() OVER (PARTITION BY {equal}) AS _nth FROM ({rows})"


def before(portfolio: Portfolio) -> str:
    """SQL for how many equals of a row stand before it in its drop; 0 where they are dropped."""
    return "(_nth - 1)" if portfolio.repeats == "keep" else "0::BIGINT"
