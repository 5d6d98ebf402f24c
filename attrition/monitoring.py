"""What 20_monitor makes of champion, clients and evidence, and 40_score of the two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from attrition import drift, model, policy, registry, watch
from attrition.drift import unlabelled
from attrition.drift.experts import WINDOW
from attrition.params import Portfolio
from attrition.stages import Stage
from attrition.store import evidence, training
from attrition.watch import Watch

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from attrition.registry import Manifest
    from attrition.store.clients import Clients

__all__ = [
    "Seen",
    "arrived",
    "changed_terms",
    "changes",
    "judge",
    "known_then",
    "promises",
    "segments",
    "standing",
    "unseen_by",
    "without_outcome",
]

MOST_KNOWN = 5_000
"""Clients known at deployment that the new ones' features are compared with, the newest."""
MOST_SEGMENTS = 30
"""Values of a shown column that errors are told by; a column of more names its clients."""
MOST_ARRIVED = 100_000
"""New clients whose features are compared with those."""
EARLIER = "scored by an earlier model"


@dataclass(frozen=True)
class Seen:
    """What the champion's judges have before them.

    ``new`` are this tick's rows that count, with its probability ``_p``, ``recent`` these and the last before them;
    ``left_out`` says how many do not count, and why; ``watch`` is all that is known of it up to now.
    """

    pipeline: Pipeline
    manifest: Manifest
    new: pd.DataFrame
    recent: pd.DataFrame
    left_out: dict[str, int]
    watch: Watch


def judge(
    stage: Stage, clients: Clients, champion: str, *, judged_version: int, deployed: tuple[int, int, bool]
) -> Seen:
    """Bring the evidence about the champion forward over the rows since ``judged_version``.

    It goes on from what the book keeps, if that is of this champion and version; else from the champion's first row.

    Args:
        stage: of 20_monitor.
        clients: as of the data version to judge.
        champion: version that serves.
        judged_version: rows that count up to here were judged before.
        deployed: the deployment's number, the data version then, and whether the champion was proven.

    Raises:
        ModelRefused: the champion cannot be used, or the YAML asks something else than when it was trained.
    """
    number, deployed_version, proven = deployed
    pipeline, manifest = stage.model(champion)
    if asks := manifest.otherwise(stage.portfolio):
        why = f"in the portfolio's YAML {asks} when it was trained"
        raise registry.ModelRefused(stage.place.models / champion, why, "the next tick with outcomes trains anew")
    rules, scores = stage.portfolio.rules, stage.place.scores
    settings = watch.config(rules, number)
    begun = watch.resume(stage.watched(), champion, judged_version, settings, rules)
    if begun is None:
        # What was held back promoted nobody, if it was deployed unproven in the tick that trained it.
        held_back = not proven and manifest.data_version == deployed_version
        begun = watch.begin(champion, 0 if held_back else deployed_version, settings, rules)
    this = evidence.counted(clients, after_version=judged_version, scores=scores)
    rows = this.rows
    if begun.since < judged_version:
        first = not begun.since and training.at_scale(clients)
        among = _unseen(manifest.data_version, manifest.held_back) if first else ""
        rows = evidence.counted(clients, after_version=begun.since, scores=scores, among=among).rows
    rows = rows[watch.unseen(rows, manifest.data_version, manifest.held_back)]
    rows = watch.predicted(pipeline, champion, rows)
    new = rows[rows["_counted"] > judged_version]
    forward = watch.bring_forward(
        begun,
        watch.rows_of(stage.portfolio, pipeline, rows),
        clients.version,
        settings,
        rules,
        claims=manifest.rows >= stage.portfolio.model.learning_rows,
    )
    left_out = {**this.left_out, EARLIER: len(this.rows) - len(new)}
    counts = {why: n for why, n in left_out.items() if n}
    return Seen(pipeline, manifest, new, rows.tail(WINDOW), counts, forward)


def _unseen(data_version: int, mark: str) -> str:
    """SQL for units that a first model may not have learnt from: what was held back, and what came later.

    Only where a unit counts with the version that it came with, as at scale: with a horizon it may count long after.
    """
    return f"(_version > {data_version} OR {training.HELD_BACK} <= '{mark}')" if mark else ""


def arrived(clients: Clients, judged_version: int) -> pd.DataFrame:
    """The rows since ``judged_version``, or so many of them as tell what there is to tell of their features."""
    return clients.some(MOST_ARRIVED, after_version=judged_version)


def standing(stage: Stage, clients: Clients, seen: Seen, newest: str) -> policy.Standing:
    """What the verdict is made of; ``newest`` is the version of the newest model, on trial, given up or serving."""
    rules, target = stage.portfolio.rules, stage.portfolio.target.column
    latest = _manifest(stage, newest) or seen.manifest
    reference, alarm = seen.watch.reference, seen.watch.alarm(after=latest.data_version)
    last = seen.watch.looks[-1] if seen.watch.looks else None
    return policy.Standing(
        champion=seen.watch.champion,
        n=len(seen.new),
        loss=float(drift.losses(seen.new[target], seen.new["_p"]).mean()) if len(seen.new) else None,
        promised=reference.loss,
        left_out=seen.left_out,
        share=last.share if last else 0.0,
        alarm=alarm is not None,
        change=(alarm.change or 0) if alarm else 0,
        since=_day_of(clients, alarm.change) if alarm and alarm.change else "",
        stale=seen.watch.stale(latest.data_version),
        harmed=seen.watch.harmed,
        learning=policy.learning(
            trained=seen.manifest.rows,
            learning_rows=stage.portfolio.model.learning_rows,
            reference=(reference.n, reference.left),
            least=(rules.reference_rows, rules.reference_each),
        ),
        grown=policy.grown(
            known=seen.manifest.known, newest=latest.known, labelled=_trainable(stage, clients, latest.known)
        ),
    )


def _manifest(stage: Stage, version: str) -> registry.Manifest | None:
    """What a model says of itself; None if that is damaged, which is no reason not to judge another one."""
    try:
        return registry.read_manifest(stage.place.models / version)
    except registry.ModelUnreadable as error:
        raise error.passing() from None
    except registry.ModelRefused:
        return None


def _trainable(stage: Stage, clients: Clients, known: int) -> int:
    """How many clients can be learnt from; counted only when there may be twice as many as were."""
    if clients.labelled < 2 * known:
        return 0
    if training.at_scale(clients):
        return clients.labelled
    return len(evidence.trainable(clients, scores=stage.place.scores))


def _day_of(clients: Clients, version: int) -> str:
    """A data version as a person knows it: the first day that its rows describe."""
    day = clients.portfolio.as_of
    if day is None:
        return f"data version {version}"
    first = clients.frame([day], after_version=version - 1, to_version=version)[day].min()
    return f"the clients of {first:%Y-%m-%d}" if pd.notna(first) else f"data version {version}"


def known_then(clients: Clients, deployed_version: int) -> pd.DataFrame:
    """The clients known when the champion was deployed, at most the newest 5,000: what features looked like then."""
    return clients.newest(MOST_KNOWN, to_version=deployed_version)


def changes(new: pd.DataFrame, known: pd.DataFrame, portfolio: Portfolio) -> list[dict[str, Any]]:
    """What changed about the clients, feature by feature, the strongest evidence first; empty without rows."""
    if new.empty or known.empty:
        return []
    return unlabelled.feature_evidence(new, known, portfolio)


def without_outcome(stage: Stage, seen: Seen, arrived: pd.DataFrame) -> dict[str, Any] | None:
    """What the risks of this tick's clients without an outcome lead one to expect; None where nothing can be said."""
    target = stage.portfolio.target.column
    waiting, judged = arrived[arrived[target].isna()], seen.recent
    if waiting.empty or len(judged) < stage.portfolio.rules.reference_rows:
        return None
    return unlabelled.expected_loss(model.probabilities(seen.pipeline, waiting), judged["_p"], judged[target])


def promises(portfolio: Portfolio) -> list[str]:
    """What the decision guarantees for this portfolio, and what it takes for granted."""
    rules = portfolio.rules
    given = policy.promises(
        alpha=rules.alpha,
        tolerance=rules.tolerance,
        ticks_a_year=rules.ticks_a_year,
        give_up=(rules.give_up, rules.give_up_rows),
    )
    named = {"treated": bool(portfolio.treated), "horizon": bool(portfolio.horizon), "named": bool(portfolio.id)}
    return given + policy.assumptions(**named)


def segments(portfolio: Portfolio, rows: pd.DataFrame, p: Any, *, seed: int) -> list[dict[str, Any]]:
    """The errors of risks ``p`` on ``rows``, by the values of each column to show, the largest error first.

    ``brier`` is ``{"value", "low", "high"}``; ``predicted`` and ``observed`` are the shares of leavers.
    """
    found: list[dict[str, Any]] = []
    risks = np.asarray(p, dtype=np.float64)
    for column in portfolio.show:
        places = rows[column].astype(object).where(rows[column].notna(), None)
        values = [value for value in places.unique() if value is not None]
        if not 1 < len(values) <= MOST_SEGMENTS:
            continue
        for value in values:
            inside = (places == value).to_numpy()
            left = rows[portfolio.target.column].to_numpy(dtype=np.float64)[inside]
            brier, low, high = drift.mean_interval(drift.losses(left, risks[inside]), seed=seed)
            about = {"column": column, "label": portfolio.label(column), "value": str(value), "n": int(inside.sum())}
            shares = {"predicted": float(risks[inside].mean()), "observed": float(left.mean())}
            found.append({**about, **shares, "brier": {"value": brier, "low": low, "high": high}})
    return sorted(found, key=lambda each: (each["column"], -each["brier"]["value"]))


def changed_terms(seen: Seen, labels: Sequence[str]) -> pd.DataFrame | str:
    """How a refit on the newest rows sees the champion's terms moved, the largest first, in log-odds a deviation."""
    if seen.watch.state is None or not seen.watch.looks:
        return "Nothing can be said yet."
    moved = drift.moved(seen.watch.state)
    names = ["everybody (intercept)", "the risk itself (slope)", *labels]
    found = pd.DataFrame({"term": names, "moved": moved})
    return found.iloc[np.argsort(-np.abs(moved), kind="stable")].head(10).set_index("term").rename_axis(None)


def unseen_by(stage: Stage, clients: Clients, models: Sequence[Manifest]) -> pd.DataFrame:
    """The rows that count and that came after the last of these models was trained.

    What was held back from a first model is not among them: it may have raised the alarm for the second. Of a model
    that was asked something else nobody can say which they are: there are none.
    """
    asked = any(manifest.otherwise(stage.portfolio) for manifest in models)
    since = clients.version if asked else max(manifest.data_version for manifest in models)
    return evidence.counted(clients, after_version=since, scores=stage.place.scores).rows
