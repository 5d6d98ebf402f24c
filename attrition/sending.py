"""Sending messages to services, and asking a monitor's address. No trouble names an address, as it may hold secrets.

Until there is something to send, nothing but the standard library is imported.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["HOOK", "KEPT", "Event", "Services", "ping"]

HOOK = ("http://", "https://")
"""How an address begins that is asked for as it stands; any other one is apprise's."""
PATIENCE = 10.0
"""Seconds that a service may take in one tick, from the first byte to the last, without taking a message."""
LEFT_ALONE = 30.0
"""Seconds after which a socket is closed that nobody waits for any more."""
LATE = "no whole answer within {:.1f} s"
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


class Services:
    """Those that one tick sends messages to. Each may take ``PATIENCE`` seconds in all for what it does not take.

    Then it is left out: or each portfolio would wait anew for one that is silent.
    """

    def __init__(self, to: Sequence[str]):
        self._to = tuple(to)
        self._left = [PATIENCE for _ in to]

    def sent(self, messages: Sequence[Event], late: int) -> tuple[list[Event], list[str]]:
        """Send what there is; what could not be delivered to anybody, and what was wrong.

        The first ``late`` of them could not be delivered before. What some took is not kept for the others.
        """
        wrong: dict[str, None] = {}
        for number, event in enumerate(messages):
            note = "\n(This message could not be delivered at the time.)" if number < late else ""
            reached, troubles = self.deliver(event.title, event.text + note)
            wrong |= dict.fromkeys(troubles)
            if troubles and not reached:  # the others would fare no better
                return [*messages[number:]][-KEPT:], [*wrong]
        return [], [*wrong]

    def deliver(self, title: str, text: str) -> tuple[int, list[str]]:
        """Send one message to each; how many took it, and what is to be said of the others, without addresses."""
        troubles = []
        for number, url in enumerate(self._to):
            if wrong := self._delivered(number, title, text):
                troubles.append(f"to: number {number + 1} ({url.partition('://')[0][:20]}) {wrong}")
        return len(self._to) - len(troubles), troubles

    def _delivered(self, number: int, title: str, text: str) -> str:
        url, left = self._to[number], self._left[number]
        if left <= 0:
            return "is left out until the next tick: it did not answer in this one"
        send, begun = _posted if url.startswith(HOOK) else _by_apprise(), time.monotonic()
        wrong = _within(left, lambda: send(url, title, text))
        if wrong is None:
            self._left[number] = 0.0
            return f"did not take the message ({LATE.format(left)})"
        if wrong:
            self._left[number] -= time.monotonic() - begun
        return wrong


def ping(url: str) -> str:
    """Ask for an address, so that who listens knows that ticks end well; what went wrong, without the address."""
    wrong = _within(PATIENCE, lambda: _asked(url))
    if wrong is None:
        wrong = LATE.format(PATIENCE)
    return f"it could not be told ({wrong})" if wrong else ""


def _posted(url: str, title: str, text: str) -> str:
    """A webhook gets what apprise would send it; but apprise drops what it does not know of a query."""
    about = {"version": "1.0", "title": title, "message": text, "attachments": [], "type": "info"}
    wrong = _asked(url, json.dumps(about).encode())
    return f"did not take the message ({wrong})" if wrong else ""


def _by_apprise() -> Callable[[str, str, str], str]:
    """What sends the rest; apprise is imported before, which takes long, and is not the service's time."""
    import apprise

    logging.getLogger("apprise").disabled = True  # it may name addresses, which hold passwords

    def notified(url: str, title: str, text: str) -> str:
        found = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if found is None:
            return "is no address that apprise knows"
        found.socket_connect_timeout = found.socket_read_timeout = LEFT_ALONE
        try:
            taken = found.notify(body=text, title=title, body_format="text")
        except Exception:
            taken = False
        return "" if taken else "did not take the message"

    return notified


def _within(seconds: float, call: Callable[[], str]) -> str | None:
    """What ``call`` says is wrong, which may be nothing; None where it was not over in time."""
    said: list[str] = []
    # A time limit of a socket is one for each piece: a service that drips would be waited for without end.
    asking = threading.Thread(target=lambda: said.append(call()), daemon=True)
    asking.start()
    asking.join(seconds)
    return said[0] if said else None


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: what is posted would get lost on the way."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _asked(url: str, body: bytes | None = None) -> str:
    """GET an address, or POST to it; what went wrong, in words that do not name it."""
    try:
        opener = urllib.request.build_opener(*([_Stay] if body else []))
        with opener.open(_request(url, body), timeout=LEFT_ALONE) as answer:
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
