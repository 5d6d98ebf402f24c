"""A source of drops, as a portfolio's YAML names it: files behind a URL, or a query of a PostgreSQL server.

Secrets never stand in the YAML: it has the names of environment variables that hold them.
"""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from attrition.column_params import Strict

__all__ = ["Source"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]  # a value with a password in it does not match
SPAN = re.compile(r"([0-9]{1,5})([dhm])")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Source(Strict):
    """Exactly one of ``url`` and ``postgres``, with the keys that belong to it."""

    name: Name
    url: str | None = None  # as fsspec reads it: file://, s3://, …; a file, a folder, or a pattern with * in it
    options: Variable | None = None  # variable with the file system's options as JSON
    postgres: Variable | None = None  # variable with the connection string
    query: Annotated[str, Field(min_length=1, max_length=100_000)] | None = None
    watermark: Annotated[str, Field(min_length=1, max_length=63)] | None = None  # a column of the query that only grows
    overlap: str | int | None = None  # how far below the watermark is read again: 2d, 12h, 30m, or a number

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if (self.url is None) == (self.postgres is None):
            raise ValueError("a source has either url or postgres")
        if self.url is not None:
            self._checks_url(self.url)
            others: tuple[str, ...] = ("query", "watermark", "overlap")
        else:
            others = ("options",)
            if self.query is None:
                raise ValueError("query is missing: what to ask the PostgreSQL server")
            if (self.watermark is None) != (self.overlap is None):
                raise ValueError("watermark and overlap come together: how far below the watermark rows may come late")
            self._checks_overlap()
        if wrong := next((key for key in others if getattr(self, key) is not None), None):
            raise ValueError(f"{wrong} does not belong to a source with {'url' if self.url else 'postgres'}")
        return self

    @staticmethod
    def _checks_url(url: str) -> None:
        parts = urlsplit(url)
        if not parts.scheme:
            raise ValueError("url: begin with what kind it is: file:///folder, s3://bucket/folder/*.csv")
        if parts.password or (parts.scheme in ("http", "https") and parts.username):
            raise ValueError(
                "url: no password in the YAML: put it into a variable, as JSON, and name that under options"
            )

    def _checks_overlap(self) -> None:
        if isinstance(self.overlap, int) and not isinstance(self.overlap, bool) and self.overlap >= 0:
            return
        if self.overlap is not None and not (isinstance(self.overlap, str) and SPAN.fullmatch(self.overlap)):
            raise ValueError("overlap: write a time as 2d, 12h or 30m, or a whole number for a watermark of numbers")

    @property
    def interval(self) -> str | None:
        """The overlap as an interval of PostgreSQL; None where it is a number."""
        found = SPAN.fullmatch(self.overlap) if isinstance(self.overlap, str) else None
        return f"{found[1]} {UNITS[found[2]]}" if found else None
