"""Who may ask: the names that the API answers to, and the token that it wants where other machines can reach it."""

from __future__ import annotations

import hmac
import os
import re
from dataclasses import dataclass

from attrition import secret
from attrition.body import Refused
from attrition.home import UsageError

__all__ = ["Guard", "is_loopback"]

LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
SHORTEST = 16
"""Signs of a token; shorter ones can be guessed."""
OPEN = ("/livez",)
"""Paths that need no token: they tell nothing."""


@dataclass(frozen=True)
class Guard:
    """The names (lower case, without a port) beside this machine's own, and the token; None: none is wanted."""

    hosts: frozenset[str] = frozenset()
    token: str | None = None

    @classmethod
    def of_environment(cls) -> Guard:
        """As ``ATTRITION_HOSTS`` (names with commas between) and ``ATTRITION_TOKEN`` or ``ATTRITION_TOKEN_FILE`` say.

        Raises:
            UsageError: the token cannot be read, or is short.
        """
        names = os.environ.get("ATTRITION_HOSTS", "").lower().split(",")
        token = secret.read("ATTRITION_TOKEN")
        if token is not None and (len(token) < SHORTEST or not token.isascii()):
            raise UsageError(f"ATTRITION_TOKEN: at least {SHORTEST} signs of ASCII, such as openssl rand -hex 32 gives")
        return cls(frozenset(name.strip() for name in names if name.strip()), token)

    def admit(self, host: str, path: str, authorization: str) -> None:
        """Let a request pass by its headers Host and Authorization.

        Raises:
            Refused: 403 it asks for another name: a page elsewhere whose name resolves to this machine (DNS
                rebinding) sends its own; 401 it lacks the token.
        """
        if not LOOPBACK.fullmatch(host) and _name(host) not in self.hosts:
            raise Refused(403, "this API does not answer to that name; ATTRITION_HOSTS lists the names it has")
        if self.token is None or path in OPEN:
            return
        kind, _, given = authorization.partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
            raise Refused(401, "send the token: Authorization: Bearer TOKEN")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address to bind to."""
    return address in ("127.0.0.1", "localhost", "::1")


def _name(host: str) -> str:
    return re.sub(r":[0-9]{1,5}$", "", host).lower()
