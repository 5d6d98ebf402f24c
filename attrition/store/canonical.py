"""One hash a row: equal rows have the same, by which they are found; whether rows are equal their values alone tell.

It is the same in every version of DuckDB and on every machine, and made to be quick: each value is read as a whole
number, and these are multiplied and put together by xor, much as in multilinear hashing (Lemire and Kaser, 2014). MD5,
for which DuckDB takes three times as long, is left for long texts.

A change of it makes the rows of all tables unknown: `store.delta` has a number for it, and `make sample` must follow.
"""

from __future__ import annotations

from functools import reduce
from hashlib import md5

from attrition.params import Portfolio
from attrition.store import repeats
from attrition.store.engine import fields, quoted

__all__ = ["hashed"]

NONE = 0x5DEECE66D
"""What stands for a missing value."""
SCALE = 2.0**30
"""What a number is multiplied by before it is rounded: what differs less than a billionth is alike to the hash, and
beyond 8.6e9 what differs by less than one."""

MANY = 32
"""Columns from which on they are put together in lists."""
LOW, POSITIVE = f"{2**64 - 1}::UHUGEINT", 2**63 - 1


def factor(place: int) -> int:
    """An odd number of 62 bits for the number at ``place``; 0 is that of the last step."""
    return int.from_bytes(md5(str(place).encode(), usedforsecurity=False).digest()[:8], "big") >> 2 | 1


def hashed(portfolio: Portfolio) -> str:
    """SQL for 63 bits of a row.

    Its numbers are: how many equals stand before it (`repeats`), the low 63 bits of each value but texts, and of each
    text the low and the high 64 bits, by the names of the columns, so that their order in the YAML means nothing.
    Numbered from 1 on, each is multiplied by its `factor`, and these are put together by xor. Of the two halves of
    128 bits, xor, times ``factor(0)`` the hash are the bits 1 to 63.
    """
    columns = sorted(fields(portfolio).items())
    values = [_value(kind, quoted(name)) for name, kind in columns if kind != "VARCHAR"]
    texts = [_text(quoted(name)) for name, kind in columns if kind == "VARCHAR"]
    put_together = _one_by_one if len(columns) <= MANY else _as_lists
    mixed = put_together([repeats.before(portfolio), *values], texts)
    halves = f"xor({mixed} & {LOW}, {mixed} >> 64)"
    return f"CAST(({halves} * {factor(0)}::UHUGEINT >> 1) & {POSITIVE}::UHUGEINT AS BIGINT)"


def _one_by_one(values: list[str], texts: list[str]) -> str:
    """SQL for the products, put together."""
    numbers = [f"CAST({value} & {POSITIVE} AS UHUGEINT)" for value in values]
    numbers += [half for text in texts for half in (f"({text} & {LOW})", f"({text} >> 64)")]
    products = [f"{number} * {factor(place)}::UHUGEINT" for place, number in enumerate(numbers, start=1)]
    return reduce(lambda before, product: f"xor({before}, {product})", products)


def _as_lists(values: list[str], texts: list[str]) -> str:
    """The same for any number of columns: so many expressions take DuckDB's planner seconds, and all its memory."""
    numbers = f"list_transform([{', '.join(values)}], lambda value: CAST(value & {POSITIVE} AS UHUGEINT))"
    halves = f"list_transform([{', '.join(texts)}]::UHUGEINT[], lambda text: [text & {LOW}, text >> 64])"
    factors = ", ".join(f"{factor(place)}::UHUGEINT" for place in range(1, len(values) + 2 * len(texts) + 1))
    each = f"list_zip(list_concat({numbers}, flatten({halves})), [{factors}])"
    return f"list_reduce(list_transform({each}, lambda pair: pair[1] * pair[2]), lambda one, other: xor(one, other))"


def _text(name: str) -> str:
    """SQL for a text as 128 bits: its bytes as one number, or else their MD5; that of no bytes if it is missing."""
    short = f"strlen({name}) BETWEEN 1 AND 16"
    return f"CASE WHEN {short} THEN CAST(encode({name})::BIT AS UHUGEINT) ELSE md5_number(coalesce({name}, '')) END"


def _value(kind: str, name: str) -> str:
    """SQL for a value as an integer; of a number `SCALE` times it, rounded half to even.

    Beyond 64 bits so, it is the number itself, rounded, or what stands for a missing value.
    """
    if kind == "DOUBLE":
        return f"coalesce(TRY_CAST({name} * {SCALE}::DOUBLE AS BIGINT), TRY_CAST({name} AS BIGINT), {NONE})"
    value = f"({name} - DATE '1970-01-01')" if kind == "DATE" else f"CAST({name} AS BIGINT)"
    return f"coalesce({value}, {NONE})"
