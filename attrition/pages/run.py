"""A run's own page: what was decided and why, what failed, and what each stage did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attrition.pages.frame import elapsed, mapping, render, text
from attrition.pages.urls import local

__all__ = ["COUNTS", "Failure", "RunPage", "Stage", "run"]

COUNTS = {"in": "rows in", "ingested": "ingested", "duplicates": "duplicates", "quarantined": "quarantined"}


@dataclass(frozen=True)
class Stage:
    """One stage of the run."""

    name: str
    status: str
    seconds: Any  # a number; None where it never ran
    href: str  # of its page; empty where it has none
    reason: str  # why it was skipped or reused


@dataclass(frozen=True)
class Failure:
    """What went wrong, where, and how to mend it."""

    stage: str
    cell: str  # its number on the stage's page, from 1
    href: str  # of the failed cell
    name: str  # of the exception's class
    message: str
    advice: str


@dataclass(frozen=True)
class RunPage:
    """What the page shows; every field as run.json has it, None where it has none."""

    title: str
    crumbs: tuple[tuple[str, str], ...]  # (words, relative address) of the pages above
    status: str
    manual: bool
    decision: str  # empty until one is made
    reason: str
    started_at: Any
    finished_at: Any
    seconds: float | None
    failure: Failure | None
    stages: tuple[Stage, ...]
    rows: tuple[tuple[str, Any], ...]  # (what, how many)
    versions: tuple[tuple[str, str], ...]  # (what, which): model, hash, data


def run(report: Mapping[str, Any], *, title: str) -> str:
    """The page of one run, to be written as index.html into the run's folder.

    Args:
        report: run.json. ``error`` ({stage, cell counted from 0, name, message, advice}) and a stage's
            ``reason`` are shown where they are there; any key may be missing, as in a run that broke early.
        title: of the portfolio.
    """
    stages = tuple(_stage(stage) for stage in map(mapping, report.get("stages") or ()))
    counts = mapping(report.get("rows"))
    return render(
        "run.html.j2",
        RunPage(
            title=f"Run {text(report.get('run'))}",
            crumbs=(("Attrition", "../../index.html"), (text(title), "../index.html")),
            status=text(report.get("status")),
            manual=report.get("manual") is True,
            decision=text(report.get("decision")),
            reason=text(report.get("reason")),
            started_at=report.get("started_at"),
            finished_at=report.get("finished_at"),
            seconds=elapsed(report.get("started_at"), report.get("finished_at")),
            failure=_failure(report, stages),
            stages=stages,
            rows=tuple((label, counts.get(key)) for key, label in COUNTS.items() if key in counts),
            versions=_versions(report),
        ),
    )


def _stage(stage: Mapping[str, Any]) -> Stage:
    return Stage(
        name=text(stage.get("name")),
        status=text(stage.get("status")),
        seconds=stage.get("seconds"),
        href=local(stage.get("report")),
        reason=text(stage.get("reason")),
    )


def _failure(report: Mapping[str, Any], stages: tuple[Stage, ...]) -> Failure | None:
    """The error that the runner noted; without one, the stage that did not end well."""
    error = mapping(report.get("error"))
    broken = next((stage.name for stage in stages if stage.status in ("failed", "interrupted")), "")
    name = text(error.get("stage")) or broken
    if not error and report.get("status") != "failed":
        return None
    href = next((stage.href for stage in stages if stage.name == name), "")
    cell = error.get("cell")
    return Failure(
        stage=name,
        cell=str(cell + 1) if isinstance(cell, int) else "",
        href=f"{href}#failed" if href else "",
        name=text(error.get("name")),
        message=text(error.get("message")),
        advice=text(error.get("advice")),
    )


def _versions(report: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    model = mapping(report.get("model"))
    named = [
        ("Model", model.get("version")),
        ("Model SHA-256", model.get("sha256")),
        ("Champion before", report.get("champion_before")),
        ("Challenger", report.get("challenger")),
        ("Data version", report.get("data_version")),
    ]
    return tuple((label, text(value)) for label, value in named if value is not None)
