"""What a call is worth, by hand on few clients and by the law on many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from attrition import look
from attrition.params import Costs
from attrition.value import POINTS, expected_gain, plan, realised

COSTS = Costs(call=5.0, client=100.0, kept=0.5, currency="EUR")  # a call pays above a risk of .1
risks = st.lists(st.floats(0, 1), max_size=400)


def clients(n, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, n)
    return (rng.random(n) < p).astype(float), p


def test_a_call_brings_what_the_client_is_worth_by_the_share_kept_less_its_cost():
    assert expected_gain([0.0, 0.1, 0.5, 1.0], call=5, client=100, kept=0.5).tolist() == [-5, 0, 20, 45]
    assert expected_gain(COSTS.threshold, 5, 100, 0.5) == pytest.approx(0)


def test_the_plan_calls_all_whose_call_pays():
    found = plan([0.02, 0.9, 0.1, 0.3], COSTS)
    assert found["clients"] == 4
    assert found["threshold"] == pytest.approx(0.1)
    assert found["called"] == 2
    assert found["gain"] == pytest.approx(40 + 10)
    assert found["everybody"] == pytest.approx(40 + 10 + 0 - 4)
    assert [each["called"] for each in found["points"]] == [0, 1, 2, 3, 4]
    assert [each["gain"] for each in found["points"]] == pytest.approx([0, 40, 50, 50, 46])


@given(risks)
def test_no_other_number_of_calls_is_expected_to_bring_more(p):
    found = plan(p, COSTS)
    totals = np.cumsum([0.0, *sorted(expected_gain(p, 5, 100, 0.5), reverse=True)])
    assert found["gain"] == pytest.approx(totals.max())
    assert found["called"] == sum(expected_gain(p, 5, 100, 0.5) > 0)
    shown = [each["called"] for each in found["points"]]
    assert len(shown) <= POINTS
    assert shown == sorted({*shown, 0, found["called"], len(p)})
    assert [each["gain"] for each in found["points"]] == pytest.approx(totals[shown])


def test_of_many_clients_the_drawing_keeps_the_best_and_both_ends():
    found = plan(clients(10_000)[1], COSTS)
    shown = [each["called"] for each in found["points"]]
    assert len(shown) <= POINTS
    assert {0, found["called"], 10_000} <= set(shown)


def test_what_is_no_probability_is_refused():
    for wrong in ([0.5, 1.5], [np.nan]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            plan(wrong, COSTS)


def test_what_calling_would_have_brought_is_counted_by_the_outcomes():
    found = realised([1, 0, 1, 1, 0], [0.9, 0.8, 0.5, 0.05, 0.02], COSTS)
    assert (found["called"], found["left"]) == (3, 2)
    assert found["gain"]["value"] == pytest.approx(2 * 50 - 3 * 5)
    assert found["expected"] == pytest.approx(2.2 * 50 - 3 * 5)
    assert -15 <= found["gain"]["low"] < found["gain"]["value"] < found["gain"]["high"] <= 3 * 50 - 15


def test_nobody_called_brings_nothing():
    found = realised([1, 0], [0.05, 0.1], COSTS)
    assert found == {"called": 0, "left": 0, "gain": {"value": 0.0, "low": 0.0, "high": 0.0}, "expected": 0.0}


def test_the_interval_of_what_calls_bring_holds_the_law():
    held = []
    for seed in range(400):
        y, p = clients(80, seed)
        found = realised(y, p, COSTS)
        held.append(found["gain"]["low"] <= found["expected"] <= found["gain"]["high"])  # the risks are the law here
    assert 0.92 <= np.mean(held) <= 0.99


def test_the_picture_marks_the_best():
    found = plan(clients(500)[1], COSTS)
    axes = Figure().subplots()
    look.worth(axes, found, COSTS.currency)
    assert axes.lines[1].get_xydata().tolist() == [[each["called"], each["gain"]] for each in found["points"]]
    assert axes.lines[2].get_xydata().tolist() == [[found["called"], found["gain"]]]
    assert axes.get_ylabel() == "expected gain EUR"
