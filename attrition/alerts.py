"""Telling people what happened to a portfolio, one message an event, and a monitor that all is well.

Where to is in ``alerts.yaml`` of the home, which is read before a tick, as the disk may fail in it. What there is to
tell is looked up after it: what the book has that was not told yet. So nothing of it can fail a run, and a message that
nobody took goes with the next tick. Until that file is there, nothing but the standard library is imported.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrition import record, safe, sending
from attrition.book import Book
from attrition.console import DONE, FAILED, HELD, USAGE, stamp
from attrition.home import NAME, Home, Place, UsageError
from attrition.sending import HOOK, KEPT, Event, Services

__all__ = ["EXAMPLE", "FILE", "Settings", "after", "events", "settings"]

FILE = "alerts.yaml"
EXAMPLE = """to:
- https://example.com/hook
- mailto://user:password@example.com
heartbeat: https://example.com/ping
link: https://risk.example.com
stale_after: 7d"""
SHORT = 3  # runs that are looked at beside the newest ones: what was before them
SHORTLY = timedelta(days=1)  # no tick takes longer
BAD = ("failed", "interrupted")
TROUBLE = (FAILED, USAGE)
"""Statuses that somebody is to be told of; others say that another tick is at work, or that a person stopped it."""
NO_RUN = "The tick ended with status {}, and no run says why: its log does."
NONE_BEGUN = "The tick of all ended before any portfolio was come to, and its log says why: params/ has none, or fails."
TURNED_AWAY = timedelta(hours=3)
"""So long after a run had to be over whoever still holds its lock does no work: it is stopped, or hangs in the disk."""
STUCK = "Process {} has held {} since {}, and every tick since is turned away: see what it waits for, or end it."
DAMAGED = "{} is damaged and begun anew: what was within a day is told again; older messages that waited are lost."
NOT_NOTED = "It cannot be noted that this was told, so each tick tells it anew."


@dataclass(frozen=True)
class Settings:
    """What ``alerts.yaml`` says. It holds passwords, so nothing of it is ever shown."""

    to: tuple[str, ...] = ()
    heartbeat: str | None = None
    link: str | None = None
    stale_after: timedelta | None = None
    written: datetime | None = None


def settings(home: Home) -> Settings | None:
    """What the home's ``alerts.yaml`` says; None where there is none.

    Raises:
        UsageError: others may read the file, or it says what is not understood.
    """
    path = home.root / FILE
    if not safe.exists(path):
        return None
    import yaml

    from attrition import strict_yaml

    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise UsageError(f"{path} is no file: move it away, and write one there such as:\n{EXAMPLE}")
    if stat.S_IMODE(about.st_mode) & 0o077:
        raise UsageError(f"{path}: others may read it, and it holds passwords: chmod 600 it")
    try:
        given = strict_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, strict_yaml.Unread, yaml.YAMLError):  # whose words may hold a password
        raise UsageError(f"{path}: not YAML that can be read, or a key stands twice; such as:\n{EXAMPLE}") from None
    known = {"to", "heartbeat", "link", "stale_after"}
    if not isinstance(given, dict) or given.keys() - known:
        raise UsageError(f"{path}: expected the keys {', '.join(sorted(known))}; such as:\n{EXAMPLE}")
    to = given.get("to") or []
    if not isinstance(to, list) or not all(isinstance(url, str) and "://" in url for url in to):
        raise UsageError(f"{path}: to: expected a list of addresses, each with ://")
    for key in ("heartbeat", "link"):
        if given.get(key) is not None and not str(given[key]).startswith(HOOK):
            raise UsageError(f"{path}: {key}: expected an address that begins with http:// or https://")
    written = datetime.fromtimestamp(int(about.st_mtime), UTC)
    stale_after = _span(path, given.get("stale_after"))
    return Settings(tuple(to), given.get("heartbeat"), given.get("link"), stale_after, written)


def _span(path: Path, given: object) -> timedelta | None:
    if given is None:
        return None
    units = {"d": "days", "h": "hours", "m": "minutes"}
    text = str(given)
    if not (text[:-1].isascii() and text[:-1].isdigit() and text[-1] in units and 0 < int(text[:-1]) <= 9999):
        raise UsageError(f"{path}: stale_after: expected 90m, 12h or 7d, not {text[:40]!r}")
    return timedelta(**{units[text[-1]]: int(text[:-1])})


# ---- what there is to tell


def events(place: Place, runs: Sequence[Mapping[str, Any]], before: str, link: str | None) -> Iterator[Event]:
    """What happened in ``runs``, the oldest first; ``before``: how the last one before them ended."""
    for run in runs:
        where = _where(place, run["run"], link)
        yield from (Event(kind, place.name, reason, where) for kind, reason in _happened(place, run, before))
        before = run["status"]


def _happened(place: Place, run: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    reason = str(run["reason"] or "")
    if run["status"] in BAD:
        if before not in BAD:  # the same trouble every quarter of an hour is told once
            yield "failure", reason
    elif before in BAD:
        yield "recovery", f"Ticks end well again. {reason}"
    drift = _verdict(place, run["run"])
    if drift.get("state") == "drift":
        yield "drift", str(drift.get("sentence"))
    elif run["decision"] == "harmed":
        yield "drift", reason
    if run["decision"] == "promoted":
        yield "promotion", reason
    elif run["decision"] == "kept":
        yield "promotion refused", reason


def _verdict(place: Place, run: str) -> dict[str, Any]:
    """What 20_monitor said of the champion in a run; empty where it said nothing."""
    try:
        found = record.value(place.executed / run / "20_monitor.ipynb", "verdict")
    except (OSError, ValueError, LookupError):
        return {}
    return found if isinstance(found, dict) else {}


def _stale(
    place: Place, kept: Mapping[str, Any], allowed: timedelta | None, now: datetime
) -> tuple[dict[str, Any] | None, list[Event]]:
    """What is to be kept of the newest run that brought rows, and that this was too long ago, which is told once."""
    brought = _brought(place, kept) if allowed else None
    if not allowed or not brought or brought.get("told") or now - _at(brought) < allowed:
        return brought, []
    where = f"in run {brought['run']}" if brought["number"] else "when the first run began"
    said = f"No new rows since {brought['started_at']}, {where}."
    return {**brought, "told": True}, [Event("staleness", place.name, said)]


def _brought(place: Place, kept: Mapping[str, Any]) -> dict[str, Any] | None:
    """The newest run that brought rows, or as number 0 when the first one began; None where none has begun.

    Many runs may have brought none: all are looked through once, then only those that were not told yet.
    """
    known: dict[str, Any] | None = kept.get("brought")
    with Book.open(place.book, read_only=True) as book:
        found = book.brought(after=kept["told"] if known else 0) or known
        if not found and (span := book.span()):
            return {"number": 0, "started_at": span[0]}
    return found


def _where(place: Place, run: str, link: str | None) -> str:
    if link:
        return f"{link.rstrip('/')}/runs/{run}/index.html?portfolio={place.name}"
    return str(place.executed / run / "index.html")


# ---- telling it


def after(
    home: Home,
    ended: Mapping[str, int | None],
    given: Settings | None = None,
    *,
    good: bool,
    since: datetime,
    now: datetime,
) -> Iterator[str]:
    """Tell what ticks of portfolios brought that began at ``since``, and ended all ``good``.

    ``given``: what ``alerts.yaml`` said before; where that is None it is read. ``ended``: the exit status of each; None
    where a person tries something that does not work, which is nobody else's.
    At the first time all that happened since the file was written. Yields lines for the log. Nothing is raised for what
    a service, or a portfolio's book, has.

    Raises:
        UsageError: ``alerts.yaml`` cannot be used.
    """
    if (given := given or settings(home)) is None:
        return
    # A tick that was killed told nobody: whoever wanted to be told by then hears of it from the next.
    since = min(since, given.written or since)
    if now < since:  # the clock was set back meanwhile: rather what was shortly before too than nothing
        since = now - SHORTLY
    services = Services(given.to)
    none = NONE_BEGUN if not ended and not good else None
    yield from _once(home.root / ".alerts", services, "all", none, over=none is None)
    for name, status in ended.items():
        if not NAME.fullmatch(name):  # the tick has said so, and no later one has anything to add
            continue
        mark = home.root / f".alerts-{name}"
        try:
            place = home.place(name)
            begun = safe.exists(place.book)
            stuck = status in TROUBLE and not begun and _known(home, name)
            trouble = _unsaid(place, status) if stuck else None
            yield from _once(mark, services, name, trouble, over=status == DONE)
            if begun:
                yield from _tell(place, given, services, status, since, now)
        except Exception as error:  # another portfolio must not wait for the trouble of this one
            yield f"{name}: alerts: {type(error).__name__}: what happened is told after the next tick"
            # As it may be the disk that keeps the book, or what was told, from being read.
            if status in TROUBLE and _known(home, name):
                yield from _once(mark, services, name, NO_RUN.format(status), over=False)
    if good and given.heartbeat and (trouble := sending.ping(given.heartbeat)):
        yield f"heartbeat: {trouble}"


def _known(home: Home, name: str) -> bool:
    """Whether it is no name that was mistyped; where that cannot be told either, it is told of rather than not."""
    try:
        return name in home.portfolios() or home.place(name).in_use
    except OSError:
        return True


def _once(mark: Path, services: Services, name: str, trouble: str | None, *, over: bool) -> Iterator[str]:
    """Tell a trouble that no book knows of once, and once that it is over; ``mark`` is there in between.

    It is not in the portfolio's own folders, which have to stay empty for a restore.
    """
    try:
        noted = safe.exists(mark)
    except OSError:
        noted = False
    try:
        if noted == bool(trouble) or not (trouble or over):
            return
        event = Event("failure", name, trouble) if trouble else Event("recovery", name, "Ticks end well again.")
        left, troubles = services.sent([event], late=0)
        wait = "; it is told after the next tick" if left else ""
        yield from (f"{name}: alerts: {each}{wait}" for each in troubles)
        if left:
            return
        if trouble:
            safe.write(mark, "")
        else:
            mark.unlink()
    except OSError as error:
        yield f"{name}: alerts: {error}. {NOT_NOTED}"


def _tell(
    place: Place, given: Settings, services: Services, status: int | None, since: datetime, now: datetime
) -> Iterator[str]:
    try:
        with safe.lock(place.data / "alerts.lock", now.isoformat()):
            yield from _tell_alone(place, given, services, status, since, now)
    except safe.Held:  # by another tick's messages: they are these
        return


def _runs(place: Place, told: int | None) -> tuple[int, list[dict[str, Any]]]:
    """The number of the newest run, and the runs that may have to be told, the newest first."""
    with Book.open(place.book, read_only=True) as book:
        newest = book.state().runs
        return newest, book.runs(limit=min(KEPT, newest - told) + SHORT if told is not None else KEPT + SHORT)


def _unsaid(place: Place, status: int | None) -> str:
    return NO_RUN.format(status) if safe.exists(place.params) else place.gone


def _trouble(place: Place, status: int | None, now: datetime) -> str | None:
    """What is to be told of how a tick ended, unless one of its runs tells it."""
    if status in TROUBLE:
        return _unsaid(place, status)
    if status != HELD or not safe.exists(place.lock):
        return None
    holder = safe.holder(place.lock)
    since = datetime.fromisoformat(str(holder.get("since") or now.isoformat()))
    if now - since <= TURNED_AWAY:
        return None
    from attrition import params

    over = since + timedelta(seconds=params.load(place.params).run_deadline) + TURNED_AWAY
    return STUCK.format(holder.get("pid"), place.lock, stamp(since)) if now > over else None


def _tell_alone(
    place: Place, given: Settings, services: Services, status: int | None, since: datetime, now: datetime
) -> Iterator[str]:
    path = place.data / "alerts.json"
    safe.sweep(place.data)  # of one that was killed while it noted what was told
    kept, lost = _kept(path)
    since = now - SHORTLY if lost else since
    told = kept.get("told")
    newest, runs = _runs(place, told)
    if told is None:  # what was long before anybody wanted to be told is not told
        told = max((run["number"] for run in runs if _at(run) < since), default=0)
    ended = status, _trouble(place, status, now)
    found, last = _since(place, runs, kept.get("last"), told, ended, given.link)
    brought, stale = _stale(place, kept, given.stale_after, now)
    found += [*stale, *([Event("failure", place.name, lost)] if lost else [])]
    waiting = kept.get("waiting", [])
    left, troubles = services.sent([*waiting, *found], late=len(waiting))
    at_work = [run["number"] for run in runs if run["status"] == "running"]
    newest = min([newest, *(number - 1 for number in at_work)])  # what is at work is told when it has ended
    state = {"told": newest, "last": last, "brought": brought, "waiting": left}
    try:
        if state != kept:
            safe.write(path, json.dumps({**state, "waiting": [asdict(each) for each in left]}, indent=1) + "\n")
    except OSError as error:  # a disk that is full; all was sent
        troubles = [*troubles, f"{error}. {NOT_NOTED}"]
    for trouble in troubles:
        yield f"{place.name}: alerts: {trouble}; {len(left)} messages wait for the next tick"


def _kept(path: Path) -> tuple[dict[str, Any], str]:
    """What an earlier tick noted, and the messages that wait; what is to be told where that cannot be understood."""
    if not safe.exists(path):
        return {}, ""
    try:
        found = json.loads(path.read_bytes())
        return {**found, "told": int(found["told"]), "waiting": [Event(**each) for each in found["waiting"]]}, ""
    except (ValueError, TypeError, LookupError, RecursionError):
        return {}, DAMAGED.format(path)


def _since(
    place: Place,
    runs: Sequence[Mapping[str, Any]],
    last: str | None,
    told: int,
    ended: tuple[int | None, str | None],
    link: str | None,
) -> tuple[list[Event], str]:
    """What happened since the run ``told``, and how the last one ended, or the tick did if it ``ended`` worse."""
    real = [run for run in reversed(runs) if not run["manual"] or run["decision"]]  # no stage that was tried by hand
    regular = [run for run in real if run["status"] != "running"]
    earlier = [str(run["status"]) for run in regular if run["number"] <= told]
    before = last or (earlier[-1] if earlier else "completed")
    fresh = [run for run in regular if run["number"] > told]
    found = list(events(place, fresh, before, link))
    after, (status, trouble) = str(fresh[-1]["status"]) if fresh else before, ended
    if trouble and after not in BAD:  # before a run began, behind its end, or a source did not answer
        if before in BAD:  # which a run that completes does not end
            return [event for event in found if event.kind != "recovery"], "failed"
        return [*found, Event("failure", place.name, trouble)], "failed"
    if status == DONE and after in BAD:
        return [*found, Event("recovery", place.name, "Ticks end well again.")], "completed"
    return found, after


def _at(run: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(run["started_at"])
