"""Whom to call first, why, and with what expected gain: of everybody, of a band, or by a shown column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attrition.pages.charts import Chart, Series, thinned
from attrition.pages.frame import Page, item, mapping, money, number, text
from attrition.pages.index import Filter, Option
from attrition.pages.parts import Client, Crumbs, client
from attrition.pages.trends import TABLE_ROWS
from attrition.pages.urls import Urls, twin

__all__ = ["Asked", "ClientsPage", "clients", "lists"]

UP = "../"


@dataclass(frozen=True)
class Asked:
    """What the API was asked for."""

    text: str  # a part of an id
    hidden: tuple[tuple[str, str], ...]  # the other questions, (name, value), that a search goes on from


@dataclass(frozen=True)
class ClientsPage:
    """A list of clients, highest risk first."""

    title: str  # of the page
    crumbs: Crumbs  # (words, address) of the pages above
    twin: str  # address of the same as JSON
    note: str  # which clients these are, and how many there are in all
    at: str  # the latest day that is known of any client
    model: str  # version that gave the risks
    model_href: str  # of its page
    run_href: str  # of the run that assessed them
    columns: tuple[str, ...]  # labels of the columns shown
    currency: str  # of the gains
    worth: str  # what calling is expected to bring, in a sentence; empty without costs
    clients: tuple[Client, ...]  # highest risk first
    filters: tuple[Filter, ...]  # other lists
    search: Asked | None  # where the API serves it
    chart: Chart | None  # expected gain over clients called
    older: str  # address of the page before
    newer: str  # address of the page after


def lists(title: str, calls: Mapping[str, Any], plan: object) -> dict[str, Page]:
    """All lists, by their address within the portfolio's folder; ``plan`` is 70_assess's, None without costs.

    That of everybody is the last: once it is written, so are the others.
    """
    urls, columns = Urls(UP), [each["name"] for each in calls["columns"]]
    found = {}
    for each in sorted(calls["lists"], key=lambda each: bool(each["kind"] == "everybody")):
        kind, column, name = each["kind"], each["column"], each["name"]
        label = next((one["label"] for one in calls["columns"] if one["name"] == column), "")
        called = {"everybody": "Whom to call first", "band": f"At {name} risk", "value": f"{label}: {name}"}[kind]
        address = Urls().clients(kind, column, name)
        shown = tuple(client(rank, calls["clients"][str(rank)], columns) for rank in each["ranks"])
        left = each["clients"] - each["callable"]
        gone = f" ({left:,} more have left or are held out)" if left else ""
        found[address] = clients(
            title,
            called,
            calls,
            shown,
            note=f"The first {len(shown):,} of {each['callable']:,} clients who can be called{gone}.",
            filters=_filters(urls, calls, kind, column, name),
            plan=plan if kind == "everybody" else None,
            address=address,
        )
    return found


def clients(
    title: str,
    called: str,
    calls: Mapping[str, Any],
    shown: Sequence[Client],
    *,
    note: str,
    filters: Sequence[Filter] = (),
    plan: object = None,
    search: Asked | None = None,
    links: tuple[str, str] = ("", ""),
    address: str = "clients/index.html",
) -> Page:
    """One list of clients.

    Args:
        title: of the portfolio.
        called: what the list is called.
        calls: run, model, newest, columns and currency, as the call list has them.
        shown: the clients.
        note: which and how many there are.
        filters: other lists.
        plan: what calling is expected to bring; None where nobody says.
        search: where the API serves it.
        links: addresses of the pages before and after.
        address: of this page within the portfolio's folder.
    """
    urls, currency = Urls(UP), text(calls.get("currency"))
    return Page(
        "clients.html.j2",
        ClientsPage(
            title=text(called),
            crumbs=(("Attrition", urls.home), (text(title), urls.portfolio)),
            twin=twin(address.rpartition("/")[2]),
            note=text(note),
            at=text(calls.get("newest")),
            model=text(calls.get("model")),
            model_href=urls.model(calls.get("model")),
            run_href=urls.run(calls.get("run")),
            columns=tuple(text(each["label"]) for each in calls["columns"]),
            currency=currency,
            worth=_worth(plan, currency),
            clients=tuple(shown),
            filters=tuple(filters),
            search=search,
            chart=_chart(plan, currency),
            **{"older": links[0], "newer": links[1]},
        ),
    )


def _filters(urls: Urls, calls: Mapping[str, Any], *current: str) -> list[Filter]:
    groups: dict[str, list[Option]] = {"Band": []}
    labels = {each["name"]: each["label"] for each in calls["columns"]}
    for each in calls["lists"]:
        about = (each["kind"], each["column"], each["name"])
        words = "everybody" if each["kind"] == "everybody" else f"{each['name']} ({each['callable']:,})"
        group = text(labels.get(each["column"], each["column"])) if each["kind"] == "value" else "Band"
        groups.setdefault(group, []).append(Option(text(words), urls.clients(*about), about == current))
    return [Filter(words, tuple(options)) for words, options in groups.items()]


def _worth(plan: object, currency: str) -> str:
    gain = number(item(plan, "gain"))
    if gain is None:
        return ""
    plan = mapping(plan)
    return (
        f"Calling the first {plan['called']:,} is expected to bring {money(gain, currency)}, after what the calls cost;"
        f" beyond them a call costs more than it brings. Calling all {plan['clients']:,} would bring"
        f" {money(plan.get('everybody'), currency)}."
    )


def _chart(plan: object, currency: str) -> Chart | None:
    points = [each for each in item(plan, "points") or () if number(item(each, "gain")) is not None]
    if not points:
        return None
    plan = mapping(plan)
    line = tuple((float(each["called"]), float(each["gain"])) for each in thinned(points))
    low, high = min(0.0, *(y for _, y in line)), max(1.0, *(y for _, y in line))
    best = ((float(plan["called"]), float(plan["gain"])),)
    return Chart(
        title="What calling is expected to bring",
        words=f"clients called to the right, highest risk first; most with {plan['called']:,} called",
        x=(0.0, max(x for x, _ in line) or 1.0),
        y=(low, high),
        x_labels=("0 called", f"{plan['clients']:,}"),
        y_labels=(money(high, currency), money((low + high) / 2, currency), money(low, currency)),
        series=(
            Series("nothing gained", "limit", ((0.0, 0.0), (line[-1][0], 0.0)), (), True, False),
            Series("expected gain", "one", line, (), True, False),
            Series(f"best: {plan['called']:,} called", "two", best, (), False, True),
        ),
        marks=(),
        columns=("Clients called", "Expected gain"),
        rows=tuple((f"{x:,.0f}", money(y, currency)) for x, y in thinned(line, TABLE_ROWS)),
    )
