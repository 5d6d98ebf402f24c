"""Where a model comes from: all that is needed, beside its data version, to make it again and to know it again."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrition import record, safe
from attrition.home import REPOSITORY
from attrition.params import Portfolio

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = ["facts", "git_commit"]

GOLDEN_ROWS = 5


def facts(portfolio: Portfolio, pipeline: Pipeline, train: pd.DataFrame) -> dict[str, Any]:
    """Facts of a manifest that follow from portfolio, pipeline and training rows.

    Among them the golden rows: a few clients with the probability given at training, which a loaded
    model must give again.
    """
    from attrition.model import probabilities

    rows = train[portfolio.features].tail(GOLDEN_ROWS)
    return {
        "portfolio": portfolio.name,
        "features": portfolio.features,
        "asks": portfolio.asks,
        "params": portfolio.model.model_dump(by_alias=True),
        "params_sha256": portfolio.sha256,
        "git_commit": git_commit(REPOSITORY),
        "trained_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "golden": {"rows": record.plain(rows), "probabilities": probabilities(pipeline, rows).tolist()},
    }


def git_commit(repository: Path) -> str | None:
    """The commit that is checked out; None outside a repository. Read as files: cron's PATH may know no git."""
    git = repository / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            found = head
        elif safe.exists(git / name):
            found = (git / name).read_text().strip()
        else:
            found = re.search(rf"^(\w+) {re.escape(name)}$", (git / "packed-refs").read_text(), re.M)[1]  # type: ignore[index]
    except (OSError, TypeError):
        return None
    return found if re.fullmatch(r"[0-9a-f]{40,64}", found) else None
