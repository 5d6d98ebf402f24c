"""The lists: the runs of a portfolio, page by page, and the portfolios of a home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attrition.pages.frame import mapping, render, text
from attrition.pages.run import COUNTS
from attrition.pages.urls import local, run_page, runs_page

__all__ = ["HomePage", "Number", "PortfolioRow", "Quiet", "RunRow", "RunsPage", "State", "home", "runs"]


@dataclass(frozen=True)
class Quiet:
    """The ticks since the last run that found nothing to do."""

    since: Any
    last: Any
    ticks: Any


@dataclass(frozen=True)
class RunRow:
    """One run in the list."""

    run: str
    href: str
    status: str
    decision: str  # empty until one is made
    reason: str
    started_at: Any
    seconds: Any
    rows: tuple[tuple[str, Any], ...]  # (what, how many)
    model: str  # version
    quiet: Quiet | None  # the ticks after it


@dataclass(frozen=True)
class State:
    """How the portfolio stands."""

    model: str  # version that serves; empty where none does
    since: Any  # when it began to
    proven: bool | None  # whether it held on rows that came later; None: nobody said
    challenger: str  # version on trial
    decision: str  # the last one
    reason: str  # its sentence


@dataclass(frozen=True)
class Number:
    """One link in the row of pages."""

    page: int
    href: str
    gap: bool  # whether pages are left out before it


@dataclass(frozen=True)
class RunsPage:
    """What the page of a portfolio shows."""

    title: str
    crumbs: tuple[tuple[str, str], ...]
    name: str
    runs: tuple[RunRow, ...]  # newest first
    manual: tuple[RunRow, ...]  # those that somebody ran by hand, newest first
    state: State | None  # on the newest page only: the others are not written again
    page: int
    pages: int
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class PortfolioRow:
    """One portfolio in the list."""

    name: str
    title: str
    href: str
    last_run: Any  # a time or a run's name
    decision: str
    model: str
    fresh_at: Any


@dataclass(frozen=True)
class HomePage:
    """What the first page shows."""

    title: str
    crumbs: tuple[tuple[str, str], ...]
    portfolios: tuple[PortfolioRow, ...]


def runs(
    portfolio: str,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    page: int,
    pages: int,
    state: Mapping[str, Any],
) -> str:
    """One page of a portfolio's runs.

    Args:
        portfolio: its name.
        title: what people call it.
        rows: the runs of this page, newest first; keys run, status, decision, reason, started_at,
            seconds, rows, model (version), manual, report (relative address), quiet (since, last, ticks: the
            ticks after it that found no work).
        page: which page, counted from 1, the oldest; the last is index.html, another runs-N.html.
        pages: how many there are.
        state: model (version), since, proven, challenger, decision, reason.

    Raises:
        ValueError: there is no such page.
    """
    if not 1 <= page <= max(pages, 1):
        raise ValueError(f"there is no page {page} of {pages}: pages count from 1, the oldest")
    newest = page == max(pages, 1)
    by_hand = [row.get("manual") is True for row in rows]
    return render(
        "runs.html.j2",
        RunsPage(
            title=text(title),
            crumbs=(("Attrition", "../index.html"),),
            name=text(portfolio),
            runs=tuple(_run(row) for row, manual in zip(rows, by_hand, strict=True) if not manual),
            manual=tuple(_run(row) for row, manual in zip(rows, by_hand, strict=True) if manual),
            state=_state(state) if newest else None,
            page=page,
            pages=pages,
            numbers=_numbers(page, pages),
        ),
    )


def home(portfolios: Sequence[Mapping[str, Any]]) -> str:
    """The first page: each portfolio with a link to its own.

    Args:
        portfolios: keys name, title, href (relative address), last_run (a time or a run's name),
            decision, model (version), fresh_at.
    """
    rows = tuple(
        PortfolioRow(
            name=text(row.get("name")),
            title=text(row.get("title")) or text(row.get("name")),
            href=local(row.get("href")),
            last_run=row.get("last_run"),
            decision=text(row.get("decision")),
            model=text(row.get("model")),
            fresh_at=row.get("fresh_at"),
        )
        for row in portfolios
    )
    return render("home.html.j2", HomePage("Attrition", (), rows))


def _run(row: Mapping[str, Any]) -> RunRow:
    counts, quiet = mapping(row.get("rows")), mapping(row.get("quiet"))
    return RunRow(
        run=text(row.get("run")),
        href=local(row.get("report")) or run_page(row.get("run")),
        status=text(row.get("status")),
        decision=text(row.get("decision")),
        reason=text(row.get("reason")),
        started_at=row.get("started_at"),
        seconds=row.get("seconds"),
        rows=tuple((label, counts[key]) for key, label in COUNTS.items() if counts.get(key)),
        model=text(row.get("model")),
        quiet=Quiet(quiet.get("since"), quiet.get("last"), quiet.get("ticks")) if quiet.get("ticks") else None,
    )


def _state(state: Mapping[str, Any]) -> State:
    proven = state.get("proven")
    return State(
        model=text(state.get("model")),
        since=state.get("since"),
        proven=proven if isinstance(proven, bool) else None,
        challenger=text(state.get("challenger")),
        decision=text(state.get("decision")),
        reason=text(state.get("reason")),
    )


def _numbers(page: int, pages: int) -> tuple[Number, ...]:
    """Links to the first page, the last and those around this one."""
    kept = sorted({1, pages} | set(range(max(1, page - 2), min(pages, page + 2) + 1)))
    before = [0, *kept]
    return tuple(
        Number(number, runs_page(number, pages), number - previous > 1)
        for previous, number in zip(before, kept, strict=False)
    )
