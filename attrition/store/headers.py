"""A file's header held to the portfolio's columns: order, letters, columns too many and too few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from attrition.params import Portfolio
from attrition.store.engine import fields

__all__ = ["misfit", "named", "notes", "some"]

SHOWN = 10  # names in a note
DELIMITERS = ",;\t|"


def named(portfolio: Portfolio, header: Sequence[str]) -> list[str]:
    """The header in the YAML's own letters, where these need not be the file's."""
    if portfolio.header.case == "exact":
        return list(header)
    own = {name.lower(): name for name in fields(portfolio)}
    return [own.get(name.lower(), name) for name in header]


def misfit(portfolio: Portfolio, header: Sequence[str]) -> str | None:
    """Why a file with this header cannot be taken at all; None if it can."""
    if len(header) == 1:
        for sign in DELIMITERS.replace(portfolio.delimiter, ""):
            if sign in header[0]:
                return f"found {sign!r} between the columns, not {portfolio.delimiter!r}: set delimiter in the YAML"
    known = [name for name in header if name in fields(portfolio)]
    if twice := [name for name, times in Counter(known).items() if times > 1]:
        return f"column twice in the header: {some(twice)}"
    if missing := [name for name in _needed(portfolio) if name not in header]:
        return f"missing column: {some(missing)}{_near(missing, header)}"
    if portfolio.header.extra == "refuse" and (extra := [name for name in header if name not in fields(portfolio)]):
        return f"unknown column: {some(extra)}"
    order = [name for name in portfolio.columns if name in header]
    if portfolio.header.order == "refuse" and order != [name for name in known if name in portfolio.columns]:
        return f"columns in another order than {some(order)}"
    return None if header else "no line has a key"


def _needed(portfolio: Portfolio) -> list[str]:
    if portfolio.header.missing == "refuse":
        return [name for name in fields(portfolio) if name not in _made(portfolio)]
    names = [name for name, column in portfolio.columns.items() if not (column.nullable or column.made)]
    return [*names, portfolio.target.column] if portfolio.target.unlabelled == "quarantine" else names


def _made(portfolio: Portfolio) -> list[str]:
    """The id, where it is made of file and line."""
    return [name for name, column in portfolio.columns.items() if column.made]


def _near(missing: Sequence[str], header: Sequence[str]) -> str:
    """What to do where a column is there, in other letters."""
    lower = {name.lower(): name for name in missing}
    found = next((name for name in header if name not in missing and name.lower() in lower), None)
    return f"; found {found[:64]!r}: with header: {{case: ignore}} in the YAML that is the same" if found else ""


def notes(portfolio: Portfolio, header: Sequence[str]) -> Iterator[str]:
    """What a person should know of a header that was taken."""
    target = portfolio.target.column
    if extra := [name for name in header if name not in fields(portfolio)]:
        yield f"ignored column: {some(extra)}"
    if absent := [name for name in portfolio.columns if name not in (*header, *_made(portfolio))]:
        yield f"no column {some(absent)}: taken as missing"
    if target not in header:
        yield f"no column {target}: outcomes not known yet"


def some(names: Sequence[str]) -> str:
    """Names for a person: the first ten, and how many more."""
    shown = ", ".join(name[:64] or "(no name)" for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
