"""The champion under watch: its reference, the detector and what it said, data version by data version.

Pure: rows in, numbers out. A ``Watch`` is kept between ticks in the book, but it is only a shortcut: begun anew and
brought forward over the same rows, it says the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from attrition import model
from attrition.drift import (
    Config,
    Evidence,
    Promotion,
    State,
    detector,
    expit,
    logit,
    losses,
    mean_interval,
    order,
    recall,
    start,
    update,
)
from attrition.drift.experts import WINDOW
from attrition.params import Portfolio, Rules
from attrition.policy import Trial

__all__ = ["Look", "Reference", "Rows", "Watch", "begin", "bring_forward", "config", "resume", "rows_of", "unseen"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_LOOKS = 500
"""Looks that are kept, the newest: as many as a drawing shows."""


@dataclass(frozen=True)
class Rows:
    """Clients that count as evidence, in the order in which they are judged.

    ``version`` (rows,) is the data version in which each counts, ``X`` (rows, terms) the champion's own encoding of
    the features, ``l`` (rows,) its log-odds and ``y`` (rows,) the outcome.
    """

    version: Ints
    X: Floats
    l: Floats  # noqa: E741 - the specification's letter
    y: Floats

    def where(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        """Some of them."""
        return Rows(self.version[chosen], self.X[chosen], self.l[chosen], self.y[chosen])

    @property
    def losses(self) -> Floats:
        """The champion's Brier loss on each."""
        return (expit(self.l) - self.y) ** 2


@dataclass(frozen=True)
class Reference:
    """What the champion promised: its mean Brier ``loss`` on ``n`` clients, of whom ``left``.

    They neither trained nor promoted it. ``full`` when there are enough for a claim; none is added after that.
    """

    n: int = 0
    left: int = 0
    loss: float | None = None
    version: int = 0  # data version up to which it reaches
    full: bool = False


@dataclass(frozen=True)
class Look:
    """What the clients of one data version said.

    ``log10`` is that of the detector's M, ``share`` M·α, of what an alarm needs; ``change`` the data version where
    the change is thought to have set in; ``best`` the bet that has won most.
    """

    version: int
    n: int
    loss: float
    log10: float | None
    share: float
    alarm: bool
    harm: bool
    change: int | None
    best: str | None


@dataclass(frozen=True)
class Watch:
    """All that is known against a champion up to a data version.

    ``since`` is the data version after which rows are needed when it is brought forward, ``settings`` by which rules.
    """

    champion: str
    version: int
    since: int
    settings: str
    reference: Reference = field(default_factory=Reference)
    state: State | None = None
    looks: tuple[Look, ...] = ()

    def alarm(self, after: int) -> Look | None:
        """The first alarm after a data version. It says best since when: with it, the evidence starts anew."""
        return next((look for look in self.looks if look.alarm and look.version > after), None)

    def stale(self, data_version: int) -> bool:
        """Whether a model trained at a data version knows nothing of the change that the first alarm tells of.

        Later alarms, while the champion still serves, tell of the same change: with an alarm the evidence starts
        anew, and so does the search for when clients changed.
        """
        first = self.alarm(after=0)
        return first is not None and first.version > data_version and (first.change or 0) > data_version

    @property
    def harmed(self) -> bool:
        """Whether the champion has been found worse than its reference, and its loss has stayed above that since."""
        if self.state is None:
            return False
        said = [index for index, look in enumerate(self.looks) if look.harm]
        if not said:
            return False
        since = self.looks[said[-1] :]
        return sum(look.loss * look.n for look in since) > self.state.reference * sum(look.n for look in since)

    def to_dict(self) -> dict[str, Any]:
        """As the book keeps it."""
        return {**asdict(replace(self, state=None)), "state": self.state.to_dict() if self.state else None}

    @staticmethod
    def from_dict(saved: Mapping[str, Any]) -> Watch:
        """What ``to_dict`` gave, after JSON."""
        return Watch(
            **{key: saved[key] for key in ("champion", "version", "since", "settings")},
            reference=Reference(**saved["reference"]),
            state=State.from_dict(saved["state"]) if saved["state"] else None,
            looks=tuple(Look(**look) for look in saved["looks"]),
        )


def config(rules: Rules, deployment: int) -> Config:
    """The detector's settings for a portfolio's ``deployment``-th champion (1, 2 …)."""
    return Config(alpha=rules.alpha, delta=rules.tolerance, k=deployment)


def unseen(frame: pd.DataFrame, data_version: int, held_back: str = "") -> npt.NDArray[np.bool_]:
    """Which rows that count a model has not learnt from, shape ``(rows,)``.

    It learnt from what counted up to ``data_version``, but for those that were held back (``model.split``'s mark).
    """
    later: npt.NDArray[np.bool_] = (frame["_counted"] > data_version).to_numpy()
    if not held_back:
        return later
    back = [each <= held_back for each in model.held_back_hash(frame["_key"])]
    either: npt.NDArray[np.bool_] = later | np.array(back, dtype=bool)
    return either


def predicted(pipeline: Pipeline, champion: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that count (``store.evidence.counted``) with the champion's probability, ``_p``.

    The prediction that was made then is the one that counts. Rows that an earlier model scored are left out.
    """
    own = frame[frame["_model"].isna() | (frame["_model"] == champion)]
    now = pd.Series(model.probabilities(pipeline, own), own.index, dtype="float64")
    return own.assign(_p=own["_probability"].fillna(now))


def rows_of(portfolio: Portfolio, pipeline: Pipeline, frame: pd.DataFrame) -> Rows:
    """What ``predicted`` gave as arrays, version by version, within one in the order of a hash of the rows' keys."""
    places = [np.flatnonzero(frame["_counted"] == version) for version in sorted(frame["_counted"].unique())]
    orders = [place[order(frame["_key"].iloc[place])] for place in places]
    frame = frame.iloc[np.concatenate([np.zeros(0, dtype=np.intp), *orders])]
    return Rows(
        frame["_counted"].to_numpy(dtype=np.int64),
        model.encoded(pipeline, frame),
        logit(frame["_p"].to_numpy(dtype=np.float64)),
        frame[portfolio.target.column].to_numpy(dtype=np.float64),
    )


def trial(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    number: int,
    rate: float,
    gain: float,
    ticks: int,
    seed: int = 0,
) -> Trial:
    """How far the proof has come that a challenger's probabilities ``q`` are better than the champion's ``p``.

    All of shape ``(rows,)``, on clients that count and that neither model has seen, which came in ``ticks`` data
    versions. The challenger is model ``number`` of the portfolio, the first of which had none to beat. Among the
    clients that were known when it was trained the share ``rate`` left; it must gain more than the share ``gain`` of
    that variance. See ``drift.Promotion``.
    """
    proof = Promotion(max(1, number - 1), gain * rate * (1 - rate))
    if not np.size(y):
        return Trial(0, None, None, None, proof.log10, proof.log10_needed, proven=False, lost=False, ticks=ticks)
    gains = losses(y, p) - losses(y, q)
    proof = proof.update(gains)
    # Giving up for nothing costs a training, promoting for nothing costs clients: here one in twenty will do.
    lost = Promotion(1, 0.0).update(-gains).log10 >= math.log10(20)
    found = mean_interval(gains, seed=seed)
    return Trial(len(gains), *found, proof.log10, proof.log10_needed, proven=proof.proven, lost=lost, ticks=ticks)


def begin(champion: str, since: int, settings: Config, rules: Rules) -> Watch:
    """The watch over a champion before its first row, which comes after data version ``since``."""
    return Watch(champion, since, since, _settings(settings, rules))


def _settings(settings: Config, rules: Rules) -> str:
    return f"{settings} {rules.reference_rows} {rules.reference_each} {detector.WEIGHTS.tolist()}"


def resume(
    saved: Mapping[str, Any] | None, champion: str, version: int, settings: Config, rules: Rules
) -> Watch | None:
    """The watch that was kept, if it is this champion's, at this data version, by these rules; else None."""
    if not saved or (saved["champion"], saved["version"]) != (champion, version):
        return None
    return Watch.from_dict(saved) if saved["settings"] == _settings(settings, rules) else None


def bring_forward(watch: Watch, rows: Rows, version: int, settings: Config, rules: Rules, *, claims: bool) -> Watch:
    """The watch after all ``rows`` up to a data version; they reach back to ``watch.since``.

    The reference is filled first, by whole versions. Then, if the champion has learnt from enough for ``claims``, the
    detector starts, and each version with rows is one tick of it.
    """
    past = rows.where(rows.version <= watch.version)
    if watch.state:
        watch = replace(watch, state=recall(watch.state, past.X, past.l, past.y))
    for number in np.unique(rows.version[(rows.version > watch.version) & (rows.version <= version)]).tolist():
        if watch.reference.full and watch.state is None:
            break
        if watch.state:
            watch = _look(watch, rows.where(rows.version == number), number, settings)
        else:
            watch = _collect(watch, rows.where(rows.version <= number), number, settings, rules, claims=claims)
    return replace(watch, version=version, since=_since(watch, rows, version))


def _collect(watch: Watch, rows: Rows, version: int, settings: Config, rules: Rules, *, claims: bool) -> Watch:
    """With one more version in the reference; once that is full, the detector starts."""
    n, left = len(rows.y), int(rows.y.sum())
    enough = n >= rules.reference_rows and min(left, n - left) >= rules.reference_each
    state = start(rows.X, rows.l, rows.y, settings) if enough and claims else None
    return replace(watch, reference=Reference(n, left, float(rows.losses.mean()), version, enough), state=state)


def _look(watch: Watch, tick: Rows, version: int, settings: Config) -> Watch:
    assert watch.state is not None
    state, said = update(watch.state, tick.X, tick.l, tick.y, settings)
    look = Look(
        version,
        n=said.n,
        loss=float(tick.losses.mean()),
        log10=said.log10,
        share=said.share,
        alarm=said.alarm,
        harm=said.harm_alarm,
        change=_change(watch, said, version),
        best=said.best,
    )
    return replace(watch, state=state, looks=(*watch.looks, look)[-MOST_LOOKS:])


def _change(watch: Watch, said: Evidence, version: int) -> int | None:
    """The data version in which the best bet was last restarted."""
    if said.change_ticks is None:
        return None
    versions = [look.version for look in watch.looks] + [version]
    return versions[max(0, len(versions) - 1 - said.change_ticks)]


def _since(watch: Watch, rows: Rows, version: int) -> int:
    """The data version after which the rows lie that are needed next time."""
    if watch.state is None:
        return version if watch.reference.full else watch.since
    window = min(watch.state.rows, WINDOW)
    return int(rows.version[rows.version <= version][-window]) - 1 if window else version
