"""What would have been decided: a portfolio's rows played, data version by data version, through a strategy.

Each strategy starts with a first model as soon as one can be trained, and every version is judged by the model that
serves before anybody learns from it. Pure: the rows that count (``store.evidence.counted``) in, what happened out. The
package's own strategy is the one of the stage notebooks, by the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from attrition import candidates, drift, metrics, model, policy, watch
from attrition.params import Portfolio
from attrition.watch import Look, Watch

__all__ = ["Always", "Every", "Evidence", "Naive", "Never", "Played", "Strategy", "Trained", "play"]


@dataclass(frozen=True)
class Trained:
    """A model, and what it was trained on: rows to ``trained_to`` of ``data_version``, of whom ``left``."""

    number: int
    pipeline: Pipeline
    data_version: int
    trained_to: int
    rows: int
    left: int


@dataclass(frozen=True)
class Past:
    """What is known at a data version: all ``rows`` that count up to it, and which of them are ``new`` with it."""

    portfolio: Portfolio
    version: int
    rows: pd.DataFrame
    new: pd.DataFrame

    def train(self, number: int, champion: Trained | None = None, change: int | None = None) -> Trained:
        """A model of what is known, but for the rows held back to judge it (as ``30_train``)."""
        train, _ = model.split(self.portfolio, self.rows, self.version - 1)
        since = train.loc[train["_counted"] >= change, "_row"].min() if change else None
        tried = candidates.tried(
            self.portfolio,
            train,
            champion=champion.pipeline if champion else None,
            trained_to=champion.trained_to if champion else 0,
            since_row=None if pd.isna(since) else int(since),
        )
        return self._trained(number, tried[0].pipeline, train)

    def train_on_all(self, number: int) -> Trained:
        """A model of all that is known, nothing held back."""
        return self._trained(number, model.fit(self.portfolio, self.rows), self.rows)

    def _trained(self, number: int, pipeline: Pipeline, train: pd.DataFrame) -> Trained:
        left = int(train[self.portfolio.target.column].sum())
        return Trained(number, pipeline, self.version, int(train["_row"].max()), len(train), left)

    def can_train(self) -> bool:
        """Whether there is enough for a first model."""
        return model.too_few(self.portfolio, model.split(self.portfolio, self.rows)[0]) is None


class Strategy(Protocol):
    """When to train, and what to deploy."""

    def after(self, past: Past, champion: Trained, number: int) -> Trained | None:
        """Called after each version was judged: a model that was trained now (``number`` is its), or None."""
        ...

    def deployed(self, past: Past, champion: Trained) -> Trained:
        """Called after that: the model that serves from now on."""
        ...


@dataclass
class Played:
    """What a strategy did: a row a version in ``ticks`` (``version``, ``n``, ``loss``, ``model``), and when it trained
    and promoted.
    """

    ticks: list[dict[str, float]] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)
    promoted: list[int] = field(default_factory=list)

    @property
    def clients(self) -> int:
        """That were judged."""
        return int(sum(tick["n"] for tick in self.ticks))

    @property
    def loss(self) -> float:
        """Mean Brier loss over all clients that were judged before they were learnt from; NaN without any."""
        return sum(tick["n"] * tick["loss"] for tick in self.ticks) / self.clients if self.clients else float("nan")


def play(portfolio: Portfolio, rows: pd.DataFrame, strategy: Strategy) -> Played:
    """Play ``rows`` (those that count, with ``_row``, ``_counted`` and ``_key``) through a strategy."""
    played, champion, number = Played(), None, 1
    for past in _versions(portfolio, rows):
        if champion is None:
            if past.can_train():
                champion = past.train(number)
            continue
        p = model.probabilities(champion.pipeline, past.new)
        loss = float(drift.losses(past.new[portfolio.target.column], p).mean())
        played.ticks.append({"version": past.version, "n": len(past.new), "loss": loss, "model": champion.number})
        if trained := strategy.after(past, champion, number + 1):
            number = trained.number
            played.trained.append(past.version)
        serves = strategy.deployed(past, champion)
        if serves.number != champion.number:
            played.promoted.append(past.version)
        champion = serves
    return played


def _versions(portfolio: Portfolio, rows: pd.DataFrame) -> Iterator[Past]:
    ordered = rows.sort_values(["_counted", "_row"], kind="stable", ignore_index=True)
    # Learnt from and held back in the order in which outcomes were final: here that is the order of arrival.
    ordered = ordered.assign(_row=np.arange(1, len(ordered) + 1), _version=ordered["_counted"])
    ends = np.flatnonzero(np.diff(ordered["_counted"], append=np.inf)) + 1
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield Past(portfolio, int(ordered["_counted"].iloc[start]), ordered.iloc[:end], ordered.iloc[start:end])


class Evidence:
    """The package's own: a retrain when the evidence asks for it, a promotion when it is proven."""

    def __init__(self) -> None:
        self._watch: Watch | None = None
        self._alarm: Look | None = None
        self._newest: Trained | None = None
        self._challenger: Trained | None = None
        self._deployments, self._ticks = 1, 0

    def after(self, past: Past, champion: Trained, number: int) -> Trained | None:
        """Bring the evidence forward; train when it asks for that and no challenger is on trial."""
        self._ticks += 1
        self._verdict = policy.champion_verdict(self._standing(past, champion))
        if not self._verdict.train or (self._challenger and not self._verdict.replaces):
            return None
        change = self._alarm.change if self._alarm and self._verdict.state == "drift" else None
        self._challenger = self._newest = past.train(number, champion, change)
        self._ticks = 1
        return self._challenger

    def deployed(self, past: Past, champion: Trained) -> Trained:
        """The challenger once it is proven."""
        if self._challenger is None:
            return champion
        challenger, rules, target = self._challenger, past.portfolio.rules, past.portfolio.target.column
        unseen = past.rows[past.rows["_row"] > max(champion.trained_to, challenger.trained_to)]
        rate = challenger.left / challenger.rows
        p, q = (model.probabilities(each.pipeline, unseen) for each in (champion, challenger))
        epsilon = rules.gain * rate * (1 - rate)
        trial = watch.trial(unseen[target], p, q, k=challenger.number - 1, epsilon=epsilon)
        said = policy.decide(
            trial,
            verdict=self._verdict,
            champion=str(champion.number),
            challenger=str(challenger.number),
            ticks=self._ticks,
            give_up=(rules.give_up, rules.give_up_rows),
            ticks_a_year=rules.ticks_a_year,
        )
        if said.decision != "on_trial":
            self._challenger = None
        if said.decision != "promoted":
            return champion
        self._watch, self._deployments = watch.begin(str(challenger.number), past.version), self._deployments + 1
        return challenger

    def _standing(self, past: Past, champion: Trained) -> policy.Standing:
        rules, learning_rows = past.portfolio.rules, past.portfolio.model.learning_rows
        self._newest = self._newest or champion
        begun = self._watch or watch.begin(str(champion.number), champion.data_version - 1)
        rows = past.rows[(past.rows["_counted"] > begun.since) & (past.rows["_row"] > champion.trained_to)]
        rows = watch.predicted(champion.pipeline, begun.champion, rows.assign(_model=None, _probability=np.nan))
        known = self._watch = watch.bring_forward(
            begun,
            watch.rows_of(past.portfolio, champion.pipeline, rows),
            past.version,
            watch.config(rules, self._deployments),
            rules,
            claims=champion.rows >= learning_rows,
        )
        self._alarm = known.alarm(after=self._newest.data_version)
        return policy.Standing(
            champion=begun.champion,
            alarm=self._alarm is not None,
            stale=self._alarm is not None and self._newest.data_version < (self._alarm.change or 0),
            grown=policy.grown(trained=champion.rows, newest=self._newest.rows, labelled=len(past.rows)),
        )


class Never:
    """The first model for good."""

    def after(self, past: Past, champion: Trained, number: int) -> Trained | None:
        """Nothing."""
        return None

    def deployed(self, past: Past, champion: Trained) -> Trained:
        """What served before."""
        return champion


class Always:
    """A new model of all rows after every version, deployed at once."""

    _new: Trained | None = None

    def wanted(self, past: Past, champion: Trained) -> bool:
        """Whether to train now."""
        return True

    def after(self, past: Past, champion: Trained, number: int) -> Trained | None:
        """A model of everything, if it is wanted."""
        self._new = past.train_on_all(number) if self.wanted(past, champion) else None
        return self._new

    def deployed(self, past: Past, champion: Trained) -> Trained:
        """The new one, if there is one."""
        return self._new or champion


class Every(Always):
    """A new model of all rows after every so many versions: *monthly* at a portfolio's rate."""

    def __init__(self, versions: int) -> None:
        self.versions, self._count = max(1, versions), 0

    def wanted(self, past: Past, champion: Trained) -> bool:
        """At every so many versions."""
        self._count += 1
        return self._count % self.versions == 0


class Naive(Always):
    """The rule "the new F1 is below the old one", by which many a pipeline retrains."""

    _old: float | None = None

    def wanted(self, past: Past, champion: Trained) -> bool:
        """F1 on the new rows is below that of the version before."""
        p = model.probabilities(champion.pipeline, past.new)
        new = metrics.score(past.new[past.portfolio.target.column], p, past.portfolio.threshold, resamples=2)["f1"]
        before, self._old = self._old, new["value"]
        return before is not None and self._old < before
