"""What a row of a client holds, as a portfolio's YAML says it: columns, the outcome, what a header may leave out."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Column", "Header", "Strict", "Target"]


class Strict(BaseModel):
    """Keys of a YAML: none unknown, each of its type, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Column(Strict):
    """One column of a client's row."""

    type: Literal["integer", "number", "category", "boolean", "text", "date"]
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    values: list[str] | None = None  # the categories allowed; none: any
    label: str | None = None  # how a person calls it; none: the name with spaces
    empty: Literal["missing", "text"] = "missing"  # what an empty field of a text or a category is
    leading_zeros: Literal["number", "refuse"] = "number"  # of a number: 007 is 7, or a fault
    made: Literal["line"] | None = None  # of an id that no file has: it is made from the file and the line

    @model_validator(mode="after")
    def _checks(self) -> Self:
        numeric = self.type in ("integer", "number")
        if self.type not in ("text", "category") and self.empty == "text":
            raise ValueError(f"empty: text belongs to a text or a category, not to a {self.type}")
        if not numeric and self.leading_zeros == "refuse":
            raise ValueError(f"leading_zeros belong to an integer or a number: a {self.type} keeps them as they stand")
        if not numeric and (self.min is not None or self.max is not None):
            raise ValueError(f"min and max belong to an integer or a number, not to a {self.type}")
        if self.type != "category" and self.values is not None:
            raise ValueError(f"values belong to a category, not to a {self.type}")
        if any(math.isnan(bound) for bound in (self.min, self.max) if bound is not None):
            raise ValueError("min and max must be numbers")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: no value lies between")
        if self.values is not None and (not self.values or len({*self.values}) < len(self.values)):
            raise ValueError("values: name each category that is allowed, once")
        for value in self.values or []:
            if value != value.strip() or (not value and self.empty == "missing"):
                raise ValueError(f"values: {value!r} cannot be met: fields are read without the spaces around them")
        return self


class Target(Strict):
    """The outcome to predict, and how the file writes it."""

    column: str
    positive: str = "1"
    negative: str = "0"
    unlabelled: Literal["accept", "quarantine"] = "accept"  # a row, or a file, without an outcome

    @model_validator(mode="after")
    def _checks(self) -> Self:
        for key, value in (("positive", self.positive), ("negative", self.negative)):
            if value != value.strip() or not value:
                raise ValueError(
                    f"{key}: {value!r} cannot be met: fields are read without the spaces around them, and an empty one "
                    "is no outcome"
                )
        if self.positive == self.negative:
            raise ValueError(f"positive and negative are both {self.positive!r}: which clients left cannot be told")
        return self

    @property
    def words(self) -> str:
        """What a file writes for a client who left, and for one who stayed."""
        return f"{self.positive!r} and {self.negative!r}"


class Header(Strict):
    """What may differ between a file's header and the YAML: told in a note, or the whole file set aside."""

    order: Literal["any", "refuse"] = "any"
    extra: Literal["report", "refuse"] = "report"
    missing: Literal["report", "refuse"] = "report"  # of a column that is not nullable it is always refused
    case: Literal["exact", "ignore"] = "exact"  # small and capital letters
