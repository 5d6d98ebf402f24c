"""A portfolio's home: is the model healthy, how fresh is all this, who is at risk, what was decided last, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from attrition.pages.charts import Chart
from attrition.pages.frame import Page, item, mapping, moment, number, text
from attrition.pages.parts import Client, Crumbs, Row, client, row, sentences
from attrition.pages.trends import error_chart, evidence_chart
from attrition.pages.urls import Urls

__all__ = ["Band", "Calls", "Decided", "Deployed", "PortfolioPage", "last_tick", "portfolio"]

WEEK = timedelta(days=7)
HEALTH = {
    "": ("calm", "no model yet", "No model serves yet."),
    "failed": ("bad", "needs a person", "The last run failed: the model that serves is the one from before."),
    "interrupted": ("warn", "cut short", "The last run was cut short: the next tick does what is missing."),
    "harmed": (
        "bad",
        "worse than promised",
        "The model does worse than it promised, and a refit would not mend it yet.",
    ),
    "trial": ("warn", "watched", "A challenger is on trial against the model that serves."),
    "alarm": ("warn", "no longer holds", "The clients have changed: a new model is being looked for."),
    "unproven": ("warn", "not proven yet", "The model holds, but has not been proven against another."),
    "good": ("good", "healthy", "The model holds."),
}


@dataclass(frozen=True)
class Decided:
    """The last decision."""

    decision: str  # one word; empty before the first
    lead: str  # the reason's first sentence
    rest: str  # the others
    at: Any  # when it was made
    href: str  # of the run that made it


@dataclass(frozen=True)
class Band:
    """How many clients are in a band."""

    band: str  # high, medium or low
    clients: Any  # how many there are now
    change: int | None  # since the run a week ago or more
    callable: int | None  # of them, who has not left and is not held out; None where nobody knows
    href: str  # of the list


@dataclass(frozen=True)
class Calls:
    """Whom to call first."""

    called: Any  # how many calls pay; None without costs
    gain: float | None  # what these are expected to bring
    currency: str  # of the gain
    columns: tuple[str, ...]  # labels of the columns shown
    clients: tuple[Client, ...]  # the first of the list
    newest: str  # the latest day that is known of any client
    by: str  # by what else than the band the list is parted, in words; empty where by nothing
    href: str  # of the whole list


@dataclass(frozen=True)
class Deployed:
    """One model's time in service."""

    model: str  # version
    href: str  # of its page
    since: Any  # when it began
    until: Any  # None while it serves
    proven: bool  # whether it had been shown to be better
    lead: str  # why, the first sentence
    rest: str  # why, the others
    run: str  # address of the run that deployed it


@dataclass(frozen=True)
class PortfolioPage:
    """A portfolio's home."""

    title: str  # what people call it
    crumbs: Crumbs  # (words, address) of the pages above
    twin: str  # address of the same as JSON
    name: str  # as the command line has it
    tone: str  # how its health is coloured
    health: str  # in a word or two
    healthy: str  # in a sentence
    model: str  # version that serves; empty where none does
    model_href: str  # of its page
    since: Any  # when it began to
    proven: bool | None  # whether it was shown to be better; None: nobody said
    challenger: str  # version on trial
    challenger_href: str  # of its page
    failed: str  # address of the last run where it failed; else empty
    last: Decided  # the last decision
    told: bool  # whether the last decision is told in full among the deployments
    at: Any  # when the newest run ended, with which all this was written
    status: str  # how that run ended
    bands: tuple[Band, ...]  # high first; empty before the first assessment
    off_list: int | None  # clients who have left or are held out; None where nobody knows
    compared: Any  # with when the bands are compared; None where nothing is a week old
    calls: Calls | None  # whom to call; None before the first assessment
    charts: tuple[Chart, ...]  # error and evidence over time
    deployments: tuple[Deployed, ...]  # newest first
    more_deployed: bool  # whether there were others before
    runs: tuple[Row, ...]  # newest first
    manual: tuple[Row, ...]  # those that somebody ran by hand, newest first
    runs_href: str  # of all runs
    models_href: str  # of all models


def portfolio(
    name: str,
    title: str,
    *,
    state: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    points: Sequence[Mapping[str, Any]],
    calls: Mapping[str, Any],
    deployments: Sequence[Mapping[str, Any]],
    pages: int,
) -> Page:
    """A portfolio's home.

    Args:
        name: as the command line has it.
        title: what people call it.
        state: champion and challenger (versions or None), decided (the line of the run that last decided).
        lines: of the book, the newest runs, newest first.
        points: of the history, oldest first.
        calls: of the call list; empty before the first.
        deployments: newest first; one more than is shown tells that there were others.
        pages: how many pages of runs there are.
    """
    urls = Urls()
    newest, decided = mapping(lines[0] if lines else None), mapping(state.get("decided"))
    deployed = mapping(deployments[0] if deployments else None)
    champion = text(state.get("champion"))
    last = last_tick(lines)
    tone, health, sentence = HEALTH[_health(state, last, deployed, points)]
    bands, compared = _bands(urls, points, calls)
    everybody = _listed(calls, "everybody", "")
    rows = [row(urls, line) for line in lines]
    return Page(
        "portfolio.html.j2",
        PortfolioPage(
            title=text(title),
            crumbs=(("Attrition", urls.home),),
            twin="index.json",
            name=text(name),
            tone=tone,
            health=health,
            healthy=sentence,
            **_serving(urls, champion, state, deployed),
            failed=urls.run(last.get("run")) if last.get("status") == "failed" else "",
            last=_decided(urls, decided),
            told=bool(decided.get("run")) and decided.get("run") in [each.get("run") for each in deployments[:10]],
            at=newest.get("finished_at") or newest.get("started_at"),
            status=text(newest.get("status")),
            bands=bands,
            off_list=everybody["clients"] - everybody["callable"] if everybody else None,
            compared=compared,
            calls=_calls(urls, calls, points),
            charts=tuple(chart for chart in (error_chart(urls, points), evidence_chart(urls, points)) if chart),
            deployments=tuple(_deployed(urls, each) for each in deployments[:10]),
            more_deployed=len(deployments) > 10,
            runs=tuple(each for each in rows if not each.manual)[:10],
            manual=tuple(each for each in rows if each.manual)[:5],
            runs_href=urls.runs(pages),
            models_href=urls.models,
        ),
    )


def _serving(urls: Urls, champion: str, state: Mapping[str, Any], deployed: Mapping[str, Any]) -> dict[str, Any]:
    """The model that serves, since when and whether it was proven; the one on trial."""
    proven, challenger = deployed.get("proven"), state.get("challenger")
    return {
        "model": champion,
        "model_href": urls.model(champion),
        "since": deployed.get("since"),
        "proven": proven if isinstance(proven, bool) else None,
        "challenger": text(challenger),
        "challenger_href": urls.model(challenger),
    }


def last_tick(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The last run that did a tick's work: a stage tried by hand, a rollback or a forgetting mends no failure."""
    by_hand = ("", "rolled_back")
    return mapping(
        next((each for each in lines if not (each.get("manual") and text(each.get("decision")) in by_hand)), None)
    )


def _health(
    state: Mapping[str, Any],
    last: Mapping[str, Any],
    deployed: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
) -> str:
    """Which of HEALTH it is; what wants a person comes first."""
    judged: Mapping[str, Any] = next((each for each in reversed(points) if each.get("share") is not None), {})
    # A new champion is not spoken of by what was found about the one before.
    alarm = bool(judged.get("alarm")) and judged.get("champion") == state.get("champion")
    for name, holds in (
        ("failed", last.get("status") == "failed"),
        ("interrupted", last.get("status") == "interrupted"),
        ("", not state.get("champion")),
        ("harmed", item(state, "decided", "decision") == "harmed"),
        ("alarm", alarm),
        ("trial", bool(state.get("challenger"))),
        ("unproven", deployed.get("proven") is False),
    ):
        if holds:
            return name
    return "good"


def _decided(urls: Urls, line: Mapping[str, Any]) -> Decided:
    lead, rest = sentences(line.get("reason"))
    return Decided(text(line.get("decision")), lead, rest, line.get("started_at"), urls.run(line.get("run")))


def _listed(calls: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    """One list of the call lists; empty where it is not there."""
    return next((each for each in calls.get("lists", ()) if (each["kind"], each["name"]) == (kind, name)), {})


def _bands(urls: Urls, points: Sequence[Mapping[str, Any]], calls: Mapping[str, Any]) -> tuple[tuple[Band, ...], Any]:
    counted = [each for each in points if mapping(each.get("bands"))]
    if not counted:
        return (), None
    now, newest = counted[-1]["bands"], moment(counted[-1].get("at"))
    weeks = [
        each for each in counted[:-1] if newest and (at := moment(each.get("at"))) is not None and newest - at >= WEEK
    ]
    then = weeks[-1] if weeks else None
    return tuple(
        Band(
            name,
            now.get(name),
            _change(now.get(name), item(then, "bands", name)),
            _listed(calls, "band", name).get("callable"),
            urls.clients("band", "", name),
        )
        for name in ("high", "medium", "low")
    ), then.get("at") if then else None


def _change(now: object, then: object) -> int | None:
    return now - then if isinstance(now, int) and isinstance(then, int) else None


def _calls(urls: Urls, calls: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> Calls | None:
    listed = _listed(calls, "everybody", "")
    if not listed:
        return None
    plan: Mapping[str, Any] = next((each["plan"] for each in reversed(points) if each.get("plan")), {})
    columns = [each["name"] for each in calls["columns"]]
    parted = {each["column"] for each in calls["lists"] if each["kind"] == "value"}
    labels = [text(each["label"]) for each in calls["columns"] if each["name"] in parted]
    return Calls(
        called=plan.get("called"),
        gain=number(plan.get("gain")),
        currency=text(calls.get("currency")),
        columns=tuple(text(each["label"]) for each in calls["columns"]),
        clients=tuple(client(rank, calls["clients"][str(rank)], columns) for rank in listed["ranks"][:5]),
        newest=text(calls.get("newest")),
        by="".join(f" and by {label}" for label in labels),
        href=urls.clients(),
    )


def _deployed(urls: Urls, each: Mapping[str, Any]) -> Deployed:
    lead, rest = sentences(each.get("why"))
    return Deployed(
        model=text(each.get("version")),
        href=urls.model(each.get("version")),
        since=each.get("since"),
        until=each.get("until"),
        proven=each.get("proven") is True,
        lead=lead,
        rest=rest,
        run=urls.run(each.get("run")),
    )
