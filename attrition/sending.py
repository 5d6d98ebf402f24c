"""Sending messages to services, and asking a monitor's address. No trouble names an address, as it may hold secrets.

Until there is something to send, nothing but the standard library is imported.
"""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["KEPT", "Event", "deliver", "ping", "sent"]

PATIENCE = 10.0
"""Seconds that one service may take."""
KEPT = 50
"""Messages that wait for a service to be back; of more the newest are kept."""


@dataclass(frozen=True)
class Event:
    """One thing that happened: ``kind`` is failure, recovery, drift, promotion, refusal or staleness."""

    kind: str
    portfolio: str
    reason: str
    link: str = ""

    @property
    def title(self) -> str:
        """The subject of its message."""
        return f"Attrition: {self.portfolio}: {self.kind}"

    @property
    def text(self) -> str:
        """The whole message."""
        return f"{self.reason}\n{self.link}".strip()


def sent(to: Sequence[str], messages: Sequence[Event], late: int) -> tuple[list[Event], list[str]]:
    """Send what there is; what could not be delivered to anybody, and what was wrong.

    The first ``late`` of them could not be delivered before. What some took is not kept for the others.
    """
    wrong: dict[str, None] = {}
    for number, event in enumerate(messages):
        note = "\n(This message could not be delivered at the time.)" if number < late else ""
        reached, troubles = deliver(to, event.title, event.text + note)
        wrong |= dict.fromkeys(troubles)
        if troubles and not reached:  # the others would fare no better
            return [*messages[number:]][-KEPT:], [*wrong]
    return [], [*wrong]


def deliver(to: Sequence[str], title: str, text: str) -> tuple[int, list[str]]:
    """Send one message to each service; how many took it, and what is to be said of the others, without addresses."""
    if not to:
        return 0, []
    import apprise

    logging.getLogger("apprise").disabled = True  # it may name addresses, which hold passwords
    reached, troubles = 0, []
    for number, url in enumerate(to, 1):
        scheme = url.partition("://")[0][:20]
        # A plain address is a webhook: apprise says json for what others call that.
        found = apprise.Apprise.instantiate(_hook(url), suppress_exceptions=True)
        if found is None:
            troubles.append(f"to: number {number} ({scheme}) is no address that apprise knows")
            continue
        found.socket_connect_timeout = found.socket_read_timeout = PATIENCE
        try:
            taken = found.notify(body=text, title=title, body_format="text")
        except Exception:
            taken = False
        if taken:
            reached += 1
        else:
            troubles.append(f"to: number {number} ({scheme}) did not take the message")
    return reached, troubles


def _hook(url: str) -> str:
    for plain, json_ in (("https://", "jsons://"), ("http://", "json://")):
        if url.startswith(plain):
            return json_ + url.removeprefix(plain)
    return url


def ping(url: str) -> str:
    """Ask for an address, so that who listens knows that ticks end well; what went wrong, without the address."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - settings allow http(s) only
            answer.read(1)
    except (OSError, ValueError) as error:
        return f"it could not be told ({type(error).__name__})"
    return ""
