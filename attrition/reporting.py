"""What 80_report puts on its page: the run's own account, the newest score, the API's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from attrition import assessment, safe
from attrition.api_client import Answer
from attrition.book import Book
from attrition.runs import Run
from attrition.stages import Stage

__all__ = ["account", "answers", "confusion_words", "example_rows", "history", "newest_score", "taken_in", "top"]


def account(stage: Stage) -> pd.DataFrame:
    """The decision and its surroundings, a line a fact."""
    report = Run.read(stage.staging).report
    rows = report["rows"]
    model = report["model"]["version"] if report["model"] else "none yet"
    facts = {
        "decision": report["decision"] or "none in this run",
        "why": report["reason"],
        "model that serves": model,
        "clients": f"{rows['in']:,} rows in: {rows['ingested']:,} ingested, {rows['duplicates']:,} duplicates,"
        f" {rows['quarantined']:,} quarantined",
        "data version": report["data_version"],
    }
    return pd.Series(facts, name="").to_frame()


def top(stage: Stage) -> list[dict[str, Any]]:
    """Whom to call first: as this run assessed it, or as an earlier one left it."""
    if stage.ran("70_assess"):
        listed: list[dict[str, Any]] = stage.recorded("70_assess", "top")
        return listed
    return assessment.top(stage.portfolio, stage.place.ranking) if safe.exists(stage.place.ranking) else []


def newest_score(stage: Stage) -> dict[str, Any] | None:
    """The score of the model that serves on the newest rows it was not trained on, with its ``model``."""
    serving = (Run.read(stage.staging).report["model"] or {}).get("version")
    performance = stage.recorded("20_monitor", "performance") if stage.ran("20_monitor") else None
    judged = Run.read(stage.staging).report["champion_before"]
    if performance and judged == serving:
        return {**performance, "model": serving}
    if stage.ran("40_score"):
        for role in stage.recorded("40_score", "scores").values():
            if role and role["version"] == serving and role["unseen"]:
                return {**role["unseen"], "model": serving}
    if stage.ran("30_train") and (held := stage.recorded("30_train", "holdback")):
        trained = stage.recorded("30_train", "model")["version"]
        return {**held, "model": serving} if trained == serving else None
    return None


def confusion_words(score: Mapping[str, Any]) -> str:
    """The confusion matrix in a sentence."""
    (stayed, called), (missed, found) = score["confusion"]
    return (
        f"Confusion matrix: of {missed + found} clients who left {found} were predicted, {missed} were missed;"
        f" of {stayed + called} who stayed {called} were predicted to leave"
    )


def history(stage: Stage, limit: int = 50) -> list[dict[str, Any]]:
    """The champion's Brier score with its interval, over the last runs that judged it and this one, oldest first."""
    past: list[dict[str, Any]] = []
    report = Run.read(stage.staging).report
    if safe.exists(stage.place.book):
        with Book.open(stage.place.book, read_only=True) as book:
            past = [line for line in reversed(book.runs(limit)) if line["run"] != report["run"]]
    return [
        {
            "run": line["run"],
            "n": line["performance"]["n"],
            "brier": brier["value"],
            "low": brier["low"],
            "high": brier["high"],
        }
        for line in [*past, report]
        if line.get("performance") and (brier := line["performance"]["brier"])
    ]


def example_rows(stage: Stage, rows: int = 3) -> list[dict[str, Any]]:
    """A few of the newest clients as the API takes them: features only, the way a file writes them."""
    kinds = {name: stage.portfolio.columns[name].type for name in stage.portfolio.features}
    newest = stage.clients().sql("SELECT * FROM clients ORDER BY _row DESC LIMIT $rows", rows=rows)
    return [{name: _written(row[name], kind) for name, kind in kinds.items()} for _, row in newest.iterrows()]


def _written(value: Any, kind: str) -> Any:
    if pd.isna(value):
        return None
    return {"integer": int, "boolean": bool}.get(kind, lambda given: given)(value)


def answers(asked: Sequence[Answer], run: str) -> list[dict[str, Any]]:
    """A row an endpoint: status, seconds, the run and model it speaks of, and the answer in short."""
    return [
        {
            "endpoint": answer.endpoint,
            "status": answer.status if answer.status is not None else "unreachable",
            "seconds": answer.seconds,
            "speaks_of": _speaks_of(answer, run),
            "model": _model(answer.body),
            "answer": answer.problem or json.dumps(answer.body)[:300],
        }
        for answer in asked
    ]


def _speaks_of(answer: Answer, run: str) -> str:
    if answer.run is None:
        return "-"
    return "this run" if answer.run == run else f"previous run {answer.run}"


def _model(body: Any) -> str:
    model = body.get("model") if isinstance(body, dict) else None
    return str(model.get("version", "-")) if isinstance(model, dict) else "-"


def taken_in(accounts: Sequence[Mapping[str, Any]], rows: Mapping[str, int]) -> str:
    """What ingestion did, in a sentence."""
    files = "1 file" if len(accounts) == 1 else f"{len(accounts):,} files"
    told = [f"{rows[key]:,} {key}" for key in ("ingested", "duplicates", "quarantined")]
    return f"{rows['in']:,} rows came in {files}: {', '.join(told)}."
