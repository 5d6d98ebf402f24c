"""What all pages share: the template environment, its filters and its one style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from attrition.pages.clean import plain

__all__ = ["CSP", "LOADER", "elapsed", "furnish", "mapping", "render", "text"]

CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The content security policy in every page, for the day that something else fails."""

_TEMPLATES = Path(__file__).with_name("templates")
LOADER = FileSystemLoader(_TEMPLATES)

_TONES = {
    "good": {"completed", "held", "promoted", "proven"},
    "bad": {"failed", "harmed"},
    "warn": {"interrupted", "rolled_back", "not proven yet"},
    "busy": {"running", "on_trial", "manual"},
}
_TONE = {state: tone for tone, states in _TONES.items() for state in states}


def furnish(environment: Environment) -> Environment:
    """Make an environment ours, before its first template: escaping on, a missing name an error."""
    environment.autoescape = True
    environment.undefined = StrictUndefined
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(count=count, seconds=seconds, tone=tone, when=when, words=words)
    style = _TEMPLATES.joinpath("style.css").read_text(encoding="utf-8")
    environment.globals.update(csp=CSP, style=Markup(style))  # noqa: S704 - our own file
    return environment


@cache
def _environment() -> Environment:
    return furnish(Environment(loader=LOADER, autoescape=True))


def render(template: str, page: object) -> str:
    """One page as HTML; ``page`` is what the template shows."""
    return _environment().get_template(template).render(page=page)


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` where it is a mapping, else an empty one: a failed run may have left anything."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """A value as text without control characters; nothing for None."""
    return "" if value is None else plain(value)


def count(value: object) -> str:
    """A count with its thousands apart; a dash for None."""
    return f"{value:,}" if isinstance(value, int) else text(value) or "–"


def seconds(value: object) -> str:
    """A duration as people say it: 0.4 s, 1 min 15 s, 2 h 05 min; a dash for None."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return text(value) or "–"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def when(value: object) -> Markup:
    """An ISO 8601 time as UTC to the minute, in a ``time`` element; other text as it is; a dash for None."""
    moment = _moment(value)
    if moment is None:
        return escape(text(value) or "–")
    shown = f"{moment:%Y-%m-%d %H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(f"{moment:%Y-%m-%dT%H:%M:%SZ}", shown)


def elapsed(start: object, end: object) -> float | None:
    """Seconds between two ISO 8601 times; None unless both are."""
    first, last = _moment(start), _moment(end)
    return (last - first).total_seconds() if first and last else None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # a time zone may lead out of the calendar
        return None


def words(state: object) -> str:
    """A state as words: ``rolled_back`` is rolled back."""
    return text(state).replace("_", " ")


def tone(state: object) -> str:
    """The class that colours a state; one of five, whatever the state."""
    return _TONE.get(state, "calm") if isinstance(state, str) else "calm"
