"""How the portfolios stand: which model serves, how old the last good tick is; /readyz, /metrics and / tell it."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from attrition import registry, results, safe
from attrition.answers import told
from attrition.book import Book
from attrition.book_file import BRIEFLY, Unreadable
from attrition.home import Place, UsageError
from attrition.schema import Identity
from attrition.serving import Server, unread

__all__ = ["Standing", "interval", "lines", "page", "staleness", "standing", "standings"]

ANEW = "the next tick writes it anew"
LEEWAY = 60.0
"""Seconds by which a stamp may lie ahead of the clock."""
AHEAD = "its last good tick ended later than it is now: the clock was ahead, or is behind; the next tick mends it"


@dataclass(frozen=True)
class Standing:
    """One portfolio. ``tick_age`` are the seconds since the last good tick; None before the first, and where that is
    ``unknown``, for a reason, which is ``stale`` too: no good tick leaves its records so. ``model`` is what serves or,
    where the process has not ``loaded`` the portfolio, what is deployed; it is ``barred`` if it was rolled back and
    what was deployed in its stead does not serve.
    """

    name: str
    model: Identity | None
    trouble: str | None
    tick_age: float | None
    stale: bool
    decision: str | None
    run: str | None
    loaded: bool = True
    unknown: str | None = None
    barred: bool = False


def interval() -> float:
    """Seconds between two ticks, as ``ATTRITION_INTERVAL`` has it; 900 where it is unset.

    Raises:
        UsageError: it is no number above zero.
    """
    given = os.environ.get("ATTRITION_INTERVAL") or "900"
    try:
        found = float(given)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise UsageError("ATTRITION_INTERVAL: seconds between two ticks, such as 900")
    return found


def standings(server: Server) -> list[Standing]:
    """All portfolios of the home. Where the process has no room for more models none is loaded for it: who asks how
    they stand must not push out what serves.
    """
    return [standing(server, name, load=server.has_room(name)) for name in server.names()]


def standing(server: Server, name: str, load: bool = True) -> Standing:
    """One portfolio.

    Raises:
        Refused: there is no such portfolio.
    """
    place = server.place(name)
    if load:
        served, trouble = server.look(name)
        model = served.identity if served else None
    else:
        model, trouble = _deployed(place)
    about = Standing(place.name, model, trouble, None, True, None, None, load)
    version = model.version if model else ""
    try:
        found = _recorded(place, version, _stamp(place.book), _stamp(place.executed / "latest.json"))
    except (Unreadable, OSError, sqlite3.Error, ValueError) as error:
        # It is this portfolio's trouble: the others are told all the same.
        return replace(about, unknown=_why(error, place))
    about = replace(about, decision=found.decision, run=found.run)
    # Where nothing is refused and another one is deployed already, it is just being loaded.
    if model and found.barred and (trouble or _deployed(place)[0] == model):
        why = f"model {version} was rolled back, and is never to be served again"
        about = replace(about, barred=True, trouble=f"{why}; {trouble or 'the next tick writes current.json anew'}")
    elif model and version != found.champion and found.champion and not trouble and _deployed(place)[0] == model:
        why = f"current.json names model {version}, and {found.champion} is deployed"
        about = replace(about, trouble=f"{why}; {ANEW}")
    elif not model and not trouble and found.champion:
        about = replace(about, trouble=f"current.json names no model, and {found.champion} is deployed; {ANEW}")
    return _aged(about, found.good, time.time())


def _aged(about: Standing, good: tuple[float, ...], now: float) -> Standing:
    """With how old the last good tick is."""
    # A clock that was ahead once left a stamp that is yet to come: it would pass for a tick of this moment until then.
    age = next((max(0.0, now - at) for at in good if at <= now + LEEWAY), None)
    if good and age is None:
        return replace(about, unknown=AHEAD)
    # The server must notice that cron is dead: whatever cron starts would be dead with it.
    return replace(about, tick_age=age, stale=age is not None and age > 2 * interval())


def _deployed(place: Place) -> tuple[Identity | None, str | None]:
    """What ``current.json`` names, not looked into, or why it names nothing."""
    try:
        current = registry.current(place.models)
    except registry.ModelRefused as error:
        return None, f"model refused: {error.why}; {error.remedy}"
    except OSError as error:
        return None, unread(error, place.root)
    return (Identity(current.version, current.sha256) if current else None), None


def _why(error: Exception, place: Place) -> str:
    """Why a portfolio's records cannot be read, without a path and without what stands in them."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, OSError):
        return unread(error, place.root)
    name = place.book.name if isinstance(error, sqlite3.Error) else "latest.json"
    return f"{name} cannot be read ({type(error).__name__}); the next tick that completes, or a backup, mends it"


@dataclass(frozen=True)
class _Records:
    """``good`` are the last good ticks without and with work, the later one first, in seconds since 1970; ``decision``
    and ``run`` are of the newest run that has ended; ``barred`` is whether the model was rolled back; ``champion`` is
    the version that is deployed.
    """

    good: tuple[float, ...] = ()
    decision: str | None = None
    run: str | None = None
    barred: bool = False
    champion: str | None = None


@lru_cache(maxsize=1024)
def _recorded(place: Place, version: str, *stamps: tuple[int, int, int] | None) -> _Records:
    """What a portfolio's records say, also of a model.

    ``stamps`` are of the files that are read: while they are the same, nothing is.
    """
    if not safe.exists(place.book):
        return _Records()
    with Book.open(place.book, read_only=True, patience=BRIEFLY) as book:
        quiet, newest = book.quiet_since(), book.runs(limit=2)  # one may be at work, with nothing to show yet
        barred, champion = book.status(version) == "barred", book.state().champion
    latest = results.latest(place).get("finished_at")
    # Quiet ticks are those after the newest run, whatever the clocks of the two said.
    good = tuple(datetime.fromisoformat(at).timestamp() for at in ((quiet or {}).get("last"), latest) if at)
    run: dict[str, Any] = next((each for each in newest if each["status"] != "running"), {})
    return _Records(good, run.get("decision"), run.get("run"), barred, champion)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def staleness(found: list[Standing]) -> str:
    """In words, of portfolios some of which are stale."""
    late = [each.name for each in found if each.stale and not each.unknown]
    said = [f"no good tick for more than two intervals: {', '.join(late)[:300]}; is cron alive?"] if late else []
    said += [f"{each.name}: {each.unknown}" for each in found if each.unknown]
    return "; ".join(said)[:1000]


def lines(found: list[Standing]) -> list[str]:
    """As Prometheus reads it."""
    said = ["# TYPE attrition_model_info gauge"]
    for each in found:
        if each.model:
            labels = f'portfolio="{each.name}",version="{each.model.version}",sha256="{each.model.sha256}"'
            said.append(f"attrition_model_info{{{labels}}} 1")
    said.append("# TYPE attrition_model_trouble gauge")
    said += [f'attrition_model_trouble{{portfolio="{each.name}"}} {int(bool(each.trouble))}' for each in found]
    said.append("# TYPE attrition_stale gauge")
    said += [f'attrition_stale{{portfolio="{each.name}"}} {int(each.stale)}' for each in found]
    said.append("# TYPE attrition_last_tick_age_seconds gauge")
    for each in found:
        if each.tick_age is not None:
            said.append(f'attrition_last_tick_age_seconds{{portfolio="{each.name}"}} {each.tick_age:.3f}')
    said.append("# TYPE attrition_last_decision_info gauge")
    for each in found:
        if each.decision:
            said.append(f'attrition_last_decision_info{{portfolio="{each.name}",decision="{told(each.decision)}"}} 1')
    return said


def page(found: list[Standing], views: list[tuple[str, str, str]]) -> str:
    """The small page at /: each portfolio with its freshness and links, and what there is to ask for."""
    rows = "".join(_row(each) for each in found) or "<tr><td>none: params/ has one YAML a portfolio"
    asks = "".join(f"<li><code>{method} {escape(rule)}</code> {escape(said)}</li>" for rule, method, said in views)
    asks = asks.replace("``", "")  # of docstrings
    style = (
        "body{font:16px sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}td,th{text-align:left;padding:.3rem}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Attrition</title><style>{style}</style>'
        "<h1>Attrition</h1><table><tr><th>portfolio<th>model<th>last good tick<th>last decision<th>"
        f"{rows}</table><h2>For programs</h2><ul>{asks}</ul></html>"
    )


def _row(each: Standing) -> str:
    asked = f"?portfolio={each.name}"
    model = each.model.version if each.model else "none yet"
    age = ("unknown" if each.stale else "never") if each.tick_age is None else f"{_long(each.tick_age)} ago"
    pages = f"/pages/{each.name}"
    report = f'<a href="{pages}/clients/index.html">whom to call first</a> ' if each.model else ""
    report += f'<a href="{pages}/{each.run}/index.html">newest run</a> ' if each.run else ""
    name = f'<a href="{pages}/index.html">{escape(each.name)}</a>' if each.run else escape(each.name)
    links = "".join(f'<a href="/{path}{asked}">{path}</a> ' for path in ("clients", "scoring", "model", "runs"))
    trouble = f"<br>{escape(each.trouble)}" if each.trouble else ""
    stale = f" <strong>stale: {escape(each.unknown or 'is cron alive?')}</strong>" if each.stale else ""
    return (
        f"<tr><td>{name}<td>{escape(model)}{trouble}<td>{age}{stale}"
        f"<td>{escape(each.decision or '-')}<td>{report}{links}"
    )


def _long(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
