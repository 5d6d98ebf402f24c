"""The state machine of a portfolio's model, and its sentences. Pure: no files, no notebooks.

The evidence comes from ``drift``: a detector whose false alarms are bounded over any number of looks asks for
training, and a proof that stays valid however often it is looked at promotes. What it does not need is said as
information. See docs/decisions/004.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = [
    "DECISIONS",
    "Decision",
    "Standing",
    "Trial",
    "Verdict",
    "assumptions",
    "champion_verdict",
    "decide",
    "grown",
    "learning",
    "promises",
    "proof",
]

DECISIONS = ("learning", "held", "harmed", "on_trial", "promoted", "kept", "rolled_back")
DAYS = 365
"""In a year."""
NO_PACE = 1e-6
"""Evidence below this (log10) has no pace that the clients still needed could be reckoned from."""


@dataclass(frozen=True)
class Standing:
    """What 20_monitor knows of the champion.

    Attributes:
        champion: its version; None before the first model.
        n: clients that count of this tick; ``loss`` their mean Brier loss, ``promised`` that of the reference.
        left_out: clients with an outcome that do not count, by reason.
        share: evidence that a refit would help, as a share of what a retrain needs; None while nothing is claimed.
        alarm: whether it has asked for a model that was not trained yet.
        change: the data version with which clients are thought to have changed; 0 where it cannot be told; ``since``
            says it for a person.
        stale: whether the newest model was trained before that: a challenger that knows nothing of the change.
        harmed: whether its loss is above its reference though no refit would lower it.
        learning: why nothing is claimed yet; None when there are enough clients.
        too_few: why a model cannot be trained.
        refused: why the champion cannot be used any more.
        grown: why it should be challenged though nothing speaks against it.
    """

    champion: str | None
    n: int = 0
    loss: float | None = None
    promised: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    share: float | None = None
    alarm: bool = False
    change: int = 0
    since: str = ""
    stale: bool = False
    harmed: bool = False
    learning: str | None = None
    too_few: str | None = None
    refused: str | None = None
    grown: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What 20_monitor found.

    ``state`` is learning (too few clients for a model), first (enough for a first model), early (too few for a claim
    about the champion), refused (it cannot be used any more), unreplaced (the same, but too few clients count to train
    another), drift, grown (nothing speaks against it, but it has learnt from few, and many more are known by now),
    harmed or holds.
    """

    state: str
    sentence: str
    replaces: bool = False  # whether a new challenger takes the place of one that is on trial

    @property
    def train(self) -> bool:
        """Whether a challenger is wanted."""
        return self.state in ("first", "refused", "drift", "grown")

    @property
    def trainable(self) -> bool:
        """Whether a challenger can be trained at all, for whoever asks for one."""
        return self.state not in ("learning", "unreplaced")

    @property
    def decision(self) -> str | None:
        """The decision when no challenger is trained or on trial."""
        if self.state in ("holds", "early", "unreplaced"):
            return "held"
        return self.state if self.state in ("learning", "harmed") else None


@dataclass(frozen=True)
class Trial:
    """How far the proof of a challenger has come.

    Attributes:
        n: clients that neither model has seen and that count; ``gain`` how much lower its mean Brier loss is on
            them, within ``low`` and ``high``. None without clients.
        log10: log10 of the evidence that it is better; ``needed`` what a promotion needs; ``proven`` whether it has it.
        lost: whether the evidence that it is *not* better is as good as that of one in twenty.
        ticks: data versions that these clients came in.
    """

    n: int
    gain: float | None
    low: float | None
    high: float | None
    log10: float
    needed: float
    proven: bool
    lost: bool
    ticks: int

    @property
    def clients_needed(self) -> int | None:
        """About how many more clients would prove it at the pace so far; None while there is no pace."""
        if self.n < 1 or self.log10 < NO_PACE:
            return None
        return max(1, math.ceil(self.n * (self.needed / self.log10 - 1)))

    def on_pace(self, most: int) -> bool:
        """Whether at the pace so far it would be proven with ``most`` clients in all."""
        more = self.clients_needed
        return more is not None and self.n + more <= most


@dataclass(frozen=True)
class Decision:
    """What 50_deploy says: one of DECISIONS, why, and where it leaves champion and challenger."""

    decision: str
    reason: str
    champion: str | None
    challenger: str | None
    proven: bool | None  # of a champion that is new; None where none is
    needs: str
    ended: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def champion_verdict(known: Standing) -> Verdict:
    """Does the champion hold?"""
    name = f"Model {known.champion}"
    if known.refused and known.too_few:
        why = f"no other can be trained yet, {known.too_few}"
        return Verdict("unreplaced", f"{name} stays though {known.refused}: {why}.")
    if known.refused:
        return Verdict("refused", f"{name} cannot be used any more: {known.refused}. A new one takes its place.")
    if known.champion is None:
        if known.too_few:
            return Verdict("learning", f"No model yet: {known.too_few}.")
        return Verdict("first", "There are enough labelled clients for a first model.")
    seen = _seen(known)
    if known.alarm:
        since = f", since {known.since} as far as can be told" if known.since else ""
        why = "the evidence has reached what a retrain needs: a refit would help"
        return Verdict("drift", f"{name} no longer holds: {seen}; {why}{since}.", replaces=known.stale)
    if known.grown:
        return Verdict("grown", f"{name}: {seen}. {known.grown}")
    if known.learning:
        return Verdict("early", f"{name} stays: {seen}. Nothing is claimed of it yet: {known.learning}.")
    if known.harmed:
        why = "nothing yet shows that a refit would do better, so clients may have become harder to predict"
        return Verdict(
            "harmed", f"{name} does worse than it promised: {seen}; {why} (evidence for a refit at {_share(known)})."
        )
    if known.n == 0:
        return Verdict("holds", f"{name} holds: {seen}, so nothing speaks against it.")
    return Verdict("holds", f"{name} holds: {seen}; evidence at {_share(known)} of what a retrain needs.")


def _seen(known: Standing) -> str:
    """The new clients in words, for the middle of a sentence."""
    left = f" ({'; '.join(f'{n:,} not counted: {why}' for why, n in known.left_out.items())})" if known.left_out else ""
    if known.loss is None:
        return f"no outcome of a client that counts came{left}"
    against = f", against {known.promised:.3f} when deployed" if known.promised is not None else ""
    return f"on {_clients(known.n)} its error (Brier) is {known.loss:.3f}{against}{left}"


def _share(known: Standing) -> str:
    share = known.share or 0.0
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"


def learning(*, trained: int, learning_rows: int, reference: tuple[int, int], least: tuple[int, int]) -> str | None:
    """Why nothing can be claimed of a champion yet; None where it can.

    Args:
        trained: clients that it was trained on, and ``learning_rows`` how many a claim needs.
        reference: clients in its reference, and how many of them left.
        least: clients, and clients of each outcome, that a reference needs.
    """
    n, left = reference
    short = [
        f"it has learnt from {trained:,} clients, and a claim needs {learning_rows:,}"
        if trained < learning_rows
        else "",
        f"{n:,} clients, of whom {left:,} left, are its reference, and a claim needs {least[0]:,}, {least[1]} of each"
        " outcome among them"
        if n < least[0] or min(left, n - left) < least[1]
        else "",
    ]
    found = "; ".join(filter(None, short))
    return f"so few prove little: {found}" if found else None


def promises(*, alpha: float, tolerance: float, ticks_a_year: float, give_up: tuple[int, int]) -> list[str]:
    """What the decision guarantees, in words, and on which condition; in days at this many ticks a year."""
    day = DAYS / ticks_a_year
    return [
        f"Trained for nothing: on average once in {1 / alpha:,.0f} ticks at most ({_days(day / alpha)}), as long as the"
        f" champion, once set right on its reference, is within {tolerance:g} log-odds of the truth for every client"
        " and no refit gains more than chance.",
        "A worse model promoted: with a probability of 1% at most, over all models that will ever be tried here and"
        " whatever changes. Nothing is promised for clients who come later.",
        f"A challenger that does not prove itself is given up after {give_up[0]} ticks ({_days(give_up[0] * day)}) and"
        f" {give_up[1]:,} clients.",
    ]


def assumptions(*, treated: bool, horizon: bool, named: bool) -> list[str]:
    """What is taken for granted because the YAML does not say it: who was called, the horizon, who is who."""
    said = {
        "It assumes that nobody acted on the scores: name the column that says who was called (treated).": treated,
        "It takes an outcome as final when it comes: say after how long it is (horizon).": horizon,
        "It takes each row for a client of its own: name the column that tells clients apart (id).": named,
    }
    return [sentence for sentence, given in said.items() if not given]


def grown(*, known: int, newest: int, labelled: int) -> str | None:
    """Why a champion should be challenged though nothing speaks against it; None where it need not.

    Args:
        known: clients that could be learnt from when it was trained.
        newest: the same of the newest model, which may have been given up.
        labelled: clients with an outcome to train on by now.
    """
    if labelled < 2 * max(known, newest):
        return None
    return f"{known:,} clients were known when it was trained, and {labelled:,} are by now: a challenger is trained."


def decide(
    trial: Trial,
    *,
    verdict: Verdict,
    champion: str | None,
    challenger: str,
    give_up: tuple[int, int],
    ticks_a_year: float,
) -> Decision:
    """Promote the challenger, keep it on trial, or give it up.

    Args:
        trial: its proof so far.
        verdict: of 20_monitor in this tick, or why a challenger was trained.
        champion: version that serves now; None before the first model.
        challenger: version that was just trained or is on trial.
        give_up: ticks and clients after both of which it is given up.
        ticks_a_year: to say ticks in days.
    """
    if champion is None:
        why = "unproven: there is none to compare it with"
        reason = f"{verdict.sentence} Model {challenger} serves from now on, {why}.".strip()
        needs = "nothing: the first model serves until a later one proves better"
        return Decision("promoted", reason, challenger, None, False, needs)
    seen = proof(trial, challenger)
    if trial.proven:
        reason = f"Model {challenger} replaces {champion}: {seen}. {verdict.sentence}".strip()
        return Decision("promoted", reason, challenger, None, True, "nothing", ended={champion: "retired"})
    if why_not := _hopeless(trial, verdict, give_up):
        reason = (
            f"Model {champion} stays: {seen}, and {challenger} is given up, as {why_not}. {verdict.sentence}".strip()
        )
        return Decision("kept", reason, champion, None, None, "a new challenger", ended={challenger: "given_up"})
    needs = _needs(trial, give_up, DAYS / ticks_a_year)
    reason = f"Model {champion} stays, {challenger} is on trial: {seen}. To be promoted it needs {needs}."
    return Decision("on_trial", f"{reason} {verdict.sentence}".strip(), champion, challenger, None, needs)


def proof(trial: Trial, challenger: str) -> str:
    """How far the proof has come, for the middle of a sentence."""
    if trial.gain is None:
        return "there is no client that counts and that neither model has seen"
    better = "lower" if trial.gain >= 0 else "higher"
    interval = f"{trial.low:+.3f} to {trial.high:+.3f}"
    return (
        f"on {_clients(trial.n)} that neither has seen, the error (Brier) of {challenger} is"
        f" {abs(trial.gain):.3f} {better} (gain {interval} at 95%), and the proof that it is better {_stands(trial)}"
    )


def _stands(trial: Trial) -> str:
    if trial.proven:
        return f"is {_odds(trial.log10 - trial.needed)} times what a promotion needs"
    return f"stands at {_odds(trial.log10)} of the {_odds(trial.needed)} that a promotion needs"


def _odds(log10: float) -> str:
    value = 10 ** min(log10, 6.0)
    return "over a million" if log10 > 6 else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _hopeless(trial: Trial, verdict: Verdict, give_up: tuple[int, int]) -> str | None:
    if trial.lost:
        return "it is not better"
    if trial.ticks and not trial.on_pace(give_up[1]):
        if verdict.state == "drift":
            return "clients have gone on changing since it was trained; the next one learns from them"
        if verdict.state == "grown":
            return "twice as many clients are known as it has learnt from; the next one learns from all"
    if trial.ticks >= give_up[0] and trial.n >= give_up[1]:
        return f"{trial.ticks} ticks and {trial.n:,} clients did not show that it is better"
    return None


def _needs(trial: Trial, give_up: tuple[int, int], days: float) -> str:
    patience = f"it is given up after {give_up[0]} ticks ({_days(give_up[0] * days)}) and {give_up[1]:,} clients"
    more = trial.clients_needed
    if more is None:
        return f"to be better on clients that neither has seen; {patience}"
    if not trial.on_pace(give_up[1]):
        return f"a clearer gain than so far; {patience}"
    wait = more / (trial.n / max(trial.ticks, 1)) * days
    return f"about {more:,} more such clients at this pace, {_days(wait)}; {patience}"


def _days(days: float) -> str:
    if days < 1.5:
        return "a day"
    return f"{days:,.0f} days" if days < 2 * DAYS else f"{days / DAYS:,.0f} years"


def _clients(n: int) -> str:
    return "1 new client" if n == 1 else f"{n:,} new clients"
