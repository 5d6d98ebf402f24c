"""What several pages show alike: a decision, a run in a list, a client, a measure with its interval."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attrition.pages.frame import figure, mapping, number, text
from attrition.pages.urls import Urls

__all__ = [
    "COUNTS",
    "MEASURES",
    "Client",
    "Crumbs",
    "Fact",
    "Quiet",
    "Row",
    "client",
    "interval",
    "measured",
    "row",
    "sentences",
]

Crumbs = tuple[tuple[str, str], ...]
COUNTS = {"in": "rows in", "ingested": "ingested", "duplicates": "duplicates", "quarantined": "quarantined"}
MEASURES = {
    "brier": ("error (Brier)", "lower"),
    "log_loss": ("log loss", "lower"),
    "auc": ("AUC", "higher"),
    "f1": ("F1", "higher"),
}


@dataclass(frozen=True)
class Quiet:
    """The ticks since a run that found nothing to do."""

    since: Any  # the first of them
    last: Any  # the last of them
    ticks: Any  # how many


@dataclass(frozen=True)
class Row:
    """One run in a list."""

    run: str  # its name
    href: str  # of its page
    compare: tuple[str, str]  # (words, address) of it beside another; empty on the disk
    status: str  # how it ended
    manual: bool  # whether a person asked for it
    decision: str  # empty until one is made
    lead: str  # the reason's first sentence
    rest: str  # the others
    at: Any  # when it began
    seconds: Any  # that its stages took
    rows: tuple[tuple[str, Any], ...]  # (what, how many)
    model: str  # version that served at its end
    quiet: Quiet | None  # the ticks after it


@dataclass(frozen=True)
class Client:
    """One client in a list."""

    rank: Any  # among all current clients, 1 is the highest risk
    id: str  # as the portfolio names it
    shown: tuple[str, ...]  # values of the columns to show
    risk: float | None  # probability of leaving
    band: str  # high, medium or low
    gain: float | None  # what a call is expected to bring
    as_of: str  # the day that is known of it
    change: float | None  # of the risk in a week; None where nobody knows
    note: str  # why it is not to be called; empty where it is
    reasons: tuple[str, ...]  # what moves its risk most


@dataclass(frozen=True)
class Fact:
    """One thing that two runs, or two models, can be compared by."""

    key: str  # what it is, for programs
    label: str  # what it is, for people
    group: str  # under which heading
    value: Any  # number or text
    low: float | None  # of its 95% interval
    high: float | None  # of its 95% interval
    better: str  # lower, higher, or empty where neither is


def sentences(reason: object) -> tuple[str, str]:
    """A reason's first sentence, and the others."""
    first, _, rest = re.sub(r"(?<=[.!?]) (?=[A-Z])", "\0", text(reason).replace("\0", ""), count=1).partition("\0")
    return first, rest


def row(urls: Urls, line: Mapping[str, Any], chosen: str = "", here: str = "") -> Row:
    """A run, from its line in the book; in a list of the API, at ``here``, one is chosen to be put beside another."""
    name = text(line.get("run"))
    compare = ("compare with …", f"{here}{'&' if '?' in here else '?'}with={name}") if here else ("", "")
    if chosen:
        compare = (f"beside {chosen}", urls.compare(chosen, name)) if chosen != name else ("", "")
    counts, quiet = mapping(line.get("rows")), mapping(line.get("quiet"))
    lead, rest = sentences(line.get("reason"))
    seconds = [each for each in map(number, mapping(line.get("seconds")).values()) if each is not None]
    return Row(
        run=text(line.get("run")),
        href=urls.run(line.get("run")),
        compare=compare,
        status=text(line.get("status")),
        manual=line.get("manual") is True,
        decision=text(line.get("decision")),
        lead=lead,
        rest=rest,
        at=line.get("started_at"),
        seconds=sum(seconds) or None,
        rows=tuple((label, counts[key]) for key, label in COUNTS.items() if counts.get(key)),
        model=text(line.get("model")),
        quiet=Quiet(quiet.get("since"), quiet.get("last"), quiet.get("ticks")) if quiet.get("ticks") else None,
    )


def client(rank: object, each: Mapping[str, Any], columns: Sequence[str]) -> Client:
    """A client of a list."""
    shown = mapping(each.get("shown"))
    reasons = each.get("reasons")
    note = "has left" if each.get("gone") is True else "held out" if each.get("hold_out") is True else ""
    return Client(
        rank=rank,
        id=text(each.get("id")),
        shown=tuple(text(shown.get(name)) for name in columns),
        risk=number(each.get("probability")),
        band=text(each.get("band")),
        gain=number(each.get("gain")),
        as_of=text(each.get("as_of")),
        change=number(each.get("change")),
        note=note,
        reasons=tuple(map(text, reasons if isinstance(reasons, list | tuple) else [reasons])) if reasons else (),
    )


def interval(measure: object) -> tuple[float | None, float | None, float | None]:
    """Value, low and high."""
    found = mapping(measure)
    value, low, high = (number(found.get(key)) for key in ("value", "low", "high"))
    return value, low, high


def measured(measure: object) -> str:
    """A measure with its interval, in words."""
    value, low, high = interval(measure)
    if value is None:
        return "undefined"
    return figure(value) if low is None or high is None else f"{figure(value)} ({figure(low)} to {figure(high)})"
