"""A run's own page: what was decided and why, what failed, what came in, what changed, how good the models are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attrition.pages.charts import Chart
from attrition.pages.facts import Parameter, facts_of, parameters_of, verdict
from attrition.pages.frame import Page, elapsed, item, mapping, number, sequence, share, short, text
from attrition.pages.parts import (
    COUNTS,
    MEASURES,
    Crumbs,
    Fact,
    interval,
    measured,
    sentences,
)
from attrition.pages.trends import gain_chart, reliability_chart
from attrition.pages.urls import Urls, local

__all__ = ["Drop", "Failure", "Feature", "Measure", "RunPage", "Stage", "run"]

UP = "../"
MOST_DROPS, MOST_FEATURES, LONGEST_TRACE = 50, 40, 60
LEVELS = 4
"""Of a category, the commonest."""


@dataclass(frozen=True)
class Stage:
    """One stage of the run."""

    name: str  # as the runner has it
    status: str  # how it ended
    seconds: float | None  # None where it never ran
    start: float  # share of the run's working time that was over when it began
    end: float  # the same when it ended
    href: str  # of its page; empty where it has none
    reason: str  # why it was skipped or reused


@dataclass(frozen=True)
class Failure:
    """What went wrong, where, and how to mend it."""

    stage: str  # in which
    cell: str  # its number on the stage's page, from 1
    href: str  # of the failed cell
    name: str  # of the exception's class
    message: str  # of the exception
    advice: str  # what to do
    source: str  # of the cell that failed
    trace: str  # the end of the traceback


@dataclass(frozen=True)
class Measure:
    """How good two models are by one measure."""

    label: str  # which measure
    champion: str  # with its interval, in words
    challenger: str  # with its interval, in words
    verdict: str  # better, worse or no difference, of the challenger


@dataclass(frozen=True)
class Feature:
    """How a feature was distributed, and is."""

    label: str  # what people call it
    then: tuple[str, ...]  # when the champion was deployed: its mean, or its commonest levels
    now: tuple[str, ...]  # among the clients of this run
    size: float | None  # how far it moved, a share of what is possible
    beyond: bool  # whether that is more than chance
    sentence: str  # the same in words


@dataclass(frozen=True)
class Drop:
    """A file that was taken in."""

    name: str  # as it lay in incoming/
    counts: tuple[Any, ...]  # rows in, ingested, duplicates, quarantined
    notes: tuple[str, ...]  # why rows were quarantined, and what else there is to say


@dataclass(frozen=True)
class RunPage:
    """What a run did, decided and left."""

    title: str  # of the page
    crumbs: Crumbs  # (words, address) of the pages above
    twin: str  # address of the same as JSON
    run: str  # its name
    status: str  # how it ended
    manual: bool  # whether a person asked for it
    decision: str  # empty until one is made
    lead: str  # the reason's first sentence
    rest: str  # the others
    started_at: Any  # when it began
    finished_at: Any  # when it ended
    seconds: float | None  # that it took
    failure: Failure | None  # what went wrong
    notes: tuple[str, ...]  # what has become of its files since
    tally: tuple[tuple[str, str], ...]  # (what, how many or how much)
    champion: str  # version that was judged
    challenger: str  # version on trial
    measures: tuple[Measure, ...]  # of these two on the same clients; empty without a challenger
    proof: str  # how far the proof of the challenger has come
    confusion: tuple[tuple[int, int], tuple[int, int]] | None  # ((stayed, called in vain), (missed, found))
    judged: str  # which clients confusion and curves speak of
    charts: tuple[Chart, ...]  # reliability and gain
    features: tuple[Feature, ...]  # worst first
    waiting: str  # what is to be expected of the clients without an outcome
    drops: tuple[Drop, ...]  # the files taken in, those with quarantined rows first
    more_drops: int  # files that are not listed
    stages: tuple[Stage, ...]  # in order
    parameters: tuple[Parameter, ...]  # those that differ from the default first
    versions: tuple[tuple[str, str, str], ...]  # (what, which, address): model, hash, data
    compare: str  # address of this run beside the one before; empty for the first
    clients: str  # address of whom to call first; empty where nobody was assessed
    anchors: tuple[tuple[str, str], ...]  # (what, address): where a stage's page tells more
    facts: tuple[Fact, ...]  # what it can be compared with another run by


def run(
    report: Mapping[str, Any],
    *,
    title: str,
    recorded: Mapping[str, Mapping[str, Any]] | None = None,
    broken: Mapping[str, str] | None = None,
    previous: bool = False,
) -> Page:
    """The page of one run, to be written as index.html into the run's folder.

    Args:
        report: run.json; any key may be missing, as in a run that broke early.
        title: of the portfolio.
        recorded: what its stages recorded, by notebook.
        broken: ``source`` and ``trace`` of the cell that failed.
        previous: whether there is a run before it, that it can be compared with.
    """
    urls, left = Urls(UP), {name: mapping(values) for name, values in (recorded or {}).items()}
    monitor, score = left.get("20_monitor", {}), left.get("40_score", {})
    stages, counts = _stages(report), mapping(report.get("rows"))
    lead, rest = sentences(report.get("reason"))
    name = text(report.get("run"))
    drops = [mapping(each) for each in sequence(left.get("10_ingest", {}).get("files"))]
    drops.sort(key=lambda each: -(number(each.get("quarantined")) or 0))
    champion, challenger = text(report.get("champion_before")), text(report.get("challenger"))
    tally = _tally(report, left)
    parameters = parameters_of(report.get("params"))
    return Page(
        "run.html.j2",
        RunPage(
            title=f"Run {_number(name)}" if name else "Run",
            crumbs=(("Attrition", urls.home), (text(title), urls.portfolio)),
            **{"twin": "index.json", "run": name, "status": text(report.get("status"))},
            manual=report.get("manual") is True,
            **{"decision": text(report.get("decision")), "lead": lead, "rest": rest},
            started_at=report.get("started_at"),
            finished_at=report.get("finished_at"),
            seconds=elapsed(report.get("started_at"), report.get("finished_at")),
            failure=_failure(report, stages, mapping(broken)),
            notes=_notes(report),
            tally=tally,
            **{"champion": champion, "challenger": challenger},
            measures=_measures(score),
            proof=text(score.get("answer")),
            confusion=_confusion(monitor),
            judged=_judged(monitor, champion),
            charts=_charts(monitor, score, champion),
            features=tuple(map(_feature, map(mapping, sequence(monitor.get("changes"))[:MOST_FEATURES]))),
            waiting=text(item(monitor, "without_outcome", "sentence")),
            drops=tuple(map(_drop, drops[:MOST_DROPS])),
            more_drops=max(0, len(drops) - MOST_DROPS),
            stages=stages,
            parameters=parameters,
            versions=_versions(urls, report),
            compare="compare.html" if previous else "",
            clients=urls.clients() if left.get("70_assess", {}).get("bands") else "",
            anchors=_anchors(stages),
            facts=facts_of(report, left, counts, parameters),
        ),
    )


def _number(name: str) -> str:
    return str(int(last)) if (last := name.rpartition("-")[2]).isascii() and last.isdecimal() else name


def _stages(report: Mapping[str, Any]) -> tuple[Stage, ...]:
    found, at = [], 0.0
    lines = [mapping(line) for line in sequence(report.get("stages"))]
    spent = [max(0.0, number(line.get("seconds")) or 0.0) for line in lines]
    total = sum(spent) or 1.0
    for line, seconds in zip(lines, spent, strict=True):
        found.append(
            Stage(
                name=text(line.get("name")),
                status=text(line.get("status")),
                seconds=number(line.get("seconds")),
                **{"start": at / total, "end": (at + seconds) / total},
                href=local(line.get("report")),
                reason=text(line.get("reason")),
            )
        )
        at += seconds
    return tuple(found)


def _failure(report: Mapping[str, Any], stages: tuple[Stage, ...], broken: Mapping[str, str]) -> Failure | None:
    """The error that the runner noted; without one, the stage that did not end well."""
    error = mapping(report.get("error"))
    name = text(error.get("stage")) or next((s.name for s in stages if s.status in ("failed", "interrupted")), "")
    if not error and report.get("status") != "failed":
        return None
    href = next((stage.href for stage in stages if stage.name == name), "")
    cell = error.get("cell")
    trace = text(broken.get("trace")).splitlines()
    return Failure(
        stage=name,
        cell=str(cell + 1) if isinstance(cell, int) else "",
        href=f"{href}#failed" if href else "",
        name=text(error.get("name")),
        message=text(error.get("message")),
        advice=text(error.get("advice")),
        source=text(broken.get("source")),
        trace="\n".join(trace[-LONGEST_TRACE:]),
    )


def _notes(report: Mapping[str, Any]) -> tuple[str, ...]:
    pruned, why_not = text(report.get("pruned")), text(report.get("not_replayable"))
    lost = ", ".join(map(text, sequence(report.get("not_kept"))))
    gone = f"Pruned on {pruned[:10]}: its notebooks, their pages, its files and the drops that it took in are gone."
    replaced = f"Replaced or taken away by its owner while it was read: {lost}."
    kept = "Its rows are accounted for; the file as it was read is not kept."
    said = {gone: pruned, f"It cannot be replayed: {why_not}": why_not, f"{replaced} {kept}": lost}
    return tuple(sentence for sentence, so in said.items() if so)


def _tally(report: Mapping[str, Any], left: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    counts = mapping(report.get("rows"))
    found = [(label, counts.get(key)) for key, label in COUNTS.items() if counts.get(key) or key == "ingested"]
    told = [(label, f"{each:,}" if isinstance(each, int) else text(each)) for label, each in found if each is not None]
    performance = report.get("performance")
    if (value := interval(item(performance, "brier"))[0]) is not None:
        told += [("clients judged", short(item(performance, "n"))), ("error (Brier)", f"{value:.3f}")]
    part = number(item(report, "evidence", "share"))
    if part is not None:
        told.append(("evidence to retrain", f"{share(part) if part < 10 else 'over 1,000%'} (100% is enough)"))
    high = next((each for each in sequence(item(left, "70_assess", "bands")) if item(each, "band") == "high"), None)
    return (*told, ("clients at high risk", short(item(high, "all")))) if high else tuple(told)


def _measures(score: Mapping[str, Any]) -> tuple[Measure, ...]:
    sides = [item(score, "scores", role, "unseen") for role in ("champion", "challenger")]
    if not all(map(mapping, sides)):
        return ()
    found = []
    for key, (label, better) in MEASURES.items():
        one, other = (item(side, key) for side in sides)
        found.append(Measure(label, measured(one), measured(other), verdict(interval(one), interval(other), better)))
    return tuple(found)


def _confusion(monitor: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    try:
        (a, b), (c, d) = item(monitor, "performance", "confusion")
        return (int(a), int(b)), (int(c), int(d))
    except (TypeError, ValueError):
        return None


def _judged(monitor: Mapping[str, Any], champion: str) -> str:
    performance = mapping(monitor.get("performance"))
    if not performance:
        return ""
    n, left = short(performance.get("n")), short(performance.get("positives"))
    return f"Model {champion} on {n} clients whose outcome came since it was last judged, {left} of whom left."


def _charts(monitor: Mapping[str, Any], score: Mapping[str, Any], champion: str) -> tuple[Chart, ...]:
    """Of both models where a challenger was measured, else of the champion."""
    curves = {f"model {version}": mapping(each) for version, each in mapping(score.get("curves")).items()}
    if not curves and monitor.get("calibration"):
        curves = {f"model {champion}": {key: monitor.get(key) for key in ("calibration", "gain")}}
    found = (
        reliability_chart(
            "Do the risks mean what they say?", {name: each.get("calibration") for name, each in curves.items()}
        ),
        gain_chart(
            "How many leavers would calls have found?", {name: each.get("gain") for name, each in curves.items()}
        ),
    )
    return tuple(chart for chart in found if chart)


def _feature(each: Mapping[str, Any]) -> Feature:
    then, now = each.get("then"), each.get("now")
    levels = sorted({**mapping(now), **mapping(then)}, key=lambda level: -(number(mapping(now).get(level)) or 0))[
        :LEVELS
    ]
    return Feature(
        label=text(each.get("label") or each.get("feature")),
        then=_distribution(then, levels, each.get("missing_then")),
        now=_distribution(now, levels, each.get("missing_now")),
        size=number(each.get("size")),
        beyond=each.get("beyond_chance") is True,
        sentence=text(each.get("sentence")),
    )


def _distribution(value: object, levels: Sequence[str], missing: object) -> tuple[str, ...]:
    lacking = (f"missing {share(missing)}",) if number(missing) else ()
    if isinstance(value, Mapping):
        return (*(f"{text(level)} {share(value.get(level, 0.0))}" for level in levels), *lacking)
    return (short(value) if value is not None else "none", *lacking)


def _drop(each: Mapping[str, Any]) -> Drop:
    reasons = tuple(f"{short(rows)} quarantined: {text(why)}" for why, rows in mapping(each.get("reasons")).items())
    counts = tuple(each.get(key) for key in ("rows_in", "ingested", "duplicates", "quarantined"))
    return Drop(text(each.get("name")), counts, (*reasons, *map(text, sequence(each.get("notes")))))


def _versions(urls: Urls, report: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    model = mapping(report.get("model"))
    named = [
        ("Model that serves", model.get("version"), urls.model(model.get("version"))),
        ("its SHA-256", model.get("sha256"), ""),
        ("Champion before", report.get("champion_before"), urls.model(report.get("champion_before"))),
        ("Challenger", report.get("challenger"), urls.model(report.get("challenger"))),
        ("Data version", report.get("data_version"), ""),
        ("SHA-256 of the parameters", report.get("params_sha256"), ""),
        ("Based on run", report.get("based_on"), urls.run(report.get("based_on"))),
    ]
    return tuple((label, text(value), href) for label, value, href in named if value is not None)


def _anchors(stages: tuple[Stage, ...]) -> tuple[tuple[str, str], ...]:
    wanted = {
        "monitor": (("how the champion was judged", "performance"), ("what changed about the clients", "changes")),
        "train": (("what the model has learnt", "coefficients"),),
        "score": (("how far the proof has come", "trial"),),
        "assess": (("who is at risk", "bands"),),
    }
    pages = {stage.name: stage.href for stage in stages if stage.href}
    return tuple(
        (words, f"{pages[name]}#recorded-{value}")
        for name, found in wanted.items()
        if name in pages
        for words, value in found
    )
