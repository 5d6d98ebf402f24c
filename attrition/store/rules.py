"""What a value may be, as SQL: the rules of each type and of the YAML, and what is said where one is broken.

Every value is read as text, held against its type's pattern, and only then cast: a cast alone
rounds 3.7 to 4 without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attrition.column_params import Column
from attrition.params import Portfolio
from attrition.store.engine import fields, literal, quoted
from attrition.store.headers import some
from attrition.store.raw import FIELD

__all__ = ["FALSE", "TRUE", "Texts", "fault", "good", "numeral", "typed"]

TRUE, FALSE = ("1", "true", "yes"), ("0", "false", "no")
THOUSANDS = {" ": "[ \u00a0\u202f]", "'": "['\u2019]", ".": "[.]", ",": ","}


@dataclass(frozen=True)
class Texts:
    """What is known of all fields of a source, so that it need not be asked of each.

    ``tight``: none has spaces around; ``nulls``: a missing one is NULL, not empty; ``plain``: none has a ``_``, a
    ``+`` or a zero byte in it.
    """

    tight: bool = False
    nulls: bool = False
    plain: bool = False


@dataclass(frozen=True)
class _Rule:
    """SQL for what must hold of a value that is not missing, and what is wrong where it does not.

    ``quick`` says the same and costs less, if all that the other rules of the column say holds too; ``plain`` if the
    texts are plain (`Texts`) as well.
    """

    holds: str
    fault: str
    quick: str = ""
    plain: str = ""


def _nullable(portfolio: Portfolio, name: str) -> bool:
    column = portfolio.columns.get(name)
    return column.nullable if column else portfolio.target.unlabelled == "accept"


def good(portfolio: Portfolio, name: str, text: str, known: Texts) -> str:
    """SQL for whether a value can be taken: true, or else false or NULL."""
    rules = _rules(portfolio, name, text)
    holds = " AND ".join(f"({(known.plain and rule.plain) or rule.quick or rule.holds})" for rule in rules)
    return f"({text} IS NULL OR coalesce({holds}, false))" if _nullable(portfolio, name) else holds


def fault(portfolio: Portfolio, name: str, text: str) -> str:
    """SQL for what is wrong with a trimmed text: NULL, or a phrase that can follow 'is'."""
    cases = [f"WHEN ({rule.holds}) IS NOT TRUE THEN {literal(rule.fault)}" for rule in _rules(portfolio, name, text)]
    missing = "NULL" if _nullable(portfolio, name) else "'missing'"
    return f"CASE WHEN {text} IS NULL THEN {missing} {' '.join(cases)} END"


def _rules(portfolio: Portfolio, name: str, text: str) -> Iterator[_Rule]:
    value, column = quoted(name), portfolio.columns.get(name)
    if column is None:
        yes, no = _outcomes(portfolio)
        yield _Rule(_among(text, (yes, no)), f"neither {yes!r} nor {no!r}")
        return
    yield from _of_type(portfolio, column, text, value)
    if column.leading_zeros == "refuse":
        yield _Rule(f"NOT regexp_matches({text}, '^[+-]?0[0-9]')", "written with leading zeros")
    if column.min is not None:
        yield _Rule(f"CAST({value} AS DOUBLE) >= {_double(column.min)}", f"below {column.min:g}")
    if column.max is not None:
        yield _Rule(f"CAST({value} AS DOUBLE) <= {_double(column.max)}", f"above {column.max:g}")
    if portfolio.horizon and name == portfolio.as_of:  # one date in the future would close every window for good
        yield _Rule(f"{value} <= current_date + 1", "in the future")


def _of_type(portfolio: Portfolio, column: Column, text: str, value: str) -> Iterator[_Rule]:
    if column.type == "integer":
        whole = f"regexp_full_match({text}, {literal(_pattern(portfolio, '[+-]?{whole}'))})"
        yield _Rule(
            whole, "not a whole number", f"CASE WHEN CAST({value} AS VARCHAR) = {text} THEN true ELSE {whole} END"
        )
        yield _Rule(f"{value} IS NOT NULL", "beyond 64 bits")
    elif column.type == "number":
        # Of what is no number DuckDB casts to a finite one only what parts digits so, or has both signs.
        plain = portfolio.decimal == "." and not portfolio.thousands
        yield _Rule(
            numeral(portfolio, text),
            "not a number",
            f"NOT contains({text}, '_') AND NOT starts_with({text}, '+-')" if plain else "",
            "true" if plain else "",
        )
        yield _Rule(f"isfinite({value})", "beyond a double")
    elif column.type == "boolean":
        allowed = [*TRUE, *FALSE]
        yield _Rule(_among(f"lower({text})", allowed), f"not one of {', '.join(allowed)}")
    elif column.type == "date":
        real = f"regexp_full_match({text}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') AND {text} >= '0001'"
        same = f"strlen({text}) = 10 AND CAST({value} AS VARCHAR) = {text}"
        yield _Rule(f"{real} AND {value} IS NOT NULL", "not a date as YYYY-MM-DD", same)
    elif column.values is not None:
        yield _Rule(_among(text, column.values), f"not one of {some(column.values)}")
    else:
        yield _Rule(f"NOT contains({text}, chr(0))", "a text with a zero byte in it", plain="true")
        yield _Rule(f"strlen({text}) <= {4 * FIELD}", f"longer than {4 * FIELD:,} bytes")


def numeral(portfolio: Portfolio, text: str) -> str:
    """SQL for whether a text is a number as the portfolio's files write one."""
    form = "[+-]?({whole}({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?"
    return f"regexp_full_match({text}, {literal(_pattern(portfolio, form))})"


def _pattern(portfolio: Portfolio, form: str) -> str:
    """A regular expression for numbers as the portfolio's files write them."""
    whole = "[0-9]+"
    if portfolio.thousands:
        whole = f"([0-9]{{1,3}}({THOUSANDS[portfolio.thousands]}[0-9]{{3}})+|[0-9]+)"
    return form.format(whole=whole, point="," if portfolio.decimal == "," else "[.]")


def _plain(portfolio: Portfolio, value: str) -> str:
    """SQL for the text of a number with a point and no groups."""
    if portfolio.thousands:
        value = f"regexp_replace({value}, {literal(THOUSANDS[portfolio.thousands])}, '', 'g')"
    return f"replace({value}, ',', '.')" if portfolio.decimal == "," else value


def _among(value: str, allowed: Sequence[str]) -> str:
    return f"list_contains(CAST([{', '.join(map(literal, allowed))}] AS VARCHAR[]), {value})"


def _double(bound: float) -> str:
    return f"CAST({literal(repr(bound))} AS DOUBLE)"


def typed(portfolio: Portfolio, name: str, text: str) -> str:
    """SQL for the typed value of a trimmed text; NULL or another one if that has a fault."""
    kind = fields(portfolio)[name]
    if name == portfolio.target.column:
        positive, negative = map(literal, _outcomes(portfolio))
        return f"CAST(CASE {text} WHEN {positive} THEN 1 WHEN {negative} THEN 0 END AS {kind})"
    if kind == "BOOLEAN":
        return _among(f"lower({text})", TRUE)
    if kind == "DOUBLE":
        return f"TRY_CAST({_plain(portfolio, text)} AS DOUBLE) + 0.0"  # -0.0 becomes 0.0: one number, one hash
    if kind == "BIGINT":
        return f"TRY_CAST({_plain(portfolio, text)} AS BIGINT)"
    return text if kind == "VARCHAR" else f"TRY_CAST({text} AS {kind})"


def _outcomes(portfolio: Portfolio) -> tuple[str, str]:
    return portfolio.target.positive.strip(), portfolio.target.negative.strip()
