"""One hash a row: equal rows have the same, by which they are found; whether rows are equal their values alone tell.

It is the same in every version of DuckDB and on every machine, and made to be quick: texts are joined as they are, and
all other values are folded into one number, since DuckDB takes longer to write a number out than to read it.
"""

from __future__ import annotations

from functools import reduce

from attrition.params import Portfolio
from attrition.store import repeats
from attrition.store.engine import fields, literal, quoted

__all__ = ["FACTOR", "KEPT", "NONE", "SIGN", "hashed"]

FACTOR = 8_388_593  # a prime below 2^23, so that no product has more than 63 bits
KEPT = 2**40 - 1
NONE = 0x5DEECE66D
"""What stands for a missing value."""
SIGN = "\x1f"
"""Between texts."""


def hashed(portfolio: Portfolio) -> str:
    """SQL for 63 bits of a row: the last 8 bytes of the MD5 of its canonical text, little-endian, without the lowest.

    The text is that of the columns in order of their names, so that their order in the YAML means nothing: the texts,
    a missing one empty, then the number that is folded of the others, ``fold = (fold & KEPT) * FACTOR xor value``.
    """
    names = sorted(fields(portfolio))
    texts = [f"coalesce({quoted(name)}, '')" for name in names if fields(portfolio)[name] == "VARCHAR"]
    values = [_value(fields(portfolio)[name], quoted(name)) for name in names if fields(portfolio)[name] != "VARCHAR"]
    fold = reduce(lambda before, value: f"xor(({before} & {KEPT}) * {FACTOR}, {value})", values, "0::BIGINT")
    text = f"concat_ws({literal(SIGN)}, {', '.join([*texts, fold])}){repeats.suffix(portfolio)}"
    # These 64 bits are the upper ones of the MD5 as DuckDB reads it; md5_number_lower gives them too, and takes five
    # times as long.
    return f"CAST(md5_number({text}) >> 65 AS BIGINT)"


def _value(kind: str, name: str) -> str:
    """SQL for a value as an integer: of a number its ten thousandths, xor 2^52 times what is left of them.

    Beyond 64 bits so, it is the number itself, rounded, or what stands for a missing value. Half rounds to even.
    """
    if kind == "DOUBLE":
        parts = f"{name} * 10000"
        rest = f"TRY_CAST(({parts} - trunc({parts})) * {2**52} AS BIGINT)"
        return f"coalesce(xor(TRY_CAST({parts} AS BIGINT), {rest}), TRY_CAST({name} AS BIGINT), {NONE})"
    value = f"({name} - DATE '1970-01-01')" if kind == "DATE" else f"CAST({name} AS BIGINT)"
    return f"coalesce({value}, {NONE})"
