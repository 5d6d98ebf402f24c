"""What two runs, or two models, are compared by, and whether one is better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attrition.pages.frame import item, mapping, number, sequence, text
from attrition.pages.parts import COUNTS, MEASURES, Fact, interval

__all__ = ["Parameter", "facts_of", "parameters_of", "verdict"]


@dataclass(frozen=True)
class Parameter:
    """A key of the portfolio's YAML."""

    key: str  # its name
    value: str  # in this run
    default: str  # where nothing is said
    differs: bool  # whether these two do

    @property
    def fields(self) -> tuple[str, str, str]:
        """As a row of a table."""
        return self.key, self.value, self.default


def verdict(
    one: tuple[float | None, float | None, float | None],
    other: tuple[float | None, float | None, float | None],
    better: str,
) -> str:
    """What ``other`` is beside ``one``: better or worse, where that can be said at all."""
    if one[0] is None or other[0] is None or better not in ("lower", "higher"):
        return ""
    if one[0] == other[0]:
        return "no difference"
    word = "better" if (other[0] < one[0]) is (better == "lower") else "worse"
    low, high = max(one[1] or one[0], other[1] or other[0]), min(one[2] or one[0], other[2] or other[0])
    bounded = None not in (*one, *other)
    return f"{word}, but the intervals overlap" if bounded and low <= high else word


def parameters_of(given: object) -> tuple[Parameter, ...]:
    """The keys of a portfolio, those that differ from their default first."""
    found = []
    for each in map(mapping, sequence(given)):
        value, default = (_written(each.get(key)) for key in ("value", "default"))
        found.append(Parameter(text(each.get("key")), value, default, value != default))
    return tuple(sorted(found, key=lambda each: not each.differs))


def _written(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else text(json.dumps(value, ensure_ascii=False))


def facts_of(
    report: Mapping[str, Any],
    left: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, Any],
    parameters: tuple[Parameter, ...],
) -> tuple[Fact, ...]:
    """What a run can be compared with another by, from its account, what its stages recorded, and its parameters."""
    plain = [("decision", text(report.get("decision")).replace("_", " ") or None), ("status", report.get("status"))]
    plain += [("model that serves", item(report, "model", "version")), ("challenger", report.get("challenger"))]
    plain += [("data version", report.get("data_version"))]
    found = [Fact(label, label, "What was decided", _plain(value), None, None, "") for label, value in plain]
    found += [
        Fact(f"rows.{key}", label, "Rows", _plain(counts.get(key)), None, None, "") for key, label in COUNTS.items()
    ]
    for key, (label, better) in MEASURES.items():
        value, low, high = interval(item(report, "performance", key))
        found.append(Fact(f"performance.{key}", label, "The champion on new clients", value, low, high, better))
    evidence = number(item(report, "evidence", "share"))
    found.append(
        Fact(
            "evidence",
            "evidence, of what a retrain needs",
            "The champion on new clients",
            evidence,
            None,
            None,
            "lower",
        )
    )
    for each in map(mapping, sequence(item(left, "70_assess", "bands"))):
        name, better = text(each.get("band")), "lower" if each.get("band") == "high" else ""
        found.append(
            Fact(f"bands.{name}", f"clients at {name} risk", "Clients", _plain(each.get("all")), None, None, better)
        )
    plan = item(left, "70_assess", "plan")
    found.append(Fact("plan.called", "calls that pay", "Clients", _plain(item(plan, "called")), None, None, ""))
    found.append(
        Fact("plan.gain", "what they are expected to bring", "Clients", number(item(plan, "gain")), None, None, "")
    )
    for stage in map(mapping, sequence(report.get("stages"))):
        name = text(stage.get("name"))
        found.append(Fact(f"seconds.{name}", name, "Seconds", number(stage.get("seconds")), None, None, ""))
    found += [Fact(f"params.{each.key}", each.key, "Parameters", each.value, None, None, "") for each in parameters]
    return tuple(found)


def _plain(value: object) -> Any:
    return value if isinstance(value, int | float) else text(value) or None
