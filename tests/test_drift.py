import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition.drift import Comparison, better, changes, losses, worse
from attrition.metrics import LEAST
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


def drawn_losses(n, rng):
    return losses(*clients(n, rng))


def frame(logins, plan, partner):
    return pd.DataFrame({"logins": logins, "plan": pd.Series(plan, dtype=object), "partner": partner}).astype(
        {"logins": float, "partner": float}
    )


def test_losses_are_brier():
    assert losses([1, 0], [0.9, 0.3]) == pytest.approx([0.01, 0.09])


@pytest.mark.parametrize("n", [25, 200])
def test_without_a_difference_worse_speaks_as_rarely_as_it_says(n):
    rng = np.random.default_rng(4)
    said = [worse(drawn_losses(n, rng), drawn_losses(200, rng), confidence=0.95, resamples=200) for _ in range(400)]
    assert np.mean([found.says for found in said]) <= 0.08


def test_worse_sees_a_real_difference():
    rng = np.random.default_rng(5)
    y, p = clients(400, rng)
    found = worse(losses(1 - y, p), losses(y, p))
    assert found.says
    assert 0 < found.low < found.difference < found.high
    assert found.difference == pytest.approx(losses(1 - y, p).mean() - losses(y, p).mean())
    assert not worse(losses(y, p), losses(1 - y, p)).says


@pytest.mark.parametrize(("n_new", "n_reference"), [(LEAST - 1, 500), (500, LEAST - 1)])
def test_few_rows_never_speak(n_new, n_reference):
    found = worse(np.full(n_new, 0.9), np.full(n_reference, 0.01))
    assert found.low > 0
    assert not found.says
    assert worse(np.full(LEAST, 0.9), np.full(LEAST, 0.01)).says


@given(st.lists(shares, min_size=1, max_size=30), st.lists(shares, min_size=1, max_size=30))
def test_an_interval_is_finite_and_holds_the_difference(new, reference):
    found = worse(new, reference, resamples=100)
    assert -1 <= found.low <= found.difference <= found.high <= 1


def test_better_is_paired():
    rng = np.random.default_rng(6)
    y, p = clients(300, rng)
    off = np.clip(p + 0.15, 0, 1)
    found = better(y, off, p)
    assert found.says
    assert (found.n_new, found.n_reference) == (300, 300)
    assert not worse(losses(y, off), losses(y, p)).says  # unpaired, the rows' own noise hides it
    assert not better(y, p, off).says
    assert better(y, p, p) == Comparison(0, 0, 0, 300, 300, says=False)


def test_a_worse_challenger_is_rarely_called_better():
    rng = np.random.default_rng(7)
    said = 0
    for seed in range(400):
        y, p = clients(50, rng)
        said += better(y, p, np.clip(p + rng.normal(0, 0.05, 50), 0, 1), resamples=200, seed=seed).says
    assert said / 400 <= 0.02


def test_the_seed_decides():
    rng = np.random.default_rng(8)
    new, reference = drawn_losses(60, rng), drawn_losses(90, rng)
    assert worse(new, reference, seed=1) == worse(new, reference, seed=1)
    assert worse(new, reference, seed=1) != worse(new, reference, seed=2)


@pytest.mark.parametrize(("new", "said"), [([], "new losses need"), ([1.5], "between 0 and 1"), ([np.nan], "missing")])
def test_bad_losses_are_named(new, said):
    with pytest.raises(ValueError, match=said):
        worse(new, [0.1])


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
