"""What the builders of pages are given, one example of each kind with nothing left out, and the pages made of it."""

from __future__ import annotations

from typing import Any

from pages_kit import filled

from attrition import pages
from attrition.pages import Page, Urls
from attrition.pages.clients import Asked
from attrition.pages.index import Filter, Option
from attrition.pages.parts import client

RUN, BEFORE = "20261123T013000Z-0007", "20261122T013000Z-0006"


def measure(value: float, wide: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - wide, "high": value + wide}


SCORE: dict[str, Any] = {
    **{"n": 412, "positives": 120, "confusion": [[250, 42], [60, 60]]},
    **{"brier": measure(0.171), "log_loss": measure(0.5), "auc": measure(0.8), "f1": {"value": 0.6, "low": None}},
}
BETTER = {**SCORE, "brier": measure(0.12), "auc": measure(0.801)}
BINS = [{"from": 0.0, "to": 0.1, "n": 90, "predicted": 0.05, "observed": 0.07, "low": 0.03, "high": 0.14}]
CURVE = [{"share": 0.0, "found": 0.0}, {"share": 0.5, "found": 0.8}, {"share": 1.0, "found": 1.0}]
SEGMENTS = [
    {"column": "owner", "label": "account manager", "value": "Ann", "n": 40, "predicted": 0.3, "observed": 0.5}
    | {"brier": measure(0.3)}
]
PLAN = {"clients": 900, "threshold": 0.3, "called": 120, "gain": 5120.0, "everybody": -900.0}
PLAN |= {"points": [{"called": 0, "gain": 0.0}, {"called": 120, "gain": 5120.0}, {"called": 900, "gain": -900.0}]}
BANDS = [
    {"band": name, "from": 0.0, "this_run": 9, "all": n} for name, n in (("high", 90), ("medium", 210), ("low", 600))
]
CHANGES = [
    {"feature": "tickets", "label": "support tickets", "then": 1.5, "now": 6.2, "size": 0.5, "effect": 1.0}
    | {"missing_then": 0.0, "missing_now": 0.1, "p_adjusted": 0.0, "beyond_chance": True, "sentence": "they rose"},
    {"feature": "plan", "label": "plan", "then": {"Basic": 0.6, "Team": 0.4}, "now": {"Basic": 0.5, "Team": 0.5}}
    | {"size": 0.1, "missing_then": 0.0, "missing_now": 0.0, "beyond_chance": False, "sentence": "it may be chance"},
]
RECORDED: dict[str, dict[str, Any]] = {
    "10_ingest": {
        "files": [
            {"name": "good.csv", "rows_in": 500, "ingested": 500, "duplicates": 0, "quarantined": 0, "reasons": {}}
            | {"notes": []},
            {"name": "bad.csv", "rows_in": 20, "ingested": 0, "duplicates": 12, "quarantined": 8, "notes": ["a note"]}
            | {"reasons": {"months below 0": 8}},
        ]
    },
    "20_monitor": {
        **{"performance": SCORE, "calibration": BINS, "gain": CURVE, "segments": SEGMENTS, "changes": CHANGES},
        **{"without_outcome": {"sentence": "About 30% of those will leave."}, "answer": "It no longer holds."},
    },
    "40_score": {
        "scores": {
            "champion": {"version": "0001", "unseen": SCORE, "test": None},
            "challenger": {"version": "0002", "unseen": BETTER, "test": None},
        },
        "curves": {"0001": {"calibration": BINS, "gain": CURVE}, "0002": {"calibration": BINS, "gain": CURVE}},
        **{"segments": {"0002": SEGMENTS}, "answer": "The proof stands at 12 of 164."},
    },
    "70_assess": {"bands": BANDS, "plan": PLAN},
}
PARAMS = [
    {"key": "hold_out", "value": 0.1, "default": 0.1},
    {"key": "rules.alpha", "value": 0.2, "default": None},
    {"key": "delimiter", "value": ";", "default": ","},
]


def report(**changes: Any) -> dict[str, Any]:
    """A run.json."""
    stages = [
        ("ingest", "completed", 1.2, "10_ingest.html", None),
        ("train", "failed", 75.0, "30_train.html", None),
        ("score", "skipped", None, None, "the run was failed before it"),
    ]
    keys = ("name", "status", "seconds", "report", "reason")
    return {
        **{"run": RUN, "portfolio": "telco", "status": "failed", "manual": True, "decision": "rolled_back"},
        **{"reason": "0001 serves again. It did better.", "started_at": "2026-11-23T01:30:00Z"},
        **{"finished_at": "2026-11-23T01:31:15Z", "data_version": 3, "champion_before": "0001", "challenger": "0002"},
        "rows": {"in": 1520, "ingested": 1500, "duplicates": 12, "quarantined": 8},
        "model": {"version": "0001", "sha256": "9f86d0"},
        "stages": [dict(zip(keys, stage, strict=True)) for stage in stages],
        "error": {"stage": "train", "cell": 6, "name": "ValueError", "message": "one class", "advice": "Wait."},
        **{"performance": SCORE, "evidence": {"share": 0.04, "alarm": True, "change": 3, "log10": 1.0}},
        **{"params": PARAMS, "params_sha256": "aa", "based_on": BEFORE},
        **changes,
    }


def line(number: int = 7, **changes: Any) -> dict[str, Any]:
    """A run's line in the book."""
    return {
        **{"number": number, "run": RUN, "status": "completed", "decision": "held", "reason": "It holds. So far."},
        **{"manual": False, "model": "0002", "started_at": "2026-11-23T01:30:00Z"},
        **{"finished_at": "2026-11-23T01:31:00Z", "seconds": {"ingest": 1.25, "monitor": 2.0}},
        "rows": {"in": 520, "ingested": 500, "duplicates": 12, "quarantined": 8},
        "quiet": {"since": "2026-11-23T12:45:00Z", "last": "2026-11-23T14:45:00Z", "ticks": 9},
        **changes,
    }


def point(number: int, at: str, **changes: Any) -> dict[str, Any]:
    """A point of the history."""
    return {
        **{"number": number, "run": f"20261101T013000Z-{number:04}", "status": "completed", "decision": "held"},
        **{"model": "0001", "champion": "0001", "challenger": None, "data_version": number, "at": at, "n": 400},
        **{"brier": measure(0.17), "share": 0.04, "alarm": False, "change": None, "plan": PLAN},
        "bands": {"high": 80 + number, "medium": 200, "low": 600},
        **changes,
    }


POINTS = [
    point(1, "2026-11-01T01:30:00Z", decision="promoted", brier=None, share=None),
    point(2, "2026-11-08T01:30:00Z"),
    point(3, "2026-11-16T01:30:00Z", alarm=True, change=2, share=40.0),
    point(4, "2026-11-23T01:30:00Z", decision="promoted", model="0002", brier=measure(0.24)),
]
DEPLOYMENTS = [
    {"version": "0002", "run": RUN, "since": "2026-11-20T10:00:00Z", "until": None, "proven": True}
    | {"why": "Model 0002 replaces 0001: it is better. Clients have changed since March."},
    {"version": "0001", "run": BEFORE, "since": "2026-11-01T10:00:00Z", "until": "2026-11-20T10:00:00Z"}
    | {"proven": False, "why": "ann rolled back from 0003 to 0001: it hurt."},
]
STATE = {"champion": "0002", "challenger": "0003", "decided": line(decision="promoted")}
CALLS: dict[str, Any] = {
    **{"run": RUN, "model": "0002", "data_version": 3, "newest": "2026-11-22", "currency": "EUR"},
    "columns": [{"name": "owner", "label": "account manager"}],
    "lists": [
        {"kind": "everybody", "column": "", "name": "", "clients": 4, "callable": 3, "ranks": [1, 2]},
        {"kind": "band", "column": "", "name": "high", "clients": 2, "callable": 2, "ranks": [1]},
        {"kind": "band", "column": "", "name": "medium", "clients": 2, "callable": 1, "ranks": [2]},
        {"kind": "band", "column": "", "name": "low", "clients": 0, "callable": 0, "ranks": []},
        {"kind": "value", "column": "owner", "name": "Ann", "clients": 2, "callable": 2, "ranks": [2]},
    ],
    "clients": {
        "1": {"id": "c-1", "as_of": "2026-11-22", "probability": 0.91, "band": "high", "gain": 61.5}
        | {"reasons": ["tickets 9, usual 2: odds of leaving × 4.1"], "shown": {"owner": "Bo"}},
        "2": {"id": "c-2", "as_of": None, "probability": 0.4, "band": "medium", "gain": None, "change": 0.125}
        | {"reasons": [], "shown": {"owner": "Ann"}, "gone": True},
    },
}
COEFFICIENTS = [
    {"feature": "tickets", "level": None, "coefficient": 1.2, "odds_ratio": 3.3, "words": "tickets: odds × 3.3"},
    {"feature": "plan", "level": "Team", "coefficient": -0.6, "odds_ratio": 0.55, "words": "plan Team: odds × 0.55"},
]
MANIFEST: dict[str, Any] = {
    **{"version": "0002", "portfolio": "telco", "sha256": "aa", "data_version": 2, "known": 900, "left": 300},
    **{"way": "offset", "mends": "0001", "params": {"C": 1.0}, "params_sha256": "bb", "run": BEFORE, "metrics": {}},
    **{"coefficients": COEFFICIENTS, "features": ["tickets", "plan"], "libraries": {"python": "3.11"}},
    **{"git_commit": "cc", "trained_at": "2026-11-19T10:00:00Z"},
}
CARDS = [
    {"name": "telco", "title": "Telecom clients", "tone": "bad", "health": "needs a person", "decision": "held"}
    | {"lead": "It holds.", "model": "0002", "at": "2026-11-23T14:45:00Z", "high": 90},
    {"name": "capstone"},
]


def home(text: str = "") -> Page:
    return pages.home(_given(CARDS, text))


def portfolio(text: str = "", **changes: Any) -> Page:
    given: dict[str, Any] = {"state": STATE, "lines": [line(), line(6, manual=True)], "points": POINTS}
    given |= {"calls": CALLS, "deployments": DEPLOYMENTS, "pages": 3, **changes}
    return pages.portfolio(text or "telco", text or "Telecom clients", **_given(given, text))


def runs(text: str = "", page: int = 3, more: bool = False, **options: Any) -> Page:
    lines = _given([line(), line(6, manual=True, status="failed", quiet=None)], text)
    return pages.runs(text or "telco", text or "Telecom clients", lines, page=page, more=more, **options)


def live(text: str = "") -> Page:
    """A list as the API makes it."""
    options = (
        Option(text or "any", "runs-3.html", True),
        Option(text or "failed", text or "runs-3.html?status=x", False),
    )
    filters = [Filter(text or "Status", options)]
    return runs(
        text, filters=filters, note=text or "those asked for", links=(text, text), chosen=RUN, here="runs-3.html"
    )


def run(text: str = "", **changes: Any) -> Page:
    broken = {"source": "fit()  # now", "trace": "Traceback\nValueError: one class"}
    return pages.run(
        _given(report(**changes), text),
        title=text or "Telecom clients",
        recorded=_given(RECORDED, text),
        broken=_given(broken, text),
        previous=True,
    )


def model(text: str = "") -> Page:
    return pages.model(
        text or "Telecom clients",
        _given(MANIFEST, text),
        status=text or "retired",
        why=text or "0003 is better. Much.",
        deployments=_given(DEPLOYMENTS, text),
        judged=_given({"performance": SCORE, "segments": SEGMENTS, "on": "On 412 clients."}, text),
        against="0001",
        target=text or "churned",
    )


def models(text: str = "") -> Page:
    found = [{"version": "0002", "status": "champion", "why": None, "run": RUN, "compared": True}]
    found.append({"version": "0001", "status": "retired", "why": "0002 is better. Much.", "run": BEFORE})
    return pages.models(text or "Telecom clients", _given(found, text), 7)


def clients(text: str = "") -> Page:
    return pages.lists(text or "Telecom clients", _given(CALLS, text), PLAN)["clients/index.html"]


def searched(text: str = "") -> Page:
    """A list as the API makes it."""
    given = _given(CALLS, text)
    found = [client(int(rank), each, ["owner"]) for rank, each in given["clients"].items()]
    asked = Asked(text or "c-", ((text or "band", text or "high"),))
    return pages.clients(text or "Telecom clients", text or "Clients", given, found, note=text or "n", search=asked)


def compare(text: str = "") -> Page:
    before = report(run=BEFORE, reason="Other.", decision="held", performance=BETTER, params=[])
    given = [json_of(pages.run(_given(each, text), title="t", recorded=RECORDED)) for each in (before, report())]
    hrefs = (Urls("../").run(BEFORE), "index.html")
    return pages.compare(*_given(given, text), title=text or "Telecom clients", hrefs=hrefs, file="compare.html")


KINDS = {each.__name__: each for each in (home, portfolio, runs, live, run, model, models, clients, searched, compare)}


def json_of(page: Page) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(page.json())
    return found


def _given(value: Any, text: str) -> Any:
    return filled(value, text) if text else value
