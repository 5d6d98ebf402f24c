"""The state machine of a portfolio's model, and its sentences. Pure: no files, no notebooks.

This is the interim rule (docs/decisions/002): a bootstrap at 99% that asks on each tick whether the
champion lost against its own reference, and whether the challenger beats it on rows neither has seen.
Looked at on every tick, such a rule is wrong more often than its 1%; the evidence that stays valid
under repeated looks replaces it behind the same names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from attrition.metrics import LEAST

__all__ = ["DECISIONS", "Decision", "Verdict", "champion_verdict", "decide", "grown"]

MOST_SHRINK = 100.0
"""How much narrower an interval may have to become before its rows are not worth waiting for."""
DECISIONS = ("learning", "held", "harmed", "on_trial", "promoted", "kept", "rolled_back")


class Comparison(Protocol):
    """Mean loss of one side less that of the other, with its interval and what a test says of it."""

    @property
    def difference(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n_new(self) -> int: ...
    @property
    def n_reference(self) -> int: ...
    @property
    def says(self) -> bool: ...


@dataclass(frozen=True)
class Verdict:
    """What 20_monitor found.

    ``state`` is learning, first (there are enough rows for a first model), refused (the champion cannot be used
    any more), drift, grown (it holds, but has learnt from few, and many more are known by now) or holds.
    """

    state: str
    sentence: str

    @property
    def train(self) -> bool:
        """Whether a challenger is wanted."""
        return self.state in ("first", "refused", "drift", "grown")

    @property
    def decision(self) -> str | None:
        """The decision when no challenger is trained or on trial."""
        return {"holds": "held", "learning": "learning"}.get(self.state)


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
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def champion_verdict(
    comparison: Comparison | None,
    *,
    champion: str | None,
    new: int,
    losses: tuple[float, float] | None,
    too_few: str | None,
    refused: str | None = None,
    grown: str | None = None,
) -> Verdict:
    """Does the champion hold?

    Args:
        comparison: loss on the new rows less loss on the reference; None without labelled new rows.
        champion: its version; None before the first model.
        new: labelled rows since judged_version.
        losses: mean loss now and when deployed.
        too_few: why a model cannot be trained yet, if it cannot.
        refused: why the champion cannot be used any more, if it cannot.
        grown: why it should be challenged although it holds (see ``grown``), if it should.
    """
    if refused:
        return Verdict("refused", f"Model {champion} cannot be used any more: {refused}. A new one takes its place.")
    if champion is None and too_few:
        return Verdict("learning", f"No model yet: {too_few}.")
    if champion is None:
        return Verdict("first", "There are enough labelled clients for a first model.")
    if comparison is None or losses is None:
        return Verdict("holds", f"No outcome of a new client is known yet, so nothing speaks against model {champion}.")
    seen = (
        f"on {_clients(new)} its error (Brier) is {losses[0]:.3f}, against {losses[1]:.3f} when deployed"
        f" (difference {_interval(comparison)})"
    )
    if comparison.says:
        return Verdict("drift", f"Model {champion} no longer holds: {seen}; the whole interval is above zero.")
    if grown:
        return Verdict("grown", f"Model {champion} holds: {seen}, which is within chance. {grown}")
    if min(comparison.n_new, comparison.n_reference) < LEAST:
        few = f"With {comparison.n_new} new and {comparison.n_reference} reference clients nothing is claimed"
        return Verdict("holds", f"Model {champion} stays: {seen}. {few}: {new} clients prove little.")
    weak = f" {new} clients prove little: only a large change could show." if new < 100 else ""
    return Verdict("holds", f"Model {champion} holds: {seen}, which is within chance.{weak}")


def grown(*, trained: int, labelled: int, held: int, learning_rows: int) -> str | None:
    """Why a champion that has learnt from few clients should be challenged; None where it need not.

    Args:
        trained: rows that it was trained on.
        labelled: rows with an outcome by now.
        held: rows that a challenger would be held back from, to be judged on.
        learning_rows: rows from which on only a change asks for training.
    """
    if trained >= learning_rows or labelled < 2 * trained or held < LEAST:
        return None
    return f"It has learnt from {trained:,} clients only, and {labelled:,} are known by now: a challenger is trained."


def decide(
    comparison: Comparison | None,
    *,
    verdict: str,
    champion: str | None,
    challenger: str,
    trial_ticks: int,
    give_up: int,
) -> Decision:
    """Promote the challenger, keep it on trial, or give it up.

    Args:
        comparison: champion's loss less challenger's on rows that neither has seen; None without such rows.
        verdict: the sentence of 20_monitor, or why a challenger was trained.
        champion: version that serves now; None before the first model.
        challenger: version that was just trained or is on trial.
        trial_ticks: ticks that it has been judged on, this one included.
        give_up: ticks after which it is given up.
    """
    if champion is None:
        return Decision(
            "promoted",
            f"{verdict} Model {challenger} serves from now on, unproven: there is none to compare it with.".strip(),
            champion=challenger,
            challenger=None,
            proven=False,
            needs="nothing: the first model serves until a later one proves better",
        )
    if comparison is None:
        seen = "there is no labelled client yet that neither model has seen"
    else:
        seen = (
            f"on {_clients(comparison.n_new)} that neither has seen, the error (Brier) of {challenger} is"
            f" {abs(comparison.difference):.3f} {'lower' if comparison.difference >= 0 else 'higher'}"
            f" (gain {_interval(comparison)})"
        )
    if comparison is not None and comparison.says:
        reason = f"Model {challenger} replaces {champion}: {seen}; the whole interval is above zero."
        return Decision("promoted", reason, challenger, None, True, "nothing", ended={champion: "retired"})
    if trial_ticks >= give_up:
        reason = f"Model {champion} stays: {seen}, and after {trial_ticks} ticks {challenger} is given up."
        return Decision("kept", reason, champion, None, None, "a new challenger", ended={challenger: "given_up"})
    needs = _needs(comparison)
    reason = f"Model {champion} stays, {challenger} is on trial: {seen}. To be promoted it needs {needs}. {verdict}"
    return Decision(
        "on_trial", reason.strip(), champion, challenger, None, needs, evidence={"trial_ticks": trial_ticks}
    )


def _needs(comparison: Comparison | None) -> str:
    if comparison is None:
        return "labelled clients that neither model has seen"
    if comparison.n_new < LEAST:
        return f"at least {LEAST} such clients ({comparison.n_new} prove little), and an interval above zero"
    if comparison.difference <= 0:
        return "to be better at all on such clients, with an interval above zero"
    # The interval shrinks with the root of the rows: this many in all would lift its lower end to zero.
    shrink = (comparison.difference - comparison.low) / comparison.difference
    if not shrink < MOST_SHRINK:
        return "a gain that can be told from none; at this one no number of clients that is to be had would do"
    more = math.ceil(comparison.n_new * shrink**2) - comparison.n_new
    return f"an interval above zero, which about {max(more, 1):,} more such clients would give if the gain stays"


def _clients(n: int) -> str:
    return "1 new client" if n == 1 else f"{n:,} new clients"


def _interval(comparison: Comparison) -> str:
    return f"{comparison.low:+.3f} to {comparison.high:+.3f}"
