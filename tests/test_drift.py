import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition.drift import changes, losses, mean_interval
from attrition.params import Portfolio

PORTFOLIO = Portfolio.model_validate(
    {
        "name": "small",
        "sha256": "",
        "title": "Small",
        "columns": {
            "logins": {"type": "number", "label": "logins a week"},
            "plan": {"type": "category", "nullable": True},
            "partner": {"type": "boolean"},
        },
        "target": {"column": "left"},
    }
)
shares = st.floats(0, 1)


def clients(n, rng):
    p = 1 / (1 + np.exp(-rng.normal(-1.3, 1.2, n)))
    return (rng.random(n) < p).astype(float), p


def frame(logins, plan, partner):
    return pd.DataFrame({"logins": logins, "plan": pd.Series(plan, dtype=object), "partner": partner}).astype(
        {"logins": float, "partner": float}
    )


def test_losses_are_brier():
    assert losses([1, 0], [0.9, 0.3]) == pytest.approx([0.01, 0.09])


@pytest.mark.parametrize("n", [25, 200])
def test_an_interval_misses_the_mean_as_rarely_as_it_says(n):
    rng = np.random.default_rng(4)
    truth = losses(*clients(400_000, rng)).mean()
    found = [mean_interval(losses(*clients(n, rng)), resamples=200, seed=seed) for seed in range(400)]
    missed = np.mean([not low <= truth <= high for _, low, high in found])
    assert missed <= 0.08  # of 5%, and what 400 trials stray


def test_an_interval_lies_around_the_mean_and_the_seed_decides():
    gains = np.random.default_rng(5).normal(0.02, 0.1, 90)
    middle, low, high = mean_interval(gains)
    assert low < middle < high
    assert middle == pytest.approx(gains.mean())
    assert mean_interval(gains, seed=1) == mean_interval(gains, seed=1) != mean_interval(gains, seed=2)
    assert mean_interval(gains, confidence=0.99)[1] < low
    assert mean_interval(np.full(30, 0.25)) == (0.25, 0.25, 0.25)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_an_interval_is_finite_and_holds_the_mean(values):
    middle, low, high = mean_interval(values, resamples=100)
    assert -1 <= low <= middle <= high <= 1


@pytest.mark.parametrize("values", [[], [1.5], [np.nan], [[0.1]]])
def test_bad_values_are_named(values):
    with pytest.raises(ValueError, match="at least one row, each within -1 and 1"):
        mean_interval(values)


def test_changes_come_worst_first_and_in_words():
    then = frame([10, 14] * 10, ["Basic"] * 10 + ["Team"] * 10, [1, 0] * 10)
    now = frame([9.5, 14.5] * 10, ["Basic"] * 17 + ["Team"] * 3, [1, 0, 0, 0] * 5)
    found = changes(now, then, PORTFOLIO)
    assert [entry["feature"] for entry in found] == ["plan", "partner", "logins"]
    assert [entry["sentence"] for entry in found] == [
        "plan Team fell from 50% to 15% (shares moved by 35%)",
        "partner yes fell from 50% to 25% (shares moved by 25%)",
        "logins a week stayed at 12",
    ]
    assert found[0]["effect"] == pytest.approx(0.35)
    assert found[0]["then"] == {"Basic": 0.5, "Team": 0.5}


def test_a_number_is_told_in_standard_deviations():
    then, now = frame([11, 13] * 10, ["A"] * 20, [0] * 20), frame([7, 9] * 10, ["A"] * 20, [0] * 20)
    first = changes(now, then, PORTFOLIO)[0]
    assert first["effect"] == pytest.approx(-4 / np.sqrt(5))
    assert first["sentence"] == "logins a week fell from 12 to 8 (−1.8 sd)"


def test_new_levels_and_missing_values_are_told():
    then = frame([1.0] * 10, ["A"] * 10, [1] * 10)
    now = frame([np.nan] * 10, ["A"] * 4 + ["B"] * 4 + [None] * 2, [1] * 10)
    told = {entry["feature"]: entry for entry in changes(now, then, PORTFOLIO)}
    assert told["logins"]["sentence"] == "logins a week: no values to compare; missing in 100%, was 0%"
    assert told["logins"]["size"] == 1
    assert told["plan"]["sentence"] == "plan B rose from 0% to 50% (shares moved by 50%); missing in 20%, was 0%"
    assert told["partner"]["sentence"] == "partner: the shares stayed"


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from(["A", "B", None]), st.booleans()), min_size=1))
def test_a_table_has_not_changed_from_itself(rows):
    table = frame(*map(list, zip(*rows, strict=True)))
    assert all(entry["size"] == 0 for entry in changes(table, table, PORTFOLIO))


def test_nothing_to_compare_is_an_error():
    table = frame([1.0], ["A"], [1])
    with pytest.raises(ValueError, match="0 new rows, 1 in the reference"):
        changes(table.head(0), table, PORTFOLIO)
