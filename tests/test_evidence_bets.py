"""The bets on losses: reference bound, harm, promotion; and the fits under the experts."""

from fractions import Fraction
from itertools import product
from math import comb, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition.drift import Promotion, betting_upper_bound, expit, lifetime_level, logit
from attrition.drift.bets import STAKES, harm_stakes, log_mean_exp, log_wealth
from attrition.drift.logistic import fit, log_likelihood


def e_of(values, stakes):
    return float(np.exp(log_mean_exp(log_wealth(np.asarray(values, dtype=float), stakes))))


@given(m0=st.floats(0.01, 1), low=st.floats(0, 1), high=st.floats(0, 1))
def test_harm_expects_nothing_at_the_reference(m0, low, high):
    """A loss of two values whose mean is m0 exactly."""
    a, b = m0 * low, m0 + (1 - m0) * high
    chance = (m0 - a) / (b - a) if b > a else 0.0
    stakes = harm_stakes(m0)
    mean = (1 - chance) * np.exp(log_wealth(np.array([a - m0]), stakes))
    mean += chance * np.exp(log_wealth(np.array([b - m0]), stakes))
    assert mean == pytest.approx(np.ones(len(STAKES)), abs=1e-12)


@pytest.mark.parametrize("gain", [-0.01, 0.0, 0.002])
def test_promotion_expects_nothing_up_to_epsilon(gain):
    """All sequences of three gains from {−1, 0, 1}, with mean ``gain`` at most ε: Σ P·E is at most 1."""
    epsilon, chances = 0.002, {-1.0: 0.3, 1.0: 0.3 + gain, 0.0: 0.4 - gain}
    mean = 0.0
    for three in product(chances, repeat=3):
        e = 10 ** Promotion(1, epsilon).update(three).log10
        mean += float(np.prod([chances[d] for d in three])) * e
    assert mean <= 1 + 1e-12
    if gain == epsilon:
        assert mean == pytest.approx(1, abs=1e-12)


def test_promotion_is_bounded_by_the_average_gain_under_any_drift():
    """Means that drift around ε with ε as their average: no fixed stake expects more than 1."""
    epsilon, means = 0.01, (0.2, -0.25, 0.08, 0.01)
    assert np.mean(means) == pytest.approx(epsilon)
    for stake in np.array(STAKES) / (1 + epsilon):
        assert np.prod([1 + stake * (mean - epsilon) for mean in means]) <= 1 + 1e-12


def test_promotion_takes_rows_in_any_order_and_pieces():
    gains = np.random.default_rng(1).uniform(-0.3, 0.5, 400)
    whole = Promotion(2, 0.001).update(gains)
    pieces = Promotion(2, 0.001).update(gains[300:]).update([]).update(gains[:300][::-1])
    assert whole.rows == pieces.rows == 400
    assert whole.logs == pytest.approx(pieces.logs, abs=1e-10)
    assert whole.proven
    assert not Promotion(2, 0.001).proven
    assert Promotion(1, 0.001).log10 == 0


@pytest.mark.parametrize("wrong", [[1.5], [np.nan], [[0.1]], [-np.inf]])
def test_gains_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="gains must lie"):
        Promotion(1, 0.001).update(wrong)


def test_levels_of_all_models_add_up_to_the_lifetime():
    assert lifetime_level(1) == pytest.approx(0.01 * 6 / pi**2)
    assert sum(lifetime_level(k) for k in range(1, 20_000)) == pytest.approx(0.01, rel=1e-4)
    with pytest.raises(ValueError, match="counted from 1"):
        lifetime_level(0)


@pytest.mark.parametrize("mean", [Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)])
def test_the_upper_bound_is_missed_as_rarely_as_it_says(mean):
    """Exact: every count of ones among 30 losses of 0 or 1."""
    n, missed = 30, 0.0
    for ones in range(n + 1):
        if betting_upper_bound([1.0] * ones + [0.0] * (n - ones), 0.05) < mean:
            missed += float(comb(n, ones) * mean**ones * (1 - mean) ** (n - ones))
    assert missed <= 0.05


def test_the_upper_bound_tightens_and_knows_its_limits():
    losses = np.random.default_rng(2).beta(1, 5, 4000)
    few, many = (betting_upper_bound(losses[:n], 0.006) for n in (100, 4000))
    assert losses.mean() < many < few < 0.4
    assert many - losses.mean() < 0.02
    assert betting_upper_bound(losses[:100][::-1], 0.006) == pytest.approx(few, abs=1e-9)
    assert betting_upper_bound([], 0.05) == betting_upper_bound([0.2], 0.05) == 1
    assert betting_upper_bound([1.0] * 50, 0.05) == 1
    for wrong in ([1.1], [np.nan], [[0.5]]):
        with pytest.raises(ValueError, match="losses must lie"):
            betting_upper_bound(wrong, 0.05)
    with pytest.raises(ValueError, match="level lies"):
        betting_upper_bound([0.5], 0.0)


def test_a_bet_that_loses_more_than_everything_is_an_error():
    with pytest.raises(FloatingPointError, match="lost more"):
        log_wealth(np.array([-2.0]), np.array([0.9]))
    with pytest.raises(FloatingPointError, match="not finite"):
        log_wealth(np.array([np.nan]), np.array([0.5]))


def test_wealth_beyond_numbers_has_a_log():
    assert log_mean_exp(np.array([2000.0, 2000.0])) == pytest.approx(2000)
    assert e_of([0.0], np.array(STAKES)) == 1


@given(st.floats(-30, 30))
def test_the_log_likelihoods_of_both_outcomes_are_chances(z):
    logs = log_likelihood(np.array([0.0, 1.0]), np.array([z, z]))
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-12)
    assert np.exp(logs[1]) == pytest.approx(float(expit(z)), abs=1e-12)


def test_logit_undoes_expit_and_stays_finite():
    assert logit(expit([-3.0, 0.0, 2.0])) == pytest.approx([-3, 0, 2])
    assert np.isfinite(logit([0.0, 1.0])).all()
    for wrong in (1.1, -0.1, np.nan):
        with pytest.raises(ValueError, match="probabilities"):
            logit(wrong)


def data(n=400):
    rng = np.random.default_rng(7)
    design = np.vstack([np.ones(n), rng.standard_normal((2, n))])
    offset = rng.normal(0, 1, n)
    return design, (rng.random(n) < expit(offset + np.array([0.4, -0.8, 0.2]) @ design)).astype(float), offset


def test_a_fit_is_where_the_penalised_slope_is_zero():
    design, y, offset = data()
    ridge = np.array([1.0, 3.0, 9.0])
    found, _ = fit(design, y, offset, ridge, np.zeros(3), steps=50)
    assert design @ (y - expit(offset + found @ design)) - ridge * found == pytest.approx(np.zeros(3), abs=1e-8)


@pytest.mark.parametrize("start", [0.0, 6.0, -30.0])
def test_each_damped_step_lowers_the_penalised_loss(start):
    design, y, offset = data()
    found, losses = np.full(3, start), []
    for _ in range(60):
        losses.append(0.5 * found @ found - log_likelihood(y, offset + found @ design).sum())
        found, _ = fit(design, y, offset, 1.0, found)
    assert (np.diff(losses) <= 1e-9).all()
    assert losses[-1] < losses[0]


def test_a_fit_of_nothing_is_its_start_and_one_class_is_finite():
    found, variances = fit(np.zeros((2, 0)), np.zeros(0), np.zeros(0), 4.0, np.array([0.5, 1]))
    assert (found.tolist(), variances.tolist()) == ([0.5, 1], [0.25, 0.25])
    found, _ = fit(np.ones((1, 5)), np.ones(5), np.zeros(5), 1.0, np.zeros(1), steps=50)
    assert 0 < found[0] < 5
    with pytest.raises(ValueError, match="ridge above 0"):
        fit(np.ones((1, 5)), np.ones(5), np.zeros(5), 0.0, np.zeros(1))
    with pytest.raises(FloatingPointError, match="not finite"), np.errstate(all="ignore"):
        fit(np.full((1, 5), np.nan), np.ones(5), np.zeros(5), 1.0, np.zeros(1))
