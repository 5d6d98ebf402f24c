"""Charts as inline SVG: lines, bands, dots, marks. Words stay in HTML, so that they are never stretched.

A chart knows nothing of what it shows. Colours are classes, so that light, dark and paper have their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

__all__ = ["MOST", "Chart", "Mark", "Series", "bar", "drawn", "stack", "thinned"]

T = TypeVar("T")

MOST = 500
"""Points of a line."""
WIDE, HIGH = 1000, 300
"""The drawing's own units; it is stretched to its place."""


@dataclass(frozen=True)
class Series:
    """One line, or a row of dots."""

    name: str  # in the legend
    tone: str  # one, two or rest: its colour
    points: tuple[tuple[float, float], ...]  # (x, y), x rising
    spread: tuple[tuple[float, float, float], ...]  # (x, low, high): an interval around the points
    line: bool  # whether the points are joined
    dots: bool  # whether each point is marked


@dataclass(frozen=True)
class Mark:
    """A moment on the x axis, with a number that the list below the chart explains."""

    x: float  # where it stands on the x axis
    words: str  # what happened then
    href: str  # where it is told; empty for nowhere
    tone: str  # promoted, change or other: its line


@dataclass(frozen=True)
class Chart:
    """What is drawn, with its words and its table."""

    title: str  # what it shows, as a heading
    words: str  # what one sees there, for those who do not see it
    x: tuple[float, float]  # range of the x axis
    y: tuple[float, float]  # range of the y axis
    x_labels: tuple[str, ...]  # evenly along the x axis, from the left
    y_labels: tuple[str, ...]  # evenly along the y axis, from the top
    series: tuple[Series, ...]  # lines and dots, the last on top
    marks: tuple[Mark, ...]  # moments
    columns: tuple[str, ...]  # of the table
    rows: tuple[tuple[str, ...], ...]  # of the table

    def place(self, x: float) -> str:
        """Where ``x`` stands, in percent from the left."""
        return f"{_across(self, x) / WIDE * 100:.2f}"


def thinned(points: Sequence[T], most: int = MOST) -> list[T]:
    """At most ``most`` of the points, evenly, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def drawn(chart: Chart) -> Markup:
    """The drawing alone: an ``svg`` that names itself to those who do not see it."""
    parts = [
        Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">').format(
            WIDE, HIGH, f"{chart.title}: {chart.words}"
        )
    ]
    rows = max(1, len(chart.y_labels) - 1)
    grid = "".join(f"M0 {_short(HIGH * row / rows)}H{WIDE}" for row in range(rows + 1))
    parts.append(Markup('<path class="grid" d="{}"/>').format(grid))
    parts += [
        Markup('<path class="mark-{}" d="M{} 0V{}"/>').format(_tone(mark.tone), _short(_across(chart, mark.x)), HIGH)
        for mark in chart.marks
    ]
    for series in chart.series:
        parts += _series(chart, series)
    return Markup("").join([*parts, Markup("</svg>")])


def _series(chart: Chart, series: Series) -> list[Markup]:
    parts, tone = [], _tone(series.tone)
    if len(series.spread) > 1:
        over = [_place(chart, x, high) for x, _, high in series.spread]
        under = [_place(chart, x, low) for x, low, _ in reversed(series.spread)]
        parts.append(Markup('<path class="spread-{}" d="M{}Z"/>').format(tone, "L".join(over + under)))
    elif series.spread:
        ((x, low, high),) = series.spread
        parts.append(
            Markup('<path class="line-{}" d="M{}L{}"/>').format(tone, _place(chart, x, low), _place(chart, x, high))
        )
    places = [_place(chart, x, y) for x, y in series.points]
    if series.line and places:
        parts.append(Markup('<path class="line-{}" d="M{}"/>').format(tone, "L".join(places)))
    if series.dots and places:
        parts.append(Markup('<path class="dots-{}" d="{}"/>').format(tone, "".join(f"M{place}h0" for place in places)))
    return parts


def bar(value: float | None, start: float = 0.0) -> Markup:
    """A bar of ``value`` from ``start``, both shares of the whole width; decoration beside a number in words."""
    shown = [min(1.0, max(0.0, each if each is not None and math.isfinite(each) else 0.0)) for each in (start, value)]
    wide = max(0.4, shown[1] * 100) if value else 0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="rail" d="M0 3H100"/><path class="fill-one" d="M{} 0h{}v6h-{}z"/></svg>'
    ).format(*(_short(each) for each in (shown[0] * 100, wide, wide)))


def stack(parts: Sequence[tuple[str, float]]) -> Markup:
    """Shares of a whole side by side: (tone, size) each; decoration beside the numbers in words."""
    total, at, drawn_parts = sum(max(0.0, size) for _, size in parts), 0.0, []
    for name, size in parts:
        wide = 100 * max(0.0, size) / total if total else 0.0
        shown = Markup('<path class="fill-{}" d="M{} 0h{}v6h-{}z"/>')
        drawn_parts.append(shown.format(_tone(name), *(_short(each) for each in (at, wide, wide))))
        at += wide
    opened = Markup('<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">')
    return opened + Markup("").join(drawn_parts) + Markup("</svg>")


def _place(chart: Chart, x: float, y: float) -> str:
    low, high = chart.y
    part = (min(max(y, low), high) - low) / (high - low) if high > low else 0.5
    return f"{_short(_across(chart, x))} {_short(HIGH * (1 - part))}"


def _across(chart: Chart, x: float) -> float:
    low, high = chart.x
    return WIDE * (min(max(x, low), high) - low) / (high - low) if high > low else WIDE / 2


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _tone(name: str) -> str:
    """A class, whatever the text."""
    known = ("one", "two", "rest", "limit", "promoted", "change", "other", "high", "medium", "low")
    return name if name in known else "rest"
