"""Sending messages to services, and asking a monitor's address. No trouble names an address, as it may hold secrets.

Until there is something to send, nothing but the standard library is imported.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["HOOK", "KEPT", "Event", "deliver", "ping", "sent"]

HOOK = ("http://", "https://")
"""How an address begins that is asked for as it stands; any other one is apprise's."""
PATIENCE = 10.0
"""Seconds that one service may take, from the first byte to the last."""
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
    troubles = []
    for number, url in enumerate(to, 1):
        wrong = _posted(url, title, text) if url.startswith(HOOK) else _notified(url, title, text)
        if wrong:
            troubles.append(f"to: number {number} ({url.partition('://')[0][:20]}) {wrong}")
    return len(to) - len(troubles), troubles


def ping(url: str) -> str:
    """Ask for an address, so that who listens knows that ticks end well; what went wrong, without the address."""
    wrong = _within(PATIENCE, lambda: _asked(url))
    return f"it could not be told ({wrong})" if wrong else ""


def _posted(url: str, title: str, text: str) -> str:
    """A webhook gets what apprise would send it; but apprise drops what it does not know of a query."""
    about = {"version": "1.0", "title": title, "message": text, "attachments": [], "type": "info"}
    wrong = _within(PATIENCE, lambda: _asked(url, json.dumps(about).encode()))
    return f"did not take the message ({wrong})" if wrong else ""


def _notified(url: str, title: str, text: str) -> str:
    import apprise

    logging.getLogger("apprise").disabled = True  # it may name addresses, which hold passwords
    found = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if found is None:
        return "is no address that apprise knows"
    found.socket_connect_timeout = found.socket_read_timeout = PATIENCE
    try:
        taken = found.notify(body=text, title=title, body_format="text")
    except Exception:
        taken = False
    return "" if taken else "did not take the message"


def _within(seconds: float, call: Callable[[], str]) -> str:
    """What ``call`` says is wrong, or that it was not over in time."""
    said: list[str] = []
    # A time limit of a socket is one for each piece: a service that drips would be waited for without end.
    asking = threading.Thread(target=lambda: said.append(call()), daemon=True)
    asking.start()
    asking.join(seconds)
    return said[0] if said else f"no whole answer within {seconds:g} s"


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: what is posted would get lost on the way."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _asked(url: str, body: bytes | None = None) -> str:
    """GET an address, or POST to it; what went wrong, in words that do not name it."""
    try:
        opener = urllib.request.build_opener(*([_Stay] if body else []))
        with opener.open(_request(url, body), timeout=PATIENCE) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        with error:
            return f"status {error.code}"
    except Exception as error:  # also http.client's own, of an answer that is none
        reason = getattr(error, "reason", None)
        return type(reason if isinstance(reason, Exception) else error).__name__
    return ""


def _request(url: str, body: bytes | None) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    plain = urllib.parse.quote(parts._replace(netloc=host).geturl(), safe="%!#$&'()*+,/:;=?@[]~")
    request = urllib.request.Request(plain, body, {"User-Agent": "Attrition"})  # noqa: S310 - settings allow http(s) only
    if body:
        request.add_header("Content-Type", "application/json")
    if login:  # which is not for whoever it may be redirected to
        user, _, password = map(urllib.parse.unquote, login.partition(":"))
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    return request
