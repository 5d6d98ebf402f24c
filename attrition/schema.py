"""The types of requests and answers, made from a portfolio's columns: what is decoded, and what is described.

One source for both: the types that refuse a wrong value are those of ``/openapi.json``.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from attrition.column_params import Column
from attrition.params import Portfolio

__all__ = ["LONGEST", "Answer", "Field", "Identity", "Prediction", "Predictions", "fields", "record", "table"]

LONGEST = 1000
"""Signs in one text or category."""
BITS = 2**63
"""Whole ids lie below it, either way."""

Id = str | int | float | bool | None  # a date is written as text
Probability = Annotated[float, Meta(ge=0, le=1)]
Band = Literal["high", "medium", "low"]


class Identity(msgspec.Struct, frozen=True):
    """The model that an answer speaks of."""

    version: str
    sha256: str


class Prediction(msgspec.Struct, gc=False):
    """What is said of one client; ``id`` where one was sent, ``reasons`` where they were asked for."""

    probability: Probability
    decision: bool
    band: Band
    id: Id | UnsetType = UNSET
    reasons: list[str] | UnsetType = UNSET


class Predictions(msgspec.Struct):
    """The same of many clients, column by column, as they were sent."""

    probability: list[Probability]
    decision: list[bool]
    band: list[Band]
    id: list[Id] | UnsetType = UNSET
    reasons: list[list[str]] | UnsetType = UNSET


class Answer(msgspec.Struct):
    """Predictions in the order of the rows, and whose they are."""

    portfolio: str
    run: Annotated[str, Meta(description="that trained the model")]
    model: Identity
    threshold: Probability
    predictions: list[Prediction] | Predictions


class Field(msgspec.Struct, frozen=True):
    """One column of a request: its type, whether the model can do without it, and what it holds, in words."""

    name: str
    type: Any
    needed: bool
    words: str


def fields(portfolio: Portfolio, required: Collection[str]) -> list[Field]:
    """The columns that a request may have, in the portfolio's order; ``required`` are those the model reads."""
    return [
        Field(name, _type(portfolio, name), name in required and not column.nullable, _expected(column))
        for name, column in portfolio.columns.items()
    ]


def record(given: Collection[Field]) -> type[msgspec.Struct]:
    """The type of one row: an attribute a field, in order, named by its place as a column's name may be any text."""
    return _struct("Record", [(field, field.type) for field in given])


def table(given: Collection[Field]) -> type[msgspec.Struct]:
    """The type of many rows as columns, each a list."""
    return _struct("Columns", [(field, list[_each(field)]) for field in given])  # type: ignore[misc]


def _expected(column: Column) -> str:
    """What a column holds, in words; never what was found there."""
    if column.type in ("integer", "number"):
        kind = "a whole number" if column.type == "integer" else "a number"
        if column.min is not None and column.max is not None:
            return f"{kind} from {column.min:g} to {column.max:g}"
        low = "" if column.min is None else f" of at least {column.min:g}"
        return kind + (low if column.max is None else f" of at most {column.max:g}")
    if column.values:
        told = ", ".join(column.values)
        return f"one of {told}" if len(told) <= 200 else f"one of the {len(column.values)} values of the portfolio"
    least = "1 to" if column.type == "category" else "at most"
    words = {"boolean": "true or false", "date": "a date: YYYY-MM-DD"}
    return words.get(column.type, f"text of {least} {LONGEST} signs")


def _each(field: Field) -> Any:
    return field.type if field.needed else field.type | None


def _struct(name: str, typed: list[tuple[Field, Any]]) -> type[msgspec.Struct]:
    places = {f"f{place}": field.name for place, (field, _) in enumerate(typed)}
    made: list[Any] = [
        (place, kind) if field.needed else (place, kind | None, None)
        for place, (field, kind) in zip(places, typed, strict=True)
    ]
    return msgspec.defstruct(name, made, rename=places, kw_only=True, forbid_unknown_fields=True, gc=False)


def _type(portfolio: Portfolio, name: str) -> Any:
    """The type of a column's values that are there."""
    column = portfolio.columns[name]
    known: dict[str, Any] = {"title": portfolio.label(name)}
    if column.type in ("integer", "number"):
        if column.type == "integer" and name == portfolio.id:  # echoed to its last digit, so no float
            return Annotated[int, Meta(ge=-BITS, le=BITS - 1, **known)]
        whole = 1 if column.type == "integer" else None  # 3.0 is a whole number too, as JSON Schema has it
        return Annotated[float, Meta(ge=column.min, le=column.max, multiple_of=whole, **known)]
    if column.type == "boolean":
        return Annotated[bool | Literal[0, 1], Meta(**known)]
    if column.type == "date":
        return Annotated[date, Meta(**known)]
    if column.values:
        return Annotated[Literal.__getitem__(tuple(column.values)), Meta(**known)]
    return Annotated[str, Meta(min_length=int(column.type == "category"), max_length=LONGEST, **known)]
