"""What all pages share: the template environment, its filters, its one style sheet; a page and its twin."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from attrition.pages import charts
from attrition.pages.clean import code, plain, visible
from attrition.pages.urls import local

__all__ = ["CSP", "LOADER", "Page", "elapsed", "furnish", "item", "mapping", "moment", "number", "sequence", "text"]

CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'"
"""The content security policy in every page, for the day that something else fails."""

_TEMPLATES = Path(__file__).with_name("templates")
LOADER = FileSystemLoader(_TEMPLATES)

_TONES = {
    "good": {"completed", "held", "promoted", "proven", "better", "champion", "low"},
    "bad": {"failed", "harmed", "worse", "barred", "high"},
    "warn": {"interrupted", "rolled_back", "not proven yet", "medium", "differs"},
    "busy": {"running", "on_trial", "manual", "challenger"},
}
_TONE = {state: tone for tone, states in _TONES.items() for state in states}


@dataclass(frozen=True)
class Page:
    """A page before it is written: a template, and what it shows."""

    template: str  # its file
    context: Any  # one of the dataclasses of this package

    def html(self) -> str:
        """As a person reads it."""
        return _environment().get_template(self.template).render(page=self.context)

    def json(self) -> str:
        """As a program reads it: the same facts."""
        return json.dumps(asdict(self.context), ensure_ascii=False, separators=(",", ":"), default=str)


def furnish(environment: Environment) -> Environment:
    """Make an environment ours, before its first template: escaping on, a missing name an error."""
    environment.autoescape = True
    environment.undefined = StrictUndefined
    # Whatever a context was given, and whoever made it: no page holds a control character.
    environment.finalize = lambda value: visible(value) if type(value) is str else value
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(
        count=count, seconds=seconds, tone=tone, when=when, words=words, day=day, local=local, code=code, short=short
    )
    environment.filters.update(
        figure=figure,
        signed=signed,
        share=share,
        unbroken=unbroken,
        money=money,
        svg=charts.drawn,
        bar=charts.bar,
        stack=charts.stack,
    )
    whole = _TEMPLATES.joinpath("style.css").read_text(encoding="utf-8")
    plain_style = re.sub(r"/\* lists and charts.*?/\* all pages \*/", "", whole, flags=re.S)
    environment.globals.update(csp=CSP, style=_packed(whole), plain_style=_packed(plain_style))
    return environment


def _packed(style: str) -> Markup:
    """A style sheet without what only its author needs."""
    bare = re.sub(r"/\*.*?\*/", "", style, flags=re.S)
    return Markup(re.sub(r"\s*([{};,])\s*|(:)\s+", r"\1\2", " ".join(bare.split())))  # noqa: S704 - our own file


@cache
def _environment() -> Environment:
    return furnish(Environment(loader=LOADER, autoescape=True))


# ---- reading what may be anything


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` where it is a mapping, else an empty one: a failed run may have left anything."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """``value`` where it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def item(value: object, *keys: str) -> Any:
    """What stands under ``keys``, one below the other; None where one is not there."""
    for key in keys:
        value = mapping(value).get(key)
    return value


def text(value: object) -> str:
    """A value as text without control characters; nothing for None."""
    return "" if value is None else plain(value)


def number(value: object) -> float | None:
    """``value`` where it is a finite number."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def moment(value: object) -> datetime | None:
    """An ISO 8601 time in UTC; None for anything else."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # a time zone may lead out of the calendar
        return None


def elapsed(start: object, end: object) -> float | None:
    """Seconds between two ISO 8601 times; None unless both are, or if the clock was set back between them."""
    first, last = moment(start), moment(end)
    return (last - first).total_seconds() if first and last and first <= last else None


# ---- filters


def count(value: object) -> str:
    """A count with its thousands apart; a dash for None."""
    return f"{value:,}" if isinstance(value, int) else text(value) or "–"


def figure(value: object, digits: int = 3) -> str:
    """A number to so many decimals, its thousands apart; a dash for None."""
    found = number(value)
    return text(value) or "–" if found is None else f"{found:,.{digits}f}"


def short(value: object) -> str:
    """A number as people write it: whole from a hundred on, else three digits that count; other text as it is."""
    found = number(value)
    if found is None or isinstance(value, bool):
        return text(value) or "–"
    return f"{found:,.0f}" if abs(found) >= 100 or found == int(found) else f"{found:.3g}"


def signed(value: object, digits: int = 0) -> str:
    """A change with its sign; a dash for None."""
    found = number(value)
    return "–" if found is None else f"{found:+,.{digits}f}".replace("-", "−")


def share(value: object, digits: int = 0) -> str:
    """A share as a percentage; a dash for None."""
    found = number(value)
    return "–" if found is None else f"{found:.{digits}%}"


def money(value: object, currency: str = "") -> str:
    """An amount; whole from a hundred on."""
    found = number(value)
    return "–" if found is None else f"{found:,.{0 if abs(found) >= 100 else 2}f} {currency}".strip().replace("-", "−")


def unbroken(value: object) -> str:
    """A text whose factors stay on one line: ``× 191`` is not parted."""
    return text(value).replace("× ", "×\u00a0")


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
    return _timed(value, "%Y-%m-%d %H:%M UTC")


def day(value: object) -> Markup:
    """The same to the day."""
    return _timed(value, "%Y-%m-%d")


def _timed(value: object, form: str) -> Markup:
    found = moment(value)
    if found is None:
        return escape(text(value) or "–")
    return Markup('<time datetime="{}">{}</time>').format(f"{found:%Y-%m-%dT%H:%M:%SZ}", found.strftime(form))


def words(state: object) -> str:
    """A state as words: ``rolled_back`` is rolled back."""
    return text(state).replace("_", " ")


def tone(state: object) -> str:
    """The class that colours a state; one of five, whatever the state."""
    return _TONE.get(state, "calm") if isinstance(state, str) else "calm"
