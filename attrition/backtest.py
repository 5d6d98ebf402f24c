"""What would have been decided: a portfolio's rows played, data version by data version, through a strategy.

Each strategy starts with a first model as soon as one can be trained, and every version is judged by the model that
serves before anybody learns from it. Pure: the rows that count (``store.evidence.counted``) in, what happened out. The
package's own strategy is the one of the stage notebooks, by the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
    """A model, and what it was trained on.

    At ``data_version`` there were ``known`` clients to learn from, of whom ``left``; its coefficients rest on ``rows``.
    ``held_back`` marks those that it has not seen (``model.split``).
    """

    number: int
    pipeline: Pipeline
    data_version: int
    rows: int
    known: int
    left: int
    held_back: str = ""


@dataclass(frozen=True)
class Past:
    """What is known at a data version: all ``rows`` that count up to it, and which of them are ``new`` with it."""

    portfolio: Portfolio
    version: int
    rows: pd.DataFrame
    new: pd.DataFrame

    def first(self) -> Trained:
        """The first model, with some rows held back to be its reference (as ``30_train``)."""
        train, _, mark = model.split(self.portfolio, self.rows)
        return replace(self._trained(1, model.fit(self.portfolio, train), train, len(train)), held_back=mark)

    def train(self, number: int, champion: Trained, change: int) -> Trained:
        """A challenger of all that is known (as ``30_train``)."""
        best = candidates.tried(
            self.portfolio,
            self.rows,
            champion=champion.pipeline,
            trained_version=champion.data_version,
            since_version=change,
        )[0]
        return self._trained(number, best.pipeline, self.rows, best.rows + (champion.rows if best.mends else 0))

    def train_on_all(self, number: int) -> Trained:
        """A model of all that is known, nothing held back."""
        return self._trained(number, model.fit(self.portfolio, self.rows), self.rows, len(self.rows))

    def _trained(self, number: int, pipeline: Pipeline, known: pd.DataFrame, rows: int) -> Trained:
        left = int(known[self.portfolio.target.column].sum())
        return Trained(number, pipeline, self.version, rows, len(known), left)

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
    """Play ``rows`` (those that count, with ``_counted`` and ``_key``) through a strategy."""
    played, champion, number = Played(), None, 1
    for past in _versions(portfolio, rows):
        if champion is None:
            if past.can_train():
                champion = past.first()
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
    places = [np.flatnonzero(rows["_counted"] == version) for version in sorted(rows["_counted"].unique())]
    ordered = [place[drift.order(rows["_key"].iloc[place])] for place in places]
    for index, place in enumerate(ordered):
        past = rows.iloc[np.concatenate(ordered[: index + 1])].reset_index(drop=True)
        yield Past(portfolio, int(rows["_counted"].iloc[place[0]]), past, past.tail(len(place)))


class Evidence:
    """The package's own: a retrain when the evidence asks for it, a promotion when it is proven."""

    def __init__(self) -> None:
        self._watch: Watch | None = None
        self._alarm: Look | None = None
        self._newest: Trained | None = None
        self._challenger: Trained | None = None
        self._deployments = 1

    def after(self, past: Past, champion: Trained, number: int) -> Trained | None:
        """Bring the evidence forward; train when it asks for that and no challenger is on trial."""
        self._verdict = policy.champion_verdict(self._standing(past, champion))
        if not self._verdict.train or (self._challenger and not self._verdict.replaces):
            return None
        change = (self._alarm.change or 0) if self._alarm and self._verdict.state == "drift" else 0
        self._challenger = self._newest = past.train(number, champion, change)
        return self._challenger

    def deployed(self, past: Past, champion: Trained) -> Trained:
        """The challenger once it is proven."""
        if self._challenger is None:
            return champion
        challenger, rules = self._challenger, past.portfolio.rules
        said = policy.decide(
            self._trial(past, champion, challenger),
            verdict=self._verdict,
            champion=str(champion.number),
            challenger=str(challenger.number),
            give_up=(rules.give_up, rules.give_up_rows),
            ticks_a_year=rules.ticks_a_year,
        )
        if said.decision != "on_trial":
            self._challenger = None
        if said.decision != "promoted":
            return champion
        self._deployments += 1
        settings = watch.config(rules, self._deployments)
        self._watch = watch.begin(str(challenger.number), past.version, settings, rules)
        return challenger

    def _trial(self, past: Past, champion: Trained, challenger: Trained) -> policy.Trial:
        unseen = past.rows[past.rows["_counted"] > challenger.data_version]
        p, q = (model.probabilities(each.pipeline, unseen) for each in (champion, challenger))
        return watch.trial(
            unseen[past.portfolio.target.column],
            p,
            q,
            number=challenger.number,
            rate=challenger.left / challenger.known,
            gain=past.portfolio.rules.gain,
            ticks=unseen["_counted"].nunique(),
        )

    def _standing(self, past: Past, champion: Trained) -> policy.Standing:
        rules, self._newest = past.portfolio.rules, self._newest or champion
        settings = watch.config(rules, self._deployments)
        begun = self._watch or watch.begin(str(champion.number), 0, settings, rules)
        rows = past.rows[past.rows["_counted"] > begun.since]
        rows = rows[watch.unseen(rows, champion.data_version, champion.held_back)]
        rows = watch.predicted(champion.pipeline, begun.champion, rows.assign(_model=None, _probability=np.nan))
        known = self._watch = watch.bring_forward(
            begun,
            watch.rows_of(past.portfolio, champion.pipeline, rows),
            past.version,
            settings,
            rules,
            claims=champion.rows >= past.portfolio.model.learning_rows,
        )
        self._alarm = known.alarm(after=self._newest.data_version)
        return policy.Standing(
            champion=begun.champion,
            alarm=self._alarm is not None,
            stale=known.stale(self._newest.data_version),
            grown=policy.grown(known=champion.known, newest=self._newest.known, labelled=len(past.rows)),
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
