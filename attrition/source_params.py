"""A source of drops, as a portfolio's YAML names it: files behind a URL, or a query of a PostgreSQL server.

Secrets never stand in the YAML: it has the names of environment variables that hold them.
"""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import unquote

from pydantic import Field, model_validator

from attrition.column_params import Strict

__all__ = ["Source"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]  # a value with a password in it does not match
SPAN = re.compile(r"([0-9]{1,5})([dhm])")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}
KIND = re.compile(r"[a-z][a-z0-9+._-]*(://|::)|file:/", re.IGNORECASE)
PATHS = {"file", "local", "memory", "zip", "tar", "libarchive"}
"""Kinds of URL that begin with a path, not with who is asked."""
USERS = {"sftp", "ssh", "smb", "hdfs", "arrow_hdfs", "webhdfs", "root", "abfs", "abfss", "az", "adl", "oci", "ocilake"}
"""Kinds in which a user's or a container's name may stand before an @; in others it may be a token."""
HIDDEN = re.compile(r"[^/@]*:(?![0-9]*(?:/|$))[^@]*@")
"""A password with a / in it, which would else pass for a path: no port stands before that /."""
SIGNED = {"auth", "jwt", "key", "keypairid", "pass", "pw", "pwd", "sas", "sig"}
SECRETS = (
    *("accessid", "accesskey", "apikey", "authorization", "credential", "passphrase", "passwd", "password"),
    *("privatekey", "secret", "signature", "token"),
)
"""What a query's key that has a secret is called, or has in its name; in small letters, with nothing between them."""


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
        if not KIND.match(url):
            raise ValueError("url: begin with what kind it is: file:///folder, s3://bucket/folder/*.csv")
        into = "into a variable, as JSON, and name that under options"
        if "::" in url:
            into += ", there under the kind that wants it, as https"
        for part in url.split("::"):
            if _may_hold_password(part):
                raise ValueError(f"url: no password in the YAML, and what stands before an @ may be one: put it {into}")
            if found := _secret_key(part):
                raise ValueError(f"url: no secret in the YAML, and {found} in a query is one: put it {into}")

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


def _may_hold_password(part: str) -> bool:
    """Whether a part of a URL has a password, or what may be one, before an @.

    By hand: to `urlsplit` a # or a / in a password is its end, and its errors repeat what they were given.
    """
    kind, _, rest = part.partition("://") if "://" in part else ("", "", part)
    if (kind := kind.lower()) not in PATHS:
        rest = rest.lstrip("/")
    user, there, _ = rest.partition("/")[0].rpartition("@")
    if there:
        return ":" in unquote(user) or kind not in PATHS | USERS
    return HIDDEN.match(rest) is not None


def _secret_key(part: str) -> str | None:
    """Of the keys in a URL's query the first that goes with a secret, as it is known here."""
    _, *asked = re.split(r"[?#]", part, maxsplit=1)
    for pair in re.split(r"[?#&;]", "".join(asked)):
        key, there, _ = pair.partition("=")
        plain = re.sub(r"[^a-z0-9]", "", unquote(key).lower())
        if there and (plain in SIGNED or any(word in plain for word in SECRETS)):
            return next((word for word in SECRETS if word in plain), plain)
    return None
