"""What a portfolio's home draws over time: a point a run, at most 500, whatever the number of runs.

``executed/<portfolio>/history.json`` is brought forward by each run. It holds nothing that the runs' folders do not,
and goes on from the last run that it has: what a crash left out, or a home from before it was kept, the next run
makes good.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrition import safe

__all__ = ["MOST", "forward", "point", "read"]

MOST = 500
"""Points that are kept."""
NEWEST = 200
"""Of these, the newest are never thinned."""


def read(path: Path) -> dict[str, Any]:
    """``{"last": number of the newest run in it, "points": [...]}``; empty where there is none, or a torn one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found["points"], list) and isinstance(found["last"], int) else _empty()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return _empty()


def forward(path: Path, points: Iterable[Mapping[str, Any]], last: int) -> dict[str, Any]:
    """Add the points of runs up to number ``last``, oldest first, and write it anew if that changes it."""
    before = read(path)
    added = [dict(each) for each in points if each["number"] > before["last"]]
    if last <= before["last"]:
        return before
    now = {"last": last, "points": _thinned([*before["points"], *added])}
    safe.write(path, json.dumps(now, separators=(",", ":")))
    return now


def point(
    line: Mapping[str, Any], report: Mapping[str, Any], recorded: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What is drawn of a run.

    Args:
        line: of the book.
        report: run.json.
        recorded: what its stages recorded, by notebook.
    """
    look, plan = report.get("evidence") or {}, recorded.get("70_assess", {}).get("plan")
    performance = report.get("performance") or {}
    bands = {each["band"]: each["all"] for each in recorded.get("70_assess", {}).get("bands") or ()}
    return {
        **{key: line[key] for key in ("number", "run", "status", "decision", "model")},
        "at": report.get("finished_at") or report.get("started_at"),
        "champion": report.get("champion_before"),
        "challenger": report.get("challenger"),
        "data_version": report.get("data_version"),
        "n": performance.get("n"),
        "brier": performance.get("brier"),
        "share": look.get("share"),
        "alarm": look.get("alarm") or False,
        "change": look.get("change") if look.get("alarm") else None,
        "bands": bands or None,
        "plan": {key: plan[key] for key in ("called", "clients", "gain")} if plan else None,
    }


def marked(each: Mapping[str, Any]) -> bool:
    """Whether a point is one that must stay: a promotion, a rollback, an alarm."""
    return bool(each.get("alarm")) or each.get("decision") in ("promoted", "rolled_back")


def _thinned(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every other of the older points that are not marked goes; of marked ones the oldest, when they alone are many."""
    while len(points) > MOST:
        older, newest = points[:-NEWEST], points[-NEWEST:]
        plain = [place for place, each in enumerate(older) if not marked(each)]
        gone = set(plain[1::2] if len(plain) > 1 else plain or range(len(older) // 2))
        points = [each for place, each in enumerate(older) if place not in gone] + newest
    return points


def _empty() -> dict[str, Any]:
    return {"last": 0, "points": []}
