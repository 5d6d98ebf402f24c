"""Two runs, or two models, side by side: only what differs, signed, better or worse in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from attrition.pages.facts import verdict
from attrition.pages.frame import Page, figure, item, mapping, number, sequence, short, signed, text
from attrition.pages.parts import Crumbs
from attrition.pages.urls import Urls, twin

__all__ = ["ComparePage", "Difference", "Group", "compare"]


@dataclass(frozen=True)
class Difference:
    """One thing in which they differ."""

    label: str  # what it is
    one: str  # its value on the left
    other: str  # its value on the right
    change: str  # signed, where both are numbers
    verdict: str  # better or worse, in words; empty where neither can be said


@dataclass(frozen=True)
class Group:
    """What differs under one heading."""

    words: str  # the heading
    rows: tuple[Difference, ...]  # what differs


@dataclass(frozen=True)
class ComparePage:
    """Two side by side."""

    title: str  # of the page
    crumbs: Crumbs  # (words, address) of the pages above
    twin: str  # address of the same as JSON
    one: str  # what the left one is called
    one_href: str  # of its page
    other: str  # what the right one is called
    other_href: str  # of its page
    in_short: str  # how much differs, in a sentence
    groups: tuple[Group, ...]  # what differs
    same: int  # how many things are equal


def compare(
    one: Mapping[str, Any], other: Mapping[str, Any], *, title: str, hrefs: tuple[str, str], up: str = "../", file: str
) -> Page:
    """What differs between two pages' facts.

    Args:
        one, other: the twins of two run pages, or of two model pages; the change is from one to the other.
        title: of the portfolio.
        hrefs: their addresses, seen from this page.
        up: from this page to the portfolio's folder.
        file: this page's own name.
    """
    urls, names = Urls(up), (text(one.get("title")), text(other.get("title")))
    left = {each.get("key"): each for each in map(mapping, sequence(one.get("facts")))}
    right = {each.get("key"): each for each in map(mapping, sequence(other.get("facts")))}
    keys = [*right, *(key for key in left if key not in right)]
    found = [
        (text(item(right.get(key) or left.get(key), "group")), _difference(left.get(key), right.get(key)))
        for key in keys
    ]
    differ = [(group, each) for group, each in found if each]
    order = {group: place for place, group in reversed([*enumerate(group for group, _ in differ)])}
    differ.sort(key=lambda pair: order[pair[0]])
    groups = tuple(
        Group(words, tuple(each for _, each in rows)) for words, rows in groupby(differ, key=lambda pair: pair[0])
    )
    better, worse = (sum(each.verdict == word for _, each in differ) for word in ("better", "worse"))
    told = f"{len(differ):,} of {len(keys):,} things differ; {names[1]} is clearly better in {better:,},"
    told += f" worse in {worse:,}."
    return Page(
        "compare.html.j2",
        ComparePage(
            title=f"{names[0]} and {names[1]}",
            crumbs=(("Attrition", urls.home), (text(title), urls.portfolio)),
            twin=twin(file),
            **{"one": names[0], "one_href": hrefs[0], "other": names[1], "other_href": hrefs[1]},
            in_short=told,
            groups=groups,
            same=len(keys) - len(differ),
        ),
    )


def _difference(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> Difference | None:
    values = [item(side, "value") for side in (left, right)]
    if values[0] == values[1]:
        return None
    about = mapping(right or left)
    numbers = [number(value) if not isinstance(value, bool) else None for value in values]
    change = ""
    if numbers[0] is not None and numbers[1] is not None:
        moved = numbers[1] - numbers[0]
        change = signed(moved, 0 if abs(moved) >= 100 or moved == int(moved) else 3)
    sides = [
        (value, number(item(side, "low")), number(item(side, "high")))
        for value, side in zip(numbers, (left, right), strict=True)
    ]
    said = verdict(sides[0], sides[1], text(about.get("better")))
    return Difference(text(about.get("label")), _shown(left, values[0]), _shown(right, values[1]), change, said)


def _shown(side: Mapping[str, Any] | None, value: object) -> str:
    low, high = number(item(side, "low")), number(item(side, "high"))
    if value is None:
        return "–"
    if low is None or high is None:
        return short(value)
    return f"{figure(value)} ({figure(low)} to {figure(high)})"
