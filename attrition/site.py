"""The pages of a portfolio and of the home, brought up to date after a run at a cost that does not grow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from attrition import chronicle, pages, publish, registry, safe
from attrition.book import Book
from attrition.home import Home, Place
from attrition.pages import Page, Urls
from attrition.params import Portfolio
from attrition.runs import ACCOUNT, Run

__all__ = ["RUNS_A_PAGE", "model_page", "runs_page", "write"]

RUNS_A_PAGE = 100
MODELS_A_PAGE = 100
NEWEST = 30
"""Runs that a portfolio's home is made from."""


def write(place: Place, portfolio: Portfolio, book: Book, closed: Sequence[Run] = ()) -> None:
    """Write what the newest run changes: the portfolio's home, its newest lists, whom to call, models, the home.

    Until all of it stands, `Place.at_work` does. Of runs that were ``closed`` for others, whose process was gone, the
    pages come first.

    Raises:
        OSError: what it is made of cannot be read at the moment, or a page cannot be written.
    """
    if not safe.exists(place.at_work):
        place.begin_lists()
    for run in closed:
        publish.run_page(place, run, portfolio, book)
    newest = _newest(place, book)
    points = _history(place, book)
    calls = _read(place.call_list)
    _runs(place, portfolio, book)
    if calls:
        _clients(place, portfolio, calls, newest)
    _models(place, portfolio, book, newest)
    state = book.state()
    page = pages.portfolio(
        place.name,
        portfolio.title,
        state={"champion": state.champion, "challenger": state.challenger, "decided": _decided(book)},
        lines=book.runs(limit=NEWEST),
        points=points,
        calls=calls,
        deployments=book.deployments(11),
        pages=max(1, -(-state.runs // RUNS_A_PAGE)),
    )
    _put(place, "index.html", page)
    shown = page.context
    high = next((band.clients for band in shown.bands if band.band == "high"), None)
    card = {key: getattr(shown, key) for key in ("name", "title", "tone", "health", "model", "at")}
    card |= {"decision": shown.last.decision, "lead": shown.last.lead, "high": high}
    safe.write(place.executed / "card.json", json.dumps(card, ensure_ascii=False))
    _home(Home(place.root))
    place.at_work.unlink(missing_ok=True)


def _newest(place: Place, book: Book) -> Run | None:
    """The newest run, where its folder is there."""
    for line in book.runs(limit=1):
        folder = place.executed / str(line["run"])
        return Run.read(folder) if safe.is_file(folder / "run.json") else None
    return None


def _history(place: Place, book: Book) -> list[dict[str, Any]]:
    """The points of all runs, brought forward by those that are not in it yet: one, unless a crash left more."""
    path, last = place.executed / "history.json", book.state().runs
    missing = book.runs(limit=min(last - chronicle.read(path)["last"], chronicle.MOST)) if last else []
    points: list[dict[str, Any]] = chronicle.forward(path, _points(place, missing[::-1]), last)["points"]
    return points


def _points(place: Place, lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for line in lines:
        folder = place.executed / line["run"]
        if line["status"] == "running" or not safe.is_file(folder / "run.json"):
            continue
        run = Run.read(folder)
        if "based_on" not in run.report:  # tried by hand: nothing came of it
            yield chronicle.point(line, run.report, run.recorded("70_assess"))


def _runs(place: Place, portfolio: Portfolio, book: Book) -> None:
    """The newest list of runs, and the one before it, which was the newest until this run."""
    last = max(1, -(-book.state().runs // RUNS_A_PAGE))
    for number in range(max(1, last - 1), last + 1):
        runs_page(place, portfolio, book, number)


def runs_page(place: Place, portfolio: Portfolio, book: Book, number: int) -> None:
    """Write one list of runs; they are numbered from the oldest."""
    runs = book.state().runs
    newest = min(runs, number * RUNS_A_PAGE)
    rows = book.runs(limit=newest - (number - 1) * RUNS_A_PAGE, before=newest + 1) if runs else []
    _missing(place, portfolio, book, rows)
    page = pages.runs(place.name, portfolio.title, rows, page=number, more=number * RUNS_A_PAGE < runs)
    _put(place, Urls().runs(number), page)


def _missing(place: Place, portfolio: Portfolio, book: Book, rows: list[dict[str, Any]]) -> None:
    """Write the pages that a list would name and that are not there: a tick was killed right after it closed a run."""
    for folder in (place.executed / row["run"] for row in rows):
        if safe.exists(folder / ACCOUNT) and not safe.exists(folder / "index.html"):
            publish.run_page(place, Run.read(folder), portfolio, book)


def _clients(place: Place, portfolio: Portfolio, calls: Mapping[str, Any], newest: Run | None) -> None:
    """The lists of whom to call; those that are there already are of the newest assessment, unless it was just made."""
    folder = safe.make_folder(place.executed / "clients")
    if safe.exists(folder / "index.html") and (newest is None or calls["run"] != newest.name):
        return
    folder_of = place.executed / str(calls["run"])
    plan = (
        Run.read(folder_of).recorded("70_assess").get("70_assess", {}).get("plan") if safe.exists(folder_of) else None
    )
    lists = pages.lists(portfolio.title, calls, plan)
    for address, page in lists.items():
        _put(place, address, page)
    for old in safe.entries(folder, "by-*.html"):  # of an owner who has nobody any more
        if f"clients/{old.name}" not in lists:
            old.unlink()
            old.with_suffix(".json").unlink(missing_ok=True)


def _models(place: Place, portfolio: Portfolio, book: Book, newest: Run | None) -> None:
    """The pages of the models that the newest run speaks of, and the list of models."""
    state = book.state()
    spoken = [state.champion, state.challenger]
    spoken += [newest.report.get("champion_before"), newest.report.get("challenger")] if newest else []
    safe.make_folder(place.executed / "models")
    judged = _judged(newest) if newest else {}
    for version in sorted({each for each in spoken if each}):
        model_page(place, portfolio, book, version, judged.get(version))
    found = [
        {**line, "compared": safe.exists(place.executed / Urls().model(line["version"], "compare"))}
        for line in book.models(MODELS_A_PAGE)
    ]
    _put(place, Urls().models, pages.models(portfolio.title, found, state.versions))


def model_page(
    place: Place, portfolio: Portfolio, book: Book, version: str, judged: Mapping[str, Any] | None = None
) -> None:
    """Write the page of a model; ``judged`` is how good the newest run found it, if it did.

    Raises:
        OSError: what it is made of cannot be read at the moment.
    """
    try:
        manifest = msgspec.to_builtins(registry.read_manifest(registry.version_path(place.models, version)))
    except registry.ModelUnreadable as error:
        raise error.passing() from None
    except (registry.ModelRefused, ValueError):  # damaged: the tick's own stages say so
        return
    kept = place.executed / "models" / f"{version}-judged.json"
    if judged:
        safe.write(kept, json.dumps(judged, ensure_ascii=False))
    trained = _read(place.executed / str(manifest["run"]) / "run.json")
    against = str(trained.get("champion_before") or "")
    line = book.model(version)
    page = pages.model(
        portfolio.title,
        manifest,
        status=line["status"],
        why=" ".join(filter(None, (line["why"], manifest.get("not_replayable")))),
        deployments=[each for each in book.deployments() if each["version"] == version],
        judged=judged or _read(kept),
        against=against,
        target=portfolio.target.column,
    )
    _put(place, Urls().model(version), page)
    other = _read(place.executed / "models" / f"{against}.json") if against else {}
    if other:
        file, hrefs = f"{version}-compare.html", (f"{against}.html", f"{version}.html")
        both = pages.compare(other, json.loads(page.json()), title=portfolio.title, hrefs=hrefs, file=file)
        _put(place, Urls().model(version, "compare"), both)


def _judged(run: Run) -> dict[str, dict[str, Any]]:
    """How good the models were that a run measured: by version, on which clients, overall and by segment."""
    recorded = run.recorded("20_monitor", "40_score")
    monitor, score = recorded.get("20_monitor", {}), recorded.get("40_score", {})
    found: dict[str, dict[str, Any]] = {}
    champion, performance = run.report.get("champion_before"), monitor.get("performance")
    if champion and performance:
        on = f"On {performance['n']:,} clients whose outcome came in run {run.name}."
        found[champion] = {"performance": performance, "segments": monitor.get("segments") or [], "on": on}
    for side in (score.get("scores") or {}).values():
        if side and side["unseen"] and side["version"] not in found:
            on = f"On {side['unseen']['n']:,} clients that it had not seen, in run {run.name}."
            segments = (score.get("segments") or {}).get(side["version"]) or []
            found[side["version"]] = {"performance": side["unseen"], "segments": segments, "on": on}
    return found


def _decided(book: Book) -> dict[str, Any] | None:
    """The newest run that decided; None where the newest hundred did not."""
    return next((line for line in book.runs(limit=100) if line["decision"]), None)


def _home(home: Home) -> None:
    """The list of portfolios, from the card that each has left.

    Where another portfolio's tick leaves its card after the look and writes the page first, its word must be the last.
    """
    written: list[dict[str, Any]] | None = None
    while (cards := _cards(home)) != written:
        page = pages.home(cards)
        safe.write(home.root / "executed" / "index.json", page.json())
        safe.write(home.root / "executed" / "index.html", page.html())
        written = cards


def _cards(home: Home) -> list[dict[str, Any]]:
    cards = []
    for name in home.portfolios():
        with suppress(OSError):  # what is wrong with one portfolio stops no other's tick
            cards.append(_read(home.place(name).executed / "card.json"))
    return [card for card in cards if card]


def _put(place: Place, address: str, page: Page) -> None:
    """Write a page and its twin."""
    path = place.executed / address
    safe.write(path.with_suffix(".json"), page.json())
    safe.write(path, page.html())


def _read(path: Any) -> dict[str, Any]:
    """A file of JSON; empty where there is none, or a torn one. One that cannot be read is left for the next tick."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (FileNotFoundError, ValueError):
        return {}
