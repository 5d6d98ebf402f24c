"""A model: what it is, what it has learnt in odds, where it comes from, when it served, and where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attrition.pages.frame import Page, item, mapping, number, sequence, short, text
from attrition.pages.parts import MEASURES, Crumbs, Fact, interval, measured, sentences
from attrition.pages.urls import Urls

__all__ = ["Listed", "ModelPage", "ModelsPage", "Segment", "Service", "Term", "model", "models"]

UP = "../"
MOST_TERMS, MOST_SEGMENTS = 60, 60


@dataclass(frozen=True)
class Term:
    """One coefficient."""

    words: str  # what it does to the odds of leaving
    odds: float | None  # by what factor
    strength: float  # of the strongest, a share


@dataclass(frozen=True)
class Service:
    """One time in which it served."""

    since: Any  # when it began
    until: Any  # None while it serves
    proven: bool  # whether it had been shown to be better
    decision: str  # promoted or rolled_back
    reason: str  # why
    href: str  # of the run that deployed it


@dataclass(frozen=True)
class Segment:
    """How wrong it is about some of the clients."""

    column: str  # what people call the column
    value: str  # of the column
    n: Any  # how many clients
    predicted: float | None  # share that was to leave
    observed: float | None  # share that left
    brier: str  # the error with its interval
    size: float  # of the largest error, a share


@dataclass(frozen=True)
class ModelPage:
    """A model version."""

    title: str  # of the page
    crumbs: Crumbs  # (words, address) of the pages above
    twin: str  # address of the same as JSON
    version: str  # four digits or more
    status: str  # champion, challenger, retired, given_up or barred
    what: str  # what it is, in a sentence
    why: str  # why it no longer serves, or never did; empty while it does
    services: tuple[Service, ...]  # newest first
    measures: tuple[tuple[str, str], ...]  # (measure, with its interval)
    measured_on: str  # on which clients
    terms: tuple[Term, ...]  # the strongest first
    more_terms: int  # that are not listed
    segments: tuple[Segment, ...]  # the largest error of each column first
    segments_on: str  # on which clients
    origins: tuple[tuple[str, str, str], ...]  # (what, which, address): data, run, notebook, params, hashes
    card: tuple[tuple[str, str], ...]  # (question, answer): what one must know who uses it
    compare: str  # address of it beside the model that it was tried against
    facts: tuple[Fact, ...]  # what it can be compared with another model by


@dataclass(frozen=True)
class Listed:
    """One model in the list."""

    version: str  # four digits or more
    href: str  # of its page
    compare: str  # of it beside the model that it was tried against
    status: str  # champion, challenger, retired, given_up or barred
    why: str  # why it no longer serves, or never did
    run: str  # address of the run that trained it


@dataclass(frozen=True)
class ModelsPage:
    """All models, newest first."""

    title: str  # of the page
    crumbs: Crumbs  # (words, address) of the pages above
    twin: str  # address of the same as JSON
    models: tuple[Listed, ...]  # newest first
    more: int  # older ones that are not listed


def model(
    title: str,
    manifest: Mapping[str, Any],
    *,
    status: str,
    why: str,
    deployments: Sequence[Mapping[str, Any]],
    judged: Mapping[str, Any],
    against: str,
    target: str,
) -> Page:
    """The page of one model.

    Args:
        title: of the portfolio.
        manifest: as the registry has it.
        status, why: of the book.
        deployments: those of this version, newest first.
        judged: ``performance``, ``segments`` and ``on`` (which clients): the newest that a stage measured.
        against: the version that it was tried against; empty for the first.
        target: what it predicts.
    """
    urls, version = Urls(UP), text(manifest.get("version"))
    coefficients = [mapping(each) for each in sequence(manifest.get("coefficients"))]
    scores, on = judged.get("performance") or mapping(manifest.get("metrics")), text(judged.get("on"))
    lead, _ = sentences(why)
    return Page(
        "model.html.j2",
        ModelPage(
            title=f"Model {version}",
            crumbs=(("Attrition", urls.home), (text(title), urls.portfolio), ("Models", urls.models)),
            **{"twin": f"{version}.json", "version": version, "status": text(status)},
            what=_what(manifest, target),
            why=lead if status in ("retired", "given_up", "barred") else "",
            services=tuple(_service(urls, each) for each in deployments),
            measures=tuple(
                (label, measured(item(scores, key))) for key, (label, _) in MEASURES.items() if item(scores, key)
            ),
            measured_on=on or ("The clients that were held back from its training." if scores else ""),
            terms=_terms(coefficients),
            more_terms=max(0, len(coefficients) - MOST_TERMS),
            segments=_segments(sequence(judged.get("segments"))),
            segments_on=text(judged.get("on")),
            origins=_origins(urls, manifest),
            card=_card(manifest, target),
            compare=urls.model(version, "compare") if against else "",
            facts=_facts(manifest, scores, coefficients),
        ),
    )


def models(title: str, found: Sequence[Mapping[str, Any]], total: int) -> Page:
    """The list of models, newest first; ``found`` are lines of the book, with whether each was ``compared``."""
    urls = Urls(UP)
    rows = tuple(
        Listed(
            version=text(each.get("version")),
            href=urls.model(each.get("version")),
            compare=urls.model(each.get("version"), "compare") if each.get("compared") is True else "",
            status=text(each.get("status")),
            why=sentences(each.get("why"))[0],
            run=urls.run(each.get("run")),
        )
        for each in found
    )
    crumbs = (("Attrition", urls.home), (text(title), urls.portfolio))
    return Page("models.html.j2", ModelsPage("Models", crumbs, "index.json", rows, max(0, total - len(rows))))


def _what(manifest: Mapping[str, Any], target: str) -> str:
    mends = text(manifest.get("mends"))
    way = {
        "recalibrated": f"model {mends} with intercept and slope set anew",
        "offset": f"model {mends} with every coefficient corrected",
        "weighted": "a logistic regression in which newer clients count more",
    }.get(text(manifest.get("way")), "a logistic regression")
    known, left = short(manifest.get("known")), short(manifest.get("left"))
    return f"Gives each client a probability of {target}: {way}, learnt from {known} clients, {left} of whom left."


def _service(urls: Urls, each: Mapping[str, Any]) -> Service:
    reason = text(each.get("why"))
    decision = "rolled_back" if " rolled back from " in reason else "promoted"
    return Service(
        each.get("since"), each.get("until"), each.get("proven") is True, decision, reason, urls.run(each.get("run"))
    )


def _terms(coefficients: Sequence[Mapping[str, Any]]) -> tuple[Term, ...]:
    most = max((abs(number(each.get("coefficient")) or 0.0) for each in coefficients), default=0.0) or 1.0
    return tuple(
        Term(
            text(each.get("words")), number(each.get("odds_ratio")), abs(number(each.get("coefficient")) or 0.0) / most
        )
        for each in coefficients[:MOST_TERMS]
    )


def _segments(given: Sequence[Any]) -> tuple[Segment, ...]:
    most = max((interval(item(each, "brier"))[0] or 0.0 for each in given), default=0.0) or 1.0
    return tuple(
        Segment(
            column=text(item(each, "label")),
            value=text(item(each, "value")),
            n=item(each, "n"),
            predicted=number(item(each, "predicted")),
            observed=number(item(each, "observed")),
            brier=measured(item(each, "brier")),
            size=(interval(item(each, "brier"))[0] or 0.0) / most,
        )
        for each in given[:MOST_SEGMENTS]
    )


def _origins(urls: Urls, manifest: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    run = manifest.get("run")
    named = [
        ("Trained at", manifest.get("trained_at"), ""),
        ("By run", run, urls.run(run)),
        ("In notebook", "30_train", urls.run(run, "30_train.html")),
        ("On data version", manifest.get("data_version"), ""),
        ("Corrects model", manifest.get("mends") or None, urls.model(manifest.get("mends"))),
        ("Model SHA-256", manifest.get("sha256"), ""),
        ("Parameters SHA-256", manifest.get("params_sha256"), ""),
        ("Git commit", manifest.get("git_commit"), ""),
        ("Parameters", json.dumps(manifest.get("params"), ensure_ascii=False), ""),
        ("Libraries", ", ".join(f"{name} {which}" for name, which in mapping(manifest.get("libraries")).items()), ""),
        ("Features", ", ".join(map(text, sequence(manifest.get("features")))), ""),
    ]
    return tuple((label, text(value), href) for label, value, href in named if value is not None)


def _card(manifest: Mapping[str, Any], target: str) -> tuple[tuple[str, str], ...]:
    """What a model card asks (Mitchell et al., "Model Cards for Model Reporting", 2019), answered from the record."""
    return (
        (
            "What it is for",
            f"Ranking current clients by the probability of {target}, so that people call the first of them.",
        ),
        (
            "What it is not for",
            "Deciding on a client without a person; clients of another kind than those it has learnt from.",
        ),
        (
            "What it has seen",
            f"{short(manifest.get('known'))} clients up to data version {short(manifest.get('data_version'))}.",
        ),
        (
            "What it rests on",
            "That clients of equal features leave as often as they did; each run asks whether they still do.",
        ),
        ("Who is watched", "Errors by segment stand above, where the portfolio shows columns with few values."),
        ("Causes", "None: odds say what goes along with leaving, not what would keep a client."),
    )


def _facts(manifest: Mapping[str, Any], scores: object, coefficients: Sequence[Mapping[str, Any]]) -> tuple[Fact, ...]:
    found = [
        Fact(key, label, "What it learnt from", manifest.get(key), None, None, "")
        for key, label in (
            ("data_version", "data version"),
            ("known", "clients"),
            ("left", "of them left"),
            ("way", "way of learning"),
        )
    ]
    for key, (label, better) in MEASURES.items():
        value, low, high = interval(item(scores, key))
        found.append(Fact(f"performance.{key}", label, "On clients that it has not seen", value, low, high, better))
    for each in coefficients:
        label = f"{text(each.get('feature'))} {text(each.get('level'))}".strip()
        found.append(Fact(f"odds.{label}", label, "Odds ratios", number(each.get("odds_ratio")), None, None, ""))
    for key, value in mapping(manifest.get("params")).items():
        found.append(
            Fact(
                f"params.{key}",
                text(key),
                "Parameters",
                value if isinstance(value, int | float) else text(value),
                None,
                None,
                "",
            )
        )
    return tuple(found)
