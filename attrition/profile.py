"""What a file's columns are: their types and ranges, which one names a client, what looks wrong. Pure, on texts.

Nothing is guessed silently: what was decided on thin grounds comes back as a warning, for a person to read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from attrition.home import UsageError

__all__ = ["Dialect", "Found", "Profile", "dialect", "profile"]

LEVELS = 100
"""A text with more distinct values is not learnt from, nor one of which a value occurs LEAST_EACH times on average."""
LEAST_EACH = 5
SURE, CLOSE = 0.995, 0.97
"""AUC of one column alone from which on it is left out of the model, and from which on it is worth a look."""
FEW, FEW_EACH = 400, 20
"""Clients, and of each outcome, below which little can be claimed."""
MISSING = {"na", "n/a", "nan", "null", "none", "?", "-", ".", "#n/a"}
TRUE, FALSE = ("1", "true", "yes"), ("0", "false", "no")
POSITIVE = (
    *("1", "true", "yes", "y", "t", "churned", "churn", "left", "exited", "gone", "lost", "cancelled", "canceled"),
    *("closed", "attrited customer", "attrited", "bad", "default"),
)
OPPOSITE = {"1": "0", "0": "1", "true": "false", "false": "true", "yes": "no", "no": "yes"}
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
COMMA = re.compile(r"[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
OTHER_DATE = re.compile(r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}( [0-9:]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.Z+]+")
WHOSE = (
    r"(customer|client|account|user|member|subscriber|policy|person|contract|row"
    r"|kunden?|vertrags?|mitglieds?|konto|cliente?|abonn[ée]|contrat|contrato|cuenta|compte|klant)?"
)
ID = re.compile(rf"{WHOSE}[_ -]?(id|uid|uuid|guid|key|no|nr|num|number|nummer|n[uú]mero)\.?|{WHOSE[:-1]}", re.I)
CODE = re.compile(r"(?=\D*\d)[\w.-]{4,64}")
"""What may name a client, if no two rows share it, whatever the column is called; a person's name does not."""
DAY = re.compile(r"as_?of(_?date)?|snapshot(_?date)?|reporting_?date|observation_?date", re.I)
AFTERWARDS = re.compile(
    r"churn|cancel|exit|terminat|attrit|reason|clos(ed|ure|ing)|end_?date|left_|_left|lost|refund", re.I
)


@dataclass(frozen=True)
class Dialect:
    """How a file writes its fields."""

    delimiter: str
    decimal: str


@dataclass(frozen=True)
class Found:
    """One column: its type, and what was seen of it. ``left_out`` says why it is no feature, where it is none."""

    name: str
    type: str
    nullable: bool
    distinct: int
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    left_out: str = ""
    auc: float = 0.5  # how well the column alone tells those who left


@dataclass(frozen=True)
class Profile:
    """What a portfolio of such files would be. ``made_id``: no column names a client, so the id must be made."""

    columns: tuple[Found, ...]
    target: str
    positive: str
    negative: str
    unlabelled: int
    rows: int
    id: str
    made_id: bool = False
    as_of: str | None = None
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default_factory=tuple)


def dialect(header: str, lines: Sequence[str]) -> Dialect:
    """The delimiter that the header line has most of, and a decimal comma where numbers have one.

    A comma inside a number is only believed where another sign stands between the columns.
    """
    delimiter = max(",;\t|", key=header.count)
    if delimiter == ",":
        return Dialect(",", ".")
    columns = list(zip(*(line.rstrip("\r\n").split(delimiter) for line in lines), strict=False))
    values = [[value.strip().strip('"') for value in column if value.strip()] for column in columns]
    comma = any(any("," in one for one in found) and all(map(COMMA.fullmatch, found)) for found in values if found)
    return Dialect(delimiter, "," if comma else ".")


def profile(
    columns: Mapping[str, Sequence[str]],
    target: str,
    *,
    id: str | None = None,
    positive: str | None = None,
    decimal: str = ".",
) -> Profile:
    """Look at the columns of a table, all texts of one length, and say what they are.

    ``id`` and ``positive`` (the value of ``target`` of those who left) are found where they are not given.

    Raises:
        UsageError: no such column, or a target that is no yes or no.
    """
    _asked_for(columns, target, id)
    texts = {name: [value.strip() for value in values] for name, values in columns.items()}
    left, stayed, warnings = _outcomes(target, texts[target], positive)
    usable, ignored = _nameable(texts, target)
    warnings += [f"{name or '(no name)'}: ignored, {why}" for name, why in ignored.items()]
    found = [_found(name, texts[name], decimal) for name in usable]
    day = next(
        (each.name for each in found if each.type == "date" and not each.nullable and DAY.fullmatch(each.name)), None
    )
    named = id or _id(found, texts, day)
    key = named or _code(found, texts)
    outcomes = [1 if value == left else 0 if value == stayed else None for value in texts[target]]
    judged = [_judged(each, texts, outcomes, target, key, day, decimal) for each in found]
    made = key is None
    name = key or _free("client", columns)
    if key:
        judged = [
            replace(each, type="text" if each.type != "integer" else "integer") if each.name == key else each
            for each in judged
        ]
    if key != named:
        warnings.append(f"{key}: taken for what names a client: each row has a code of its own; else --id COLUMN")
    warnings += [*_of_rows(texts, outcomes, key, day), *_of_columns(judged, texts, key, day, decimal)]
    return Profile(
        tuple(judged),
        target,
        left,
        stayed,
        sum(each is None for each in outcomes),
        len(outcomes),
        name,
        made,
        day,
        tuple(ignored),
        tuple(warnings),
    )


def _asked_for(columns: Mapping[str, Sequence[str]], *names: str | None) -> None:
    for name in names:
        if name is not None and name not in columns:
            raise UsageError(f"no column {name!r}; the file has {', '.join(columns)}"[:600])
        if name is not None and (name.startswith("_") or len(name) > 64 or "\0" in name):
            raise UsageError(f"{name[:80]!r} begins with _, has more than 64 signs or a NUL in it: rename the column")


def _outcomes(target: str, values: Sequence[str], positive: str | None) -> tuple[str, str, list[str]]:
    """How the file writes those who left and those who stayed."""
    counts = Counter(value for value in values if value)
    if not counts:
        raise UsageError(f"{target}: every field is empty; a model needs clients whose outcome is known")
    if len(counts) > 2:
        some = ", ".join(repr(value) for value, _ in counts.most_common(5))
        raise UsageError(f"{target}: {len(counts)} different values ({some} …); an outcome is one of two")
    if len(counts) == 1:
        (only,) = counts
        if only.lower() not in OPPOSITE or (positive or only) not in (only, _like(only)):
            raise UsageError(f"{target}: every client has {only!r}; a model needs some that left and some that stayed")
        one = [f"{target}: every client has {only!r}: until others come there is nothing to learn from"]
        left = positive or (only if only.lower() in POSITIVE else _like(only))
        return left, only if left != only else _like(only), one
    if positive is not None and positive not in counts:
        raise UsageError(f"{target}: no client has {positive!r}; there are {' and '.join(map(repr, counts))}")
    known = sorted(
        (value for value in counts if value.lower() in POSITIVE), key=lambda value: POSITIVE.index(value.lower())
    )
    rarer = min(counts, key=lambda value: counts[value])
    left = positive or (known[0] if known else rarer)
    (stayed,) = counts.keys() - {left}
    guessed = (
        []
        if positive or known
        else [f"{target}: {left!r} is the rarer value and is taken for those who left; else --positive"]
    )
    return left, stayed, guessed


def _like(word: str) -> str:
    """The opposite of a yes or no, written the same way."""
    other = OPPOSITE[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[:1].isupper() else other


def _nameable(texts: Mapping[str, list[str]], target: str) -> tuple[list[str], dict[str, str]]:
    """The columns that a portfolio can name, and why the others cannot be."""
    usable, ignored, seen = [], {}, {target.lower()}
    for name, values in texts.items():
        if name == target:
            continue
        if not name or name.startswith("_") or len(name) > 64 or "\0" in name:
            ignored[name] = "its name is empty, begins with _, has more than 64 signs or a NUL in it"
        elif name.lower() in seen:
            ignored[name] = "another column's name differs only in small and capital letters"
        elif not any(values):
            ignored[name] = "it is empty in every row"
        else:
            usable.append(name)
            seen.add(name.lower())
    return usable, ignored


def _found(name: str, values: Sequence[str], decimal: str) -> Found:
    """One column's type, from its distinct values."""
    counts = Counter(values)
    nullable = counts.pop("", 0) > 0
    distinct = list(counts)
    words = {value.lower() for value in distinct}
    if words in ({"0", "1"}, {"true", "false"}, {"yes", "no"}):
        return Found(name, "boolean", nullable, len(distinct))
    if all(map(INTEGER.fullmatch, distinct)):
        numbers = [*map(int, distinct)]
        return Found(name, "integer", nullable, len(distinct), min(numbers), max(numbers))
    if all(map(_pattern(decimal).fullmatch, distinct)) and not any(map(_padded, distinct)):
        values_ = [_number(value, decimal) for value in distinct]
        if all(map(math.isfinite, values_)):
            return Found(name, "number", nullable, len(distinct), min(values_), max(values_))
    if all(map(DATE.fullmatch, distinct)):
        return Found(name, "date", nullable, len(distinct))
    if len(distinct) <= LEVELS and sum(counts.values()) >= LEAST_EACH * len(distinct):
        return Found(name, "category", nullable, len(distinct), values=tuple(sorted(distinct)))
    return Found(name, "text", nullable, len(distinct), left_out=f"{len(distinct):,} different texts")


def _pattern(decimal: str) -> re.Pattern[str]:
    return COMMA if decimal == "," else NUMBER


def _padded(value: str) -> bool:
    """Whether it is digits with a zero before them: a postcode or an account, not a number."""
    return value.isdigit() and value.startswith("0") and len(value) > 1


def _number(value: str, decimal: str) -> float:
    return float(value.replace(".", "").replace(",", ".") if decimal == "," else value)


def _id(found: Sequence[Found], texts: Mapping[str, list[str]], day: str | None) -> str | None:
    """The column whose name says that it names a client, if no two rows (of one day) share its value."""
    for each in found:
        if each.nullable or each.type not in ("integer", "text", "category") or not ID.fullmatch(each.name):
            continue
        keys = zip(texts[each.name], texts[day], strict=True) if day else iter(texts[each.name])
        rows = len(texts[each.name])
        if len({*keys}) == rows and not _counts_rows(each, texts[each.name]) | (each.name.lower() == "row"):
            return each.name
        if each.name.lower() not in ("no", "nr", "row", "num", "number") and len({*texts[each.name]}) == rows:
            return each.name
    return None


def _code(found: Sequence[Found], texts: Mapping[str, list[str]]) -> str | None:
    """The one column of texts that gives each row a code of its own; None where there are more."""
    codes = [
        each.name
        for each in found
        if each.type == "text" and not each.nullable and each.distinct == len(texts[each.name])
        if all(CODE.fullmatch(value) and not OTHER_DATE.fullmatch(value) for value in texts[each.name])
    ]
    return codes[0] if len(codes) == 1 else None


def _counts_rows(each: Found, values: Sequence[str]) -> bool:
    """Whether it only numbers the rows, from 0 or 1 on."""
    first = values[0]
    return (
        each.type == "integer"
        and first in ("0", "1")
        and all(int(value) == number for number, value in enumerate(values, int(first)) if value)
    )


def _judged(
    each: Found,
    texts: Mapping[str, list[str]],
    outcomes: Sequence[int | None],
    target: str,
    key: str | None,
    day: str | None,
    decimal: str,
) -> Found:
    """The column, with the reason where it must not be learnt from."""
    values = texts[each.name]
    if each.left_out or each.name in (key, day) or each.type == "date":
        return each
    if _counts_rows(each, values) and len(values) > 2:
        return replace(each, left_out="it only numbers the rows")
    if ID.fullmatch(each.name) and each.type in ("integer", "category") and each.distinct > len(values) / 2:
        return replace(each, left_out="it looks like an id, of which nothing can be learnt")
    if auc := _auc(each, values, outcomes, decimal):
        few = min(outcomes.count(0), outcomes.count(1)) < 10
        if auc >= SURE and not few:
            return replace(
                each, auc=auc, left_out=f"it tells {target} all by itself (AUC {auc:.3f}): is it known beforehand?"
            )
        return replace(each, auc=auc)
    return each


def _auc(each: Found, values: Sequence[str], outcomes: Sequence[int | None], decimal: str) -> float | None:
    """How well a column alone tells those who left, missing values being one of its levels; None without both."""
    groups: dict[str, list[int]] = {}
    for value, outcome in zip(values, outcomes, strict=True):
        if outcome is not None:
            groups.setdefault(value, [0, 0])[outcome] += 1
    stayed, left = (sum(counts[outcome] for counts in groups.values()) for outcome in (0, 1))
    if not stayed or not left:
        return None
    return max(_area(ordered, stayed, left) for ordered in _orders(each, groups, decimal))


def _orders(each: Found, groups: dict[str, list[int]], decimal: str) -> Iterator[list[list[int]]]:
    """The counts of stayed and left by value: in order of numbers either way, or of the levels' rates."""
    empty = groups.get("", [0, 0])
    present = [sum(counts[outcome] for value, counts in groups.items() if value) for outcome in (0, 1)]
    yield sorted((empty, present), key=_rate)
    if each.type in ("integer", "number"):
        rising = [
            groups[value] for value in sorted((v for v in groups if v), key=lambda value: _number(value, decimal))
        ]
        yield from (([empty, *rising]), [empty, *reversed(rising)])
    else:
        yield sorted(groups.values(), key=_rate)


def _rate(counts: Sequence[int]) -> float:
    return counts[1] / max(1, sum(counts))


def _area(ordered: Sequence[Sequence[int]], stayed: int, left: int) -> float:
    below = accumulate((counts[0] for counts in ordered), initial=0)
    return sum(counts[1] * (before + counts[0] / 2) for before, counts in zip(below, ordered, strict=False)) / (
        stayed * left
    )


def _of_rows(
    texts: Mapping[str, list[str]], outcomes: Sequence[int | None], key: str | None, day: str | None
) -> Iterator[str]:
    """What looks wrong with the rows."""
    left, stayed = outcomes.count(1), outcomes.count(0)
    if left + stayed < FEW or (min(left, stayed) < FEW_EACH and left and stayed):
        yield (
            f"few rows: {left + stayed:,} clients with an outcome, {left:,} of them left; a model will be made, but "
            f"little can be claimed below {FEW} clients and {FEW_EACH} of each outcome"
        )
    if key is None:
        equal = len(outcomes) - len({*zip(*texts.values(), strict=True)})
        said = f", and {equal:,} rows are equal to another" if equal else ""
        yield f"no column names a client{said}: an id is made from file and line; name a column by --id if there is one"
    elif (again := len(outcomes) - len({*texts[key]})) and day is None:
        yield f"{key}: {again:,} rows name a client that another row names too; of each client the last row counts"


def _of_columns(
    found: Sequence[Found], texts: Mapping[str, list[str]], key: str | None, day: str | None, decimal: str
) -> Iterator[str]:
    """What looks wrong with the columns."""
    for each in found:
        if each.name in (key, day):
            continue
        if each.left_out:
            yield f"{each.name}: not learnt from: {each.left_out}"
        elif each.auc >= CLOSE:
            yield f"{each.name}: it nearly tells the outcome by itself (AUC {each.auc:.3f}): is it known beforehand?"
        elif AFTERWARDS.search(each.name):
            yield f"{each.name}: by its name it may be known only when a client has left: then delete it from the YAML"
        if each.distinct == 1 and not each.nullable:
            yield f"{each.name}: the same in every row"
        yield from _odd_texts(each, texts[each.name], decimal)


def _odd_texts(each: Found, values: Sequence[str], decimal: str) -> Iterator[str]:
    if each.type not in ("text", "category"):
        return
    counts = Counter(value for value in values if value)
    odd = [value for value in counts if value.lower() in MISSING]
    if odd and all(map(_pattern(decimal).fullmatch, counts.keys() - set(odd))) and len(counts) > len(odd):
        rows = sum(counts[value] for value in odd)
        yield f"{each.name}: {rows:,} fields say {odd[0]!r} among numbers: leave them empty, and it is a number"
    elif all(map(OTHER_DATE.fullmatch, counts)):
        yield f"{each.name}: looks like a date, but dates are written 2026-01-31: taken as text"


def _free(name: str, taken: Mapping[str, Sequence[str]]) -> str:
    lower = {each.lower() for each in taken}
    return next(each for each in (name, *(f"{name}_{number}" for number in range(2, 2000))) if each not in lower)
