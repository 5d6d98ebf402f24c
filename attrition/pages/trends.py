"""The charts that pages show: error and evidence over time, reliability, gain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrition.pages.charts import Chart, Mark, Series, thinned
from attrition.pages.frame import figure, item, mapping, moment, number, share, text
from attrition.pages.parts import interval, measured
from attrition.pages.urls import Urls

__all__ = ["TABLE_ROWS", "error_chart", "evidence_chart", "gain_chart", "reliability_chart"]

TABLE_ROWS = 60
"""Of a chart's table, the newest."""


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
