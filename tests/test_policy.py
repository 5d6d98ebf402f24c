"""The state machine and its sentences."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition.policy import (
    DECISIONS,
    NO_PACE,
    Standing,
    Trial,
    Verdict,
    assumptions,
    champion_verdict,
    decide,
    grown,
    learning,
    promises,
    proof,
)

HOLDS = Verdict("holds", "It holds.")


def standing(**changes):
    given = {"champion": "0001", "n": 412, "loss": 0.171, "promised": 0.168, "share": 0.04}
    return Standing(**given | changes)


def trial(**changes):
    given = {"n": 412, "gain": 0.012, "low": -0.002, "high": 0.026, "log10": 1.0, "needed": 2.2}
    return Trial(**given | {"proven": False, "lost": False, "ticks": 4} | changes)


def decided(found=None, **changes):
    given = {"verdict": HOLDS, "champion": "0001", "challenger": "0002"}
    return decide(found or trial(), **given | {"give_up": (40, 4000), "ticks_a_year": 365} | changes)


def test_a_champion_that_holds_is_said_with_its_error_and_the_evidence():
    verdict = champion_verdict(standing())
    assert verdict.sentence == (
        "Model 0001 holds: on 412 new clients its error (Brier) is 0.171, against 0.168 when deployed;"
        " evidence at 4% of what a retrain needs."
    )
    assert (verdict.state, verdict.train, verdict.decision) == ("holds", False, "held")
    assert "less than 1%" in champion_verdict(standing(share=0.004)).sentence


@pytest.mark.parametrize(
    ("changes", "state", "trains", "decision"),
    [
        ({"champion": None, "too_few": "8 clients"}, "learning", False, "learning"),
        ({"champion": None}, "first", True, None),
        ({"refused": "another scikit-learn"}, "refused", True, None),
        ({"refused": "broken", "alarm": True}, "refused", True, None),
        ({"refused": "the horizon is another", "too_few": "8 clients"}, "unreplaced", False, "held"),
        ({"alarm": True, "change": 7, "since": "the clients of 2026-03-02"}, "drift", True, None),
        ({"alarm": True, "harmed": True}, "drift", True, None),
        ({"grown": "Twice as many."}, "grown", True, None),
        ({"grown": "Twice as many.", "harmed": True}, "grown", True, None),
        ({"learning": "20 clients prove little", "harmed": True}, "early", False, "held"),
        ({"harmed": True}, "harmed", False, "harmed"),
        ({"n": 0, "loss": None}, "holds", False, "held"),
    ],
)
def test_each_state_follows_from_what_is_known(changes, state, trains, decision):
    verdict = champion_verdict(standing(**changes))
    assert (verdict.state, verdict.train, verdict.decision) == (state, trains, decision)
    assert verdict.trainable is ("too_few" not in changes)
    for said in changes.values():
        assert not isinstance(said, str) or said.rstrip(".") in verdict.sentence


def test_a_challenger_that_knows_nothing_of_the_change_is_replaced_at_once():
    assert champion_verdict(standing(alarm=True, change=7, stale=True)).replaces
    assert not champion_verdict(standing(alarm=True, change=7)).replaces
    assert not champion_verdict(standing(grown="Twice as many.")).replaces


def test_clients_that_do_not_count_are_named_with_the_reason():
    said = champion_verdict(standing(n=0, loss=None, left_out={"came again": 26})).sentence
    assert "no outcome of a client that counts came (26 not counted: came again)" in said
    assert "evidence" not in said


def test_nothing_is_claimed_before_there_are_enough_clients_of_each_outcome():
    few = {"trained": 400, "learning_rows": 400, "reference": (200, 20), "least": (200, 20)}
    assert learning(**few) is None
    assert "learnt from 399 clients, and a claim needs 400" in learning(**few | {"trained": 399})
    for reference in ((199, 20), (200, 19), (200, 181)):
        why = learning(**few | {"reference": reference})
        assert "prove little" in why
        assert "a claim needs 200, 20 of each" in why
        assert "learnt from" not in why


def test_a_champion_is_challenged_when_clients_have_doubled():
    few = {"known": 378, "newest": 378, "labelled": 756}
    assert "378 clients were known when it was trained, and 756 are by now" in grown(**few)
    assert grown(**few | {"labelled": 755}) is None
    assert grown(**few | {"newest": 700}) is None  # that one was given up: not again before they double once more


def test_the_first_model_serves_unproven():
    said = decided(trial(n=0, gain=None), champion=None)
    assert (said.decision, said.champion, said.challenger, said.proven) == ("promoted", "0002", None, False)
    assert "unproven" in said.reason


def test_a_proven_challenger_replaces_the_champion():
    said = decided(trial(log10=2.3, proven=True))
    assert (said.decision, said.champion, said.challenger, said.proven) == ("promoted", "0002", None, True)
    assert said.ended == {"0001": "retired"}
    assert "is 1.3 times what a promotion needs" in said.reason
    assert said.reason.endswith("It holds.")


def test_until_then_it_is_on_trial_and_says_how_much_is_missing_in_clients_and_days():
    said = decided()
    assert (said.decision, said.champion, said.challenger, said.ended) == ("on_trial", "0001", "0002", {})
    assert "0.012 lower (gain -0.002 to +0.026 at 95%)" in said.reason
    assert "about 495 more such clients at this pace, 5 days" in said.needs  # 412 clients made 1 of 2.2; 103 a tick
    assert "given up after 40 ticks (40 days) and 4,000 clients" in said.needs
    assert "5 days" not in decided(ticks_a_year=52).needs
    weekly = decided(ticks_a_year=52).needs
    assert "34 days" in weekly
    assert "281 days" in weekly


def test_without_a_pace_it_needs_to_be_better_at_all():
    for nothing in (trial(n=0, gain=None, log10=0.0), trial(gain=-0.01, log10=-0.4)):
        said = decided(nothing)
        assert said.decision == "on_trial"
        assert "to be better on clients that neither has seen" in said.needs
    assert "a clearer gain than so far" in decided(trial(log10=0.1)).needs
    assert "0.010 higher" in decided(trial(gain=-0.01, log10=-0.4)).reason


@pytest.mark.parametrize(
    ("found", "changes", "why"),
    [
        ({"lost": True, "ticks": 1}, {}, "it is not better"),
        ({"log10": -0.1}, {"verdict": Verdict("drift", "Drift.")}, "clients have gone on changing"),
        ({"log10": 0.2}, {"verdict": Verdict("drift", "Drift.")}, "clients have gone on changing"),
        ({"log10": 0.2}, {"verdict": Verdict("grown", "Grown.")}, "twice as many clients"),
        ({"n": 4000, "ticks": 40}, {}, "40 ticks and 4,000 clients did not show"),
    ],
)
def test_a_challenger_without_prospects_is_given_up(found, changes, why):
    said = decided(trial(**found), **changes)
    assert (said.decision, said.champion, said.challenger) == ("kept", "0001", None)
    assert said.ended == {"0002": "given_up"}
    assert why in said.reason


def test_it_is_not_given_up_for_the_alarm_that_it_was_trained_for_nor_on_its_way_nor_before_both_limits():
    assert decided(trial(n=0, gain=None, ticks=0), verdict=Verdict("drift", "Drift.")).decision == "on_trial"
    assert decided(verdict=Verdict("drift", "Drift.")).decision == "on_trial"  # 412 made 1 of 2.2
    assert decided(trial(n=3999, ticks=400)).decision == "on_trial"
    assert decided(trial(n=90_000, ticks=39)).decision == "on_trial"


@given(
    n=st.integers(0, 10**6),
    gain=st.floats(-1, 1),
    log10=st.floats(-300, 300),
    needed=st.floats(0.1, 12),
    lost=st.booleans(),
    state=st.sampled_from(["holds", "drift", "grown", "early", "harmed"]),
    ticks=st.integers(0, 1000),
    champion=st.sampled_from(["0001", None]),
)
def test_a_decision_is_one_of_the_words_and_leaves_one_champion(n, gain, log10, needed, lost, state, ticks, champion):
    found = trial(
        n=n, gain=gain if n else None, log10=log10, needed=needed, proven=log10 >= needed, lost=lost, ticks=ticks
    )
    said = decided(found, verdict=Verdict(state, "So it is."), champion=champion)
    assert said.decision in DECISIONS
    assert said.champion in ("0001", "0002")
    assert (said.challenger == "0002") == (said.decision == "on_trial")
    assert (said.champion == "0002") == (said.decision == "promoted")
    assert "nan" not in said.reason
    assert json.loads(json.dumps(said.to_dict())) == said.to_dict()


def test_what_is_promised_is_said_in_days_at_the_portfolios_rate():
    said = " ".join(promises(alpha=0.2 / 52, tolerance=0.3, ticks_a_year=52, give_up=(40, 4000)))
    assert "once in 260 ticks at most (5 years)" in said
    assert "within 0.3 log-odds" in said
    assert "40 ticks (281 days)" in said


def test_what_the_yaml_does_not_say_is_an_assumption():
    assert "nobody acted on the scores" in assumptions(treated=False, horizon=True, named=True)[0]
    assert assumptions(treated=True, horizon=True, named=True) == []
    assert len(assumptions(treated=False, horizon=False, named=False)) == 3


@pytest.mark.parametrize(
    ("log10", "said"),
    [
        (0.0, "at 1.0 of"),
        (0.99, "at 9.8 of"),
        (1.0, "at 10 of"),
        (1.02, "at 10 of"),
        (6.0, "at 1,000,000 of"),
        (6.01, "at over a million of"),
    ],
)
def test_the_proof_is_said_as_odds(log10, said):
    assert said in proof(trial(log10=log10, needed=7.5), "0002")
    assert proof(trial(log10=log10, needed=2.3), "0002").endswith(" of the 200 that a promotion needs")


def test_without_clients_there_is_no_proof_and_no_gain_is_no_loss():
    assert "no client that counts" in proof(trial(n=0, gain=None), "0002")
    assert "0.000 lower" in proof(trial(gain=0.0), "0002")


@pytest.mark.parametrize(
    ("n", "log10", "more"),
    [(0, 1.0, None), (1, 1.0, 2), (10, 1e-7, None), (10, NO_PACE, 21_999_991), (412, 1.0, 495), (412, 2.2, 1)],
)
def test_the_clients_that_are_missing_follow_from_the_pace(n, log10, more):
    found = trial(n=n, log10=log10)
    assert found.clients_needed == more
    assert [found.on_pace(n + (more or 0) + extra) for extra in (-1, 0)] == [False, more is not None]


@pytest.mark.parametrize(
    ("share", "said"), [(None, "less than 1%"), (0.0099, "less than 1%"), (0.01, "at 1%"), (1.0, "at 100%")]
)
def test_the_evidence_is_said_in_percent(share, said):
    assert said in champion_verdict(standing(share=share)).sentence


@pytest.mark.parametrize(
    ("ticks", "rate", "said"),
    [
        (1, 365, "1 ticks (a day)"),
        (3, 730, "3 ticks (2 days)"),
        (2, 365, "2 ticks (2 days)"),
        (729, 365, "729 ticks (729 days)"),
        (730, 365, "730 ticks (2 years)"),
    ],
)
def test_ticks_are_said_in_days_or_years(ticks, rate, said):
    assert said in promises(alpha=0.01, tolerance=0.3, ticks_a_year=rate, give_up=(ticks, 4000))[-1]


def test_one_client_is_one_and_one_tick_is_a_pace():
    assert "on 1 new client its" in champion_verdict(standing(n=1)).sentence
    assert "on 2 new clients its" in champion_verdict(standing(n=2)).sentence
    assert "about 495 more such clients at this pace, a day;" in decided(trial(ticks=1)).needs


def test_nothing_is_known_of_a_champion_at_first():
    found = Standing("0001")
    assert (found.n, found.change, found.alarm, found.stale, found.harmed) == (0, 0, False, False, False)


def test_a_decision_is_recorded_field_by_field():
    assert decided(trial(proven=True)).to_dict() | {"reason": ""} == {
        **{"decision": "promoted", "reason": "", "champion": "0002", "challenger": None, "proven": True},
        **{"needs": "nothing", "ended": {"0001": "retired"}},
    }
