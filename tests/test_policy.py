"""The state machine and its sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition import policy
from attrition.drift import Comparison


def comparison(difference=0.0, low=-0.1, high=0.1, n=412, says=False):
    return Comparison(difference, low, high, n, n, says)


def verdict(compared, **changes):
    given = {"champion": "0001", "new": 412, "losses": (0.171, 0.168), "too_few": None}
    return policy.champion_verdict(compared, **given | changes)


def decide(compared, **changes):
    given = {"verdict": "Why.", "champion": "0001", "challenger": "0002", "trial_ticks": 1, "give_up": 40}
    return policy.decide(compared, **given | changes)


def test_without_a_champion_it_trains_the_first_as_soon_as_it_can():
    assert verdict(None, champion=None, too_few="8 clients, 10 are the least").state == "learning"
    assert "8 clients, 10 are the least" in verdict(None, champion=None, too_few="8 clients, 10 are the least").sentence
    first = verdict(None, champion=None)
    assert (first.state, first.train, first.decision) == ("first", True, None)


def test_a_champion_holds_within_chance_and_says_how_strong_the_evidence_is():
    held = verdict(comparison(0.003, -0.01, 0.016))
    assert (held.state, held.train, held.decision) == ("holds", False, "held")
    assert "on 412 new clients its error (Brier) is 0.171, against 0.168 when deployed" in held.sentence
    assert "-0.010 to +0.016" in held.sentence
    assert "prove little" not in held.sentence
    assert "26 clients prove little" in verdict(comparison(n=26), new=26).sentence
    assert "1 new client " in verdict(comparison(n=1), new=1).sentence


def test_without_outcomes_nothing_speaks_against_it():
    assert verdict(None, losses=None, new=0).decision == "held"


def test_beyond_chance_it_no_longer_holds():
    drift = verdict(comparison(0.05, 0.01, 0.09, says=True))
    assert (drift.state, drift.train, drift.decision) == ("drift", True, None)


def test_a_champion_that_has_learnt_from_few_is_challenged_when_rows_have_doubled():
    few = {"trained": 378, "labelled": 756, "held": 126, "learning_rows": 400}
    why = policy.grown(**few)
    assert "378 clients only, and 756 are known" in why
    assert policy.grown(**few | {"labelled": 755}) is None
    assert policy.grown(**few | {"trained": 400, "labelled": 5000}) is None
    assert policy.grown(**few | {"held": 19}) is None  # nobody could judge the challenger
    said = verdict(comparison(), grown=why)
    assert (said.state, said.train, said.decision) == ("grown", True, None)
    assert verdict(comparison(says=True), grown=why).state == "drift"


def test_the_first_model_is_deployed_and_marked_unproven():
    first = decide(None, champion=None)
    assert (first.decision, first.champion, first.challenger, first.proven) == ("promoted", "0002", None, False)
    assert "unproven" in first.reason


def test_a_challenger_that_is_better_replaces_and_retires_the_champion():
    promoted = decide(comparison(0.03, 0.01, 0.05, says=True))
    assert (promoted.decision, promoted.champion, promoted.challenger) == ("promoted", "0002", None)
    assert (promoted.proven, promoted.ended) == (True, {"0001": "retired"})
    assert "0.030 lower" in promoted.reason


def test_a_challenger_that_is_not_shown_to_be_better_stays_on_trial_and_says_what_it_needs():
    trial = decide(comparison(0.01, -0.02, 0.04, n=100), trial_ticks=3)
    assert (trial.decision, trial.champion, trial.challenger) == ("on_trial", "0001", "0002")
    assert trial.evidence == {"trial_ticks": 3}
    assert "about 800 more such clients" in trial.reason  # the half width must shrink threefold
    assert "20 such clients (13 prove little)" in decide(comparison(n=13)).needs
    assert "better at all" in decide(comparison(-0.01, -0.02, 0.0)).needs
    assert "neither model has seen" in decide(None).needs


def test_after_many_ticks_a_challenger_is_given_up():
    kept = decide(comparison(), trial_ticks=40)
    assert (kept.decision, kept.champion, kept.challenger) == ("kept", "0001", None)
    assert kept.ended == {"0002": "given_up"}


@given(
    difference=st.floats(-1, 1),
    half=st.floats(0, 1),
    n=st.integers(1, 10**6),
    ticks=st.integers(1, 100),
    champion=st.sampled_from([None, "0001"]),
)
def test_every_decision_leaves_a_champion_and_one_challenger_at_most(difference, half, n, ticks, champion):
    low = difference - half
    said = decide(comparison(difference, low, difference + half, n, says=low > 0), champion=champion, trial_ticks=ticks)
    assert said.decision in policy.DECISIONS
    assert said.champion in ("0001", "0002")
    assert (said.champion == "0002") == (said.decision == "promoted")
    assert (said.challenger == "0002") == (said.decision == "on_trial")
    assert said.reason.endswith(".")


@pytest.mark.parametrize("state", ["first", "refused", "drift", "grown", "holds", "learning"])
def test_each_state_either_trains_or_decides(state):
    said = policy.Verdict(state, "")
    assert said.train != (said.decision is not None)
