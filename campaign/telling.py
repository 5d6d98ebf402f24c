"""What people are told of a tick that ended badly: by its exit status, by the account of its run, and by an alert."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from attrition.book import Book
from attrition.book_file import Unreadable
from attrition.home import Place
from campaign import sink

__all__ = ["Ticked", "over", "runs", "told"]

REASON = re.compile(r"failed (?:in stage \w+|between two stages): \w+")
"""How the reason of a run that failed names its error."""
SAID = ("Errno", "error", "Error", "the next tick asks again")
"""One of these is said where no run tells what went wrong."""


@dataclass(frozen=True)
class Ticked:
    """How a tick ended, and what must be known to judge what it told; killed unless a status is given."""

    status: int = -9
    said: str = ""
    before: frozenset[str] = frozenset()  # runs that were published when it began
    lasting: bool = False  # its fault stayed to its end, so that no account could be written
    deaf: bool = False  # and was there when it first looked whom to tell
    again: bool = False  # its fault came twice, and may have kept the book from knowing how the run ended
    alone: bool = True  # no other runner was at work, which may close its run for it
    unsaid: bool = False  # its log was on the disk that was full: alerts and accounts are all that tells


def runs(place: Place) -> frozenset[str]:
    """Those that are published."""
    return frozenset(path.name for path in place.executed.glob("[12]*"))


def told(place: Place, ticked: Ticked) -> list[str]:
    """What is wrong with what a tick left people to read, before any other tick.

    An exit of 0 claims that nothing is left to do. With any other one the run that it began has failed, and says of
    what; where it began none, or had completed it, stderr does. And somebody is alerted.
    """
    from campaign.kit import owed

    if ticked.status == 0:
        return ["it ended with 0, and work is left"] if owed(place) else []
    if ticked.status < 0:  # killed: the next tick tells of it
        return []
    faults = list(_unexplained(place, ticked))
    if not ticked.deaf and not sink.heard(place)["failure"]:
        faults.append(f"it ended with {ticked.status}, and nobody is alerted: {ticked.said[-200:]}")
    return faults


def _unexplained(place: Place, ticked: Ticked) -> Iterator[str]:
    begun = _begun(place, ticked)
    said = ticked.unsaid or any(word in ticked.said for word in SAID)
    unable = ticked.lasting or ticked.again
    fine = {"completed"} | ({"running"} if unable else set()) | (set() if ticked.alone else {"interrupted"})
    if not said and not set(begun.values()) & {"failed", "interrupted"}:
        yield f"it ended with {ticked.status} and nobody is told why: {ticked.said[-200:]}"
    for run, status in begun.items():
        if status not in fine | {"failed"}:
            yield f"it ended with {ticked.status}, and {run}, which it began, is {status}: {ticked.said[-200:]}"
        elif status == "failed" and not REASON.search(_reason(place, run)):
            yield f"{run} failed, and its account does not say of what: {_reason(place, run)}"


def _begun(place: Place, ticked: Ticked) -> dict[str, str]:
    """The runs that it began, and how each stands in the book; none where it could not roll its last commit back."""
    try:
        with Book.open(place.book, read_only=True) as book:
            known = book.runs(limit=10_000)
    except (Unreadable, FileNotFoundError):
        return {}
    return {line["run"]: line["status"] for line in known if line["run"] not in ticked.before}


def _reason(place: Place, run: str) -> str:
    path = place.executed / run / "run.json"
    return str(json.loads(path.read_text())["reason"]) if path.exists() else "it is not published"


def over(place: Place) -> list[str]:
    """Whoever heard that ticks fail has heard that they end well again."""
    heard = sink.heard(place)
    return ["nobody is told that it is over"] if heard["failure"] and not heard["recovery"] else []
