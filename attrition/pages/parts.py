"""What several pages show alike: a decision, a run in a list, a client, a chart over time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from attrition.pages.charts import Chart, Mark, Series, thinned
from attrition.pages.frame import figure, item, mapping, moment, number, share, text
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
    "error_chart",
    "evidence_chart",
    "gain_chart",
    "interval",
    "measured",
    "reliability_chart",
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
TABLE_ROWS = 60
"""Of a chart's table, the newest."""


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


# ---- charts


def error_chart(urls: Urls, points: Sequence[Mapping[str, Any]]) -> Chart | None:
    """The champion's error over time, each on the clients that were new then; None before the first."""
    found = [
        (x, each) for each in points if (x := _time(each)) is not None and interval(each.get("brier"))[0] is not None
    ]
    if not found:
        return None
    lines = [(x, *interval(each["brier"])) for x, each in thinned(found)]
    line = Series(
        "error (Brier)", "one", tuple((x, v or 0.0) for x, v, *_ in lines), _spread(lines), True, len(lines) <= 60
    )
    top = _round_up(max(high or value or 0.0 for _, value, _, high in lines))
    last = found[-1][1]
    return Chart(
        title="Error of the model that served",
        words=f"on the clients that were new in each run; {measured(last['brier'])} in the newest. Smaller is better",
        x=_span([x for x, _ in found], points),
        y=(0.0, top),
        x_labels=_days(points),
        y_labels=(figure(top, 2), figure(top / 2, 2), "0"),
        series=(line,),
        marks=_marks(urls, points),
        columns=("Run", "Model", "Clients", "Error (95% interval)"),
        rows=tuple(
            (
                text(each.get("at"))[:10],
                text(each.get("champion") or each.get("model")),
                f"{each.get('n') or 0:,}",
                measured(each["brier"]),
            )
            for _, each in reversed(found[-TABLE_ROWS:])
        ),
    )


def evidence_chart(urls: Urls, points: Sequence[Mapping[str, Any]]) -> Chart | None:
    """The evidence that a refit would help, as a share of what a retrain needs, on a log scale."""
    found = [(x, each) for each in points if (x := _time(each)) is not None and (number(each.get("share")) or 0) > 0]
    if not found:
        return None
    lines = tuple((x, max(-4.0, math.log10(each["share"]))) for x, each in thinned(found))
    top = max(2, 2 * math.ceil(max(y for _, y in lines) / 2))  # even, so that the middle is a power too
    span = _span([x for x, _ in found], points)
    needed = Series("what a retrain needs", "limit", ((span[0], 0.0), (span[1], 0.0)), (), True, False)
    last = _part(found[-1][1]["share"])
    return Chart(
        title="Evidence that a new model would help",
        words=f"on a log scale, against what a retrain needs (dashed, 100%); {last} in the newest run",
        x=span,
        y=(-4.0, float(top)),
        x_labels=_days(points),
        y_labels=(_power(top), _power((top - 4) // 2), _power(-4)),
        series=(needed, Series("evidence", "one", lines, (), True, len(lines) <= 60)),
        marks=_marks(urls, points),
        columns=("Run", "Model", "Evidence, of what a retrain needs"),
        rows=tuple(
            (text(each.get("at"))[:10], text(each.get("champion") or each.get("model")), _part(each["share"]))
            for _, each in reversed(found[-TABLE_ROWS:])
        ),
    )


def reliability_chart(title: str, named: Mapping[str, object]) -> Chart | None:
    """Observed share of leavers over the predicted one, with intervals; ``named`` are bins by model."""
    series = [Series("as it should be", "limit", ((0.0, 0.0), (1.0, 1.0)), (), True, False)]
    rows = []
    for (name, bins), tone in zip(named.items(), ("one", "two"), strict=False):
        found = [
            each
            for each in map(mapping, bins if isinstance(bins, list) else [])
            if _both(each, "predicted", "observed")
        ]
        points = tuple((each["predicted"], each["observed"]) for each in found)
        series += [Series(name, tone, points, (), False, True)] if points else []
        series += [
            Series("", tone, (), ((each["predicted"], each["low"], each["high"]),), False, False)
            for each in found
            if _both(each, "low", "high")
        ]
        rows += [
            (
                name,
                f"{each.get('n', 0):,}",
                share(each["predicted"]),
                share(each["observed"]),
                f"{share(each.get('low'))} to {share(each.get('high'))}",
            )
            for each in found
        ]
    if not rows:
        return None
    return Chart(
        title=title,
        words="predicted risk to the right, the share that left upwards; on the dashed line both are equal",
        x=(0.0, 1.0),
        y=(0.0, 1.0),
        x_labels=("risk 0%", "100%"),
        y_labels=("100%", "50%", "0%"),
        series=tuple(series),
        marks=(),
        columns=("Model", "Clients", "Predicted", "Left", "95% interval"),
        rows=tuple(rows),
    )


def gain_chart(title: str, named: Mapping[str, object]) -> Chart | None:
    """Share of leavers found over the share of clients called, highest risk first; ``named`` are curves by model."""
    series = [Series("called at random", "limit", ((0.0, 0.0), (1.0, 1.0)), (), True, False)]
    rows = []
    for (name, curve), tone in zip(named.items(), ("one", "two"), strict=False):
        found = [
            each for each in map(mapping, curve if isinstance(curve, list) else []) if _both(each, "share", "found")
        ]
        points = tuple((each["share"], each["found"]) for each in thinned(found))
        series += [Series(name, tone, points, (), True, False)] if points else []
        rows += [(name, share(each["share"]), share(each["found"])) for each in found[:TABLE_ROWS]]
    if not rows:
        return None
    return Chart(
        title=title,
        words="share of clients called to the right, highest risk first, share of leavers found upwards",
        x=(0.0, 1.0),
        y=(0.0, 1.0),
        x_labels=("0% called", "100%"),
        y_labels=("100%", "50%", "0%"),
        series=tuple(series),
        marks=(),
        columns=("Model", "Called", "Leavers found"),
        rows=tuple(rows),
    )


def _marks(urls: Urls, points: Sequence[Mapping[str, Any]], most: int = 12) -> tuple[Mark, ...]:
    """Promotions, rollbacks, and where clients are thought to have changed; the newest."""
    found: dict[tuple[float, str], Mark] = {}
    for each in points:
        at, decision, run = _time(each), each.get("decision"), each.get("run")
        if at is None:
            continue
        if decision in ("promoted", "rolled_back"):
            how = "promoted" if decision == "promoted" else "serves again, by a rollback"
            found[at, "promoted"] = Mark(
                at, f"{_day(at)}: model {text(each.get('model'))} {how}", urls.run(run), "promoted"
            )
        change = each.get("change")
        if each.get("alarm") and change:
            since = next((_time(one) for one in points if (one.get("data_version") or 0) >= change), None)
            since = at if since is None else since
            words = f"{_day(since)}: clients changed about here, as run {text(each.get('number'))} found"
            found.setdefault((since, "change"), Mark(since, words, urls.run(run, anchor="drift"), "change"))
    return tuple(sorted(found.values(), key=lambda mark: mark.x))[-most:]


def _spread(
    lines: Sequence[tuple[float, float | None, float | None, float | None]],
) -> tuple[tuple[float, float, float], ...]:
    return tuple((x, low, high) for x, _, low, high in lines if low is not None and high is not None)


def _time(each: Mapping[str, Any]) -> float | None:
    at = moment(each.get("at"))
    return at.timestamp() if at else None


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _span(found: Sequence[float], points: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    times = [at for at in map(_time, points) if at is not None] or list(found)
    return min(times), max(times)


def _days(points: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    days = [text(each.get("at"))[:10] for each in points if _time(each) is not None]
    return (days[0], days[-1]) if len(days) > 1 else tuple(days)


def _part(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f} times" if value < 1e6 else "over a million times"
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}" if value >= 0.001 else f"{value:.2%}"


def _power(exponent: int) -> str:
    """A power of ten on an axis."""
    if exponent > 3:
        return f"10{str(exponent).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))} ×"
    return f"{10**exponent:,} ×" if exponent > 0 else f"{10.0**exponent:.{max(0, -exponent - 2)}%}"


def _round_up(value: float) -> float:
    return max(0.1, math.ceil(value * 10) / 10)


def _both(each: Mapping[str, Any], *keys: str) -> bool:
    return all(number(item(each, key)) is not None for key in keys)
