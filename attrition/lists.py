"""The lists that are made on request, so that they can be filtered and searched, and two runs or models side by side.

Apart from the routes, which a process that only predicts loads too: this needs the libraries of the pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import request

from attrition import listing, pages, params, results, safe, value
from attrition.body import Refused
from attrition.book import Book
from attrition.book_file import BRIEFLY
from attrition.home import RUN, Place
from attrition.pages import Page, Urls
from attrition.pages.clients import Asked
from attrition.pages.index import Filter, Option
from attrition.pages.parts import client
from attrition.params import BANDS, ParamsError, Portfolio
from attrition.registry import VERSION
from attrition.site import RUNS_A_PAGE

__all__ = ["clients", "compared", "runs"]

CLIENTS_A_PAGE = 100
STATUSES = ("completed", "failed", "interrupted")
DECISIONS = ("learning", "held", "harmed", "on_trial", "promoted", "kept", "rolled_back")
MONTH = re.compile(r"[0-9]{4}(?:-[0-9]{2})?")


def runs(place: Place, number: int) -> Page:
    """A page of runs, newest first, or those asked for."""
    given = _given("status", "decision", "month", "before", "with")
    title, chosen = _title(place), given.get("with", "")
    _one_of("status", given, STATUSES)
    _one_of("decision", given, DECISIONS)
    if (month := given.get("month", "")) and not MONTH.fullmatch(month):
        raise Refused(400, "month: a year such as 2026, or a month such as 2026-03")
    asked = {key: given[key] for key in ("status", "decision", "month") if given.get(key)}
    with _book(place) as book:
        runs, span = book.state().runs, book.span()
        last = max(1, -(-runs // RUNS_A_PAGE))
        if asked or "before" in given:
            rows = book.found(**asked, before=_whole(given, "before"), limit=RUNS_A_PAGE + 1)
        else:
            newest = min(runs, number * RUNS_A_PAGE)
            rows = book.runs(limit=max(0, newest - (number - 1) * RUNS_A_PAGE), before=newest + 1) if newest > 0 else []
    urls, links, note = Urls(), None, ""
    if asked or "before" in given:
        older = (
            urls.runs(number, **asked, **{"before": rows[-2]["number"], "with": chosen})
            if len(rows) > RUNS_A_PAGE
            else ""
        )
        newer = urls.runs(number, **asked, **{"with": chosen}) if "before" in given else ""
        links, note = (older, newer), f"{len(rows[:RUNS_A_PAGE]):,} runs of those asked for, newest first."
    if chosen:
        note = f"Choose what to put beside {chosen}. {note}".strip()
    return pages.runs(
        place.name,
        title,
        rows[:RUNS_A_PAGE],
        page=max(1, number),
        more=number < last,
        filters=_filters(urls, number, asked, chosen, span),
        note=note,
        links=links,
        chosen=chosen if RUN.fullmatch(chosen) else "",
        here=urls.runs(number, **asked),
    )


def _filters(
    urls: Urls, number: int, asked: Mapping[str, str], chosen: str, span: tuple[str, str] | None
) -> list[Filter]:
    """Status, decision and date, each as plain links that keep the others."""

    def options(key: str, values: list[str]) -> tuple[Option, ...]:
        found = [Option("any", urls.runs(number, **{**asked, key: "", "with": chosen}), not asked.get(key))]
        return (
            *found,
            *(
                Option(
                    each.replace("_", " "),
                    urls.runs(number, **{**asked, key: each, "with": chosen}),
                    asked.get(key) == each,
                )
                for each in values
            ),
        )

    first, newest = (int(each[:4]) for each in span) if span else (0, -1)
    dates = [str(year) for year in range(newest, max(first, newest - 20) - 1, -1)]
    if year := asked.get("month", "")[:4]:
        dates += [f"{year}-{month:02}" for month in range(1, 13)]
    return [
        Filter("Status", options("status", list(STATUSES))),
        Filter("Decision", options("decision", list(DECISIONS))),
        Filter("Date", options("month", dates)),
    ]


def clients(place: Place) -> Page:
    """The clients by risk, also those who are not to be called: who searches for one wants to find it."""
    portfolio = params.load(place.params)
    given = _given("id", "band", "offset", *portfolio.show)
    _one_of("band", given, BANDS)
    shown = {name: given[name] for name in portfolio.show if given.get(name) and name not in ("id", "band", "offset")}
    offset, urls = _whole(given, "offset"), Urls("../")
    found = listing.page(
        place, listing.Asked(given.get("band"), shown, given.get("id") or None, limit=CLIENTS_A_PAGE, offset=offset)
    )
    if found is None:
        raise Refused(404, f"nobody was assessed yet: python runner.py tick {place.name}")
    asked = {**{key: given[key] for key in ("id", "band") if given.get(key)}, **shown}
    following = offset + CLIENTS_A_PAGE
    calls = _read(place.call_list)
    calls |= {"run": found["run"] or calls.get("run"), "model": found["model"] or calls.get("model")}
    calls.setdefault("columns", [{"name": name, "label": portfolio.label(name)} for name in portfolio.show])
    calls["currency"] = portfolio.costs.currency if portfolio.costs else ""
    links = (
        urls.clients(**asked, offset=max(0, offset - CLIENTS_A_PAGE)) if offset else "",
        urls.clients(**asked, offset=following) if following < found["total"] else "",
    )
    many = f"{found['total']:,} client{'' if found['total'] == 1 else 's'}"
    return pages.clients(
        portfolio.title,
        "Clients by risk" if asked or offset else "Whom to call first",
        calls,
        [
            client(each["rank"], _client(portfolio, each), [one["name"] for one in calls["columns"]])
            for each in found["clients"]
        ],
        note=f"{many} in this list, from number {offset + 1:,} on; who has left or is held out is marked.",
        filters=_groups(urls, portfolio, calls, asked),
        plan=None if asked or offset else _read_plan(place, calls),
        search=Asked(given.get("id", ""), tuple((key, each) for key, each in asked.items() if key != "id")),
        links=links,
    )


def _client(portfolio: Portfolio, each: Mapping[str, Any]) -> dict[str, Any]:
    gain, costs = None, portfolio.costs
    if costs:
        gain = float(value.expected_gain([each["probability"]], costs.call, costs.client, costs.kept)[0])
    as_of = each.get("as_of")
    return {**each, "gain": gain, "as_of": str(as_of)[:10] if as_of else "", "shown": each}


def _groups(urls: Urls, portfolio: Portfolio, calls: Mapping[str, Any], asked: Mapping[str, str]) -> list[Filter]:
    """Bands and the shown columns that lists were made by, each as plain links that keep the others."""

    def options(key: str, values: list[str]) -> tuple[Option, ...]:
        found = [Option("any", urls.clients(**{**asked, key: ""}), not asked.get(key))]
        return (
            *found,
            *(Option(each, urls.clients(**{**asked, key: each}), asked.get(key) == each) for each in values),
        )

    found = [Filter("Band", options("band", list(BANDS)))]
    for column in portfolio.show:
        values = [
            each["name"] for each in calls.get("lists", ()) if each["kind"] == "value" and each["column"] == column
        ]
        if values and column not in ("id", "band", "offset", "kind", "column", "name"):
            found.append(Filter(portfolio.label(column), options(column, values)))
    return found


def compared(place: Place) -> Page:
    """Two runs, or two models: the facts of their pages' twins."""
    given, twins, hrefs = _given("a", "b"), [], []
    for key in ("a", "b"):
        asked = given.get(key, "")
        href = Urls().model(asked) if VERSION.fullmatch(asked) else Urls().run(asked) if RUN.fullmatch(asked) else ""
        found = _read(place.executed / Path(href).with_suffix(".json")) if href else {}
        if not found:
            raise Refused(
                404, f"{key}: no run, and no model, with a page of that name; /pages/{place.name}/ lists them"
            )
        twins.append(found)
        hrefs.append(href)
    return pages.compare(*twins, title=_title(place), hrefs=(hrefs[0], hrefs[1]), up="", file="compare.html")


# ---- common to all


def _title(place: Place) -> str:
    try:
        return params.load(place.params).title
    except (ParamsError, OSError):
        return place.name


def _book(place: Place) -> Any:
    if not safe.exists(place.book):
        raise Refused(404, f"no run yet: python runner.py tick {place.name}")
    return Book.open(place.book, read_only=True, patience=BRIEFLY)


def _given(*known: str) -> dict[str, str]:
    """What was asked.

    Raises:
        Refused: 400 there is no such question.
    """
    if unknown := sorted(set(request.args) - {*known, "as"}):
        raise Refused(400, f"{unknown[0][:64]}: no such question; there are {', '.join(known)}")
    return {key: each[:1000] for key, each in request.args.items()}


def _one_of(name: str, given: Mapping[str, str], known: tuple[str, ...]) -> None:
    if given.get(name) and given[name] not in known:
        raise Refused(400, f"{name}: one of {', '.join(known)}")


def _whole(given: Mapping[str, str], name: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", asked := given.get(name) or "0"):
        raise Refused(400, f"{name}: a whole number")
    return int(asked)


def _read_plan(place: Place, calls: Mapping[str, Any]) -> Any:
    return (results.values(place, str(calls.get("run")), "70_assess") or {}).get("plan")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
