"""The lists: the runs of a portfolio, page by page, and the portfolios of a home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attrition.pages.frame import Page, mapping, text
from attrition.pages.parts import Crumbs, Row, row
from attrition.pages.urls import Urls, local, twin

__all__ = ["Filter", "HomePage", "Option", "PortfolioRow", "RunsPage", "home", "runs"]


@dataclass(frozen=True)
class Option:
    """One choice of a filter, a plain link."""

    words: str  # what it is called
    href: str  # the list of those
    current: bool  # whether it is the one that is shown


@dataclass(frozen=True)
class Filter:
    """What a list can be narrowed by, where the API serves it."""

    words: str  # of the whole filter
    options: tuple[Option, ...]  # its choices


@dataclass(frozen=True)
class RunsPage:
    """One page of a portfolio's runs."""

    title: str  # of the page
    crumbs: Crumbs  # (words, address) of the pages above
    twin: str  # address of the same as JSON
    name: str  # the portfolio's
    runs: tuple[Row, ...]  # newest first
    filters: tuple[Filter, ...]  # none on the disk
    older: str  # address of the page with older runs
    newer: str  # address of the page with newer runs; empty while there is none
    note: str  # which runs these are


@dataclass(frozen=True)
class PortfolioRow:
    """One portfolio in the list."""

    name: str  # as the command line has it
    title: str  # what people call it
    href: str  # of its home
    tone: str  # how its health is coloured
    health: str  # in a word or two
    decision: str  # the last
    lead: str  # its reason's first sentence
    model: str  # version that serves
    at: Any  # when its newest run ended
    high: Any  # clients at high risk
    clients: str  # address of whom to call first; empty before the first assessment


@dataclass(frozen=True)
class HomePage:
    """The first page."""

    title: str  # of the page
    crumbs: Crumbs  # none
    twin: str  # address of the same as JSON
    portfolios: tuple[PortfolioRow, ...]  # those that want a person first


def runs(
    portfolio: str,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    page: int,
    more: bool,
    filters: Sequence[Filter] = (),
    note: str = "",
    links: tuple[str, str] | None = None,
    chosen: str = "",
    here: str = "",
) -> Page:
    """One page of a portfolio's runs.

    A page of the disk is numbered from the oldest and names only its neighbours: others that come do not change it.

    Args:
        portfolio: its name.
        title: what people call it.
        rows: lines of the book, newest first.
        page: which page, counted from 1, the oldest.
        more: whether there are runs after these.
        filters: where the API serves it.
        note: which runs these are, in place of the page's number.
        links: addresses of the older and the newer page, in place of the neighbours.
        chosen: the run that another is to be put beside; ``here`` is the address of this list, where one is chosen.

    Raises:
        ValueError: there is no such page.
    """
    if page < 1:
        raise ValueError(f"there is no page {page}: pages count from 1, the oldest")
    urls = Urls()
    older, newer = links or (urls.runs(page - 1) if page > 1 else "", urls.runs(page + 1) if more else "")
    return Page(
        "runs.html.j2",
        RunsPage(
            title=f"Runs, page {page}",
            crumbs=(("Attrition", urls.home), (text(title), urls.portfolio)),
            twin=twin(urls.runs(page)),
            name=text(portfolio),
            runs=tuple(row(urls, line, chosen, here) for line in rows),
            filters=tuple(filters),
            older=older,
            newer=newer,
            note=note or "Page 1 has the oldest runs.",
        ),
    )


def home(portfolios: Sequence[Mapping[str, Any]]) -> Page:
    """The first page: each portfolio with how it stands.

    Args:
        portfolios: name, title, tone, health, decision, lead, model, at, high; only the name must be there.
    """
    rank = {"bad": 0, "warn": 1}
    rows = sorted(map(_portfolio, portfolios), key=lambda each: (rank.get(each.tone, 2), each.name))
    return Page("home.html.j2", HomePage("Attrition", (), "index.json", tuple(rows)))


def _portfolio(given: Mapping[str, Any]) -> PortfolioRow:
    each, name = mapping(given), text(mapping(given).get("name"))
    return PortfolioRow(
        name=name,
        title=text(each.get("title")) or name,
        href=local(f"{name}/index.html"),
        tone=text(each.get("tone")) or "calm",
        health=text(each.get("health")),
        decision=text(each.get("decision")),
        lead=text(each.get("lead")),
        model=text(each.get("model")),
        at=each.get("at"),
        high=each.get("high"),
        clients=local(f"{name}/clients/index.html") if each.get("high") is not None else "",
    )
