"""The theory of the retrain decision: what each bet may expect, summed exactly, and the detector's bookkeeping."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrition.drift import Config, State, expit, order, start, update
from attrition.drift import detector as inner
from attrition.drift.detector import moved, recall
from attrition.drift.experts import REACH, SHADOWS, log_factors, refit, thrifty
from attrition.drift.order import micro_batches
from attrition.drift.state import ROWS
from benchmarks.streams import open_stream

CONFIG = Config()
odds = st.floats(-6, 6)


def rows(n, seed=0, width=3):
    rng = np.random.default_rng(seed)
    X, l = rng.standard_normal((n, width)), rng.normal(-1, 1, n)  # noqa: E741
    return X, l, (rng.random(n) < expit(l)).astype(float)


def begun(n=300, **config):
    return start(*rows(n), Config(**config))


def same(a, b):
    rows = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ROWS)
    return rows and json.dumps(a.to_dict()) == json.dumps(b.to_dict())


def mean_factor(l0, moved, true, delta):
    """Σ over y of P(y)·e(y)."""
    factors = [
        float(np.exp(log_factors(np.array([[moved]]), np.array([l0]), np.array([y]), delta)[0, 0])) for y in (0.0, 1.0)
    ]
    chance = float(expit(true))
    return (1 - chance) * factors[0] + chance * factors[1]


@given(l0=odds, moved=st.floats(-REACH, REACH), delta=st.floats(0.01, 1), inside=st.floats(-1, 1))
def test_no_expert_expects_to_win_within_delta(l0, moved, delta, inside):
    assert mean_factor(l0, moved, l0 + inside * delta, delta) <= 1 + 1e-12
    nearest = l0 + np.clip(moved, -delta, delta)
    assert mean_factor(l0, moved, nearest, delta) == pytest.approx(1, abs=1e-12)


def test_an_expert_expects_to_win_beyond_delta():
    assert mean_factor(-1.0, 0.8, -0.2, 0.3) > 1.01


@given(st.lists(st.floats(-5, 5), min_size=1), st.floats(0, 2))
def test_thrift_drops_what_noise_explains_and_never_turns_a_coefficient(coefficients, variance):
    found = np.array(coefficients)
    kept = thrifty(found, np.full(found.shape, variance))
    assert (kept[np.abs(found) <= np.sqrt(variance) - 1e-12] == 0).all()
    assert (kept * found >= 0).all()
    assert (np.abs(found) - np.abs(kept) <= np.sqrt(variance) + 1e-12).all()


def test_shadows_put_a_change_where_it_happened():
    """The champion's odds are the feature's: of two names for one thing the feature is blamed, by full shadows."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal(3000)
    design = np.vstack([np.ones(3000), x, x, rng.standard_normal(3000)])
    y = (rng.random(3000) < expit(-0.8 * x)).astype(float)
    found, spread = np.zeros((len(SHADOWS), 4)), np.ones((len(SHADOWS), 4))
    for _ in range(6):
        found, spread = refit(found, spread, design, np.zeros(3000), y, 0)
    for shadow, kept in zip(SHADOWS, thrifty(found, spread), strict=True):
        if shadow.terms is None:
            assert -1.2 < kept[2] < -0.4
            assert abs(kept[1]) < 0.1
    assert (found[-2, 1:] == 0).all()  # the intercept's shadow has nothing else


def test_regret_expects_nothing_at_its_boundary():
    """Every outcome of two rows, with P(y = 1) such that the shadow's expected gain is exactly ε."""
    state = begun()
    p, q = 0.3, 0.6
    coefficients = state.coefficients.copy()
    l0 = np.zeros(1)
    coefficients[inner.REGRET_SHADOWS[0], 0] = np.log(q / (1 - q))
    state = replace(state, coefficients=coefficients, variances=np.zeros_like(coefficients))
    design = np.zeros((len(state.offset), 1))
    design[0] = 1
    gain = {y: (p - y) ** 2 - (q - y) ** 2 for y in (0.0, 1.0)}
    chance = (state.epsilon - gain[0.0]) / (gain[1.0] - gain[0.0])
    mean = 0.0
    for y, weight in ((0.0, 1 - chance), (1.0, chance)):
        bets = inner._bets(state, design, l0, np.array([p]), np.array([y]), 0.3)
        mean = mean + weight * np.exp(bets[-len(inner.REGRET_STAKES) * 2 :][: len(inner.REGRET_STAKES)])
    assert mean == pytest.approx(np.ones(len(inner.REGRET_STAKES)), abs=1e-12)


@pytest.mark.parametrize("share", [1.0, 0.25, 0.3])
def test_m_is_its_sum_over_restarts(share):
    """M after k micro-batches is Σ_i w_i ∏_{j ≥ i} L_j, whose mean is Σ w at most; C is the largest of the products."""
    state, rng = begun(), np.random.default_rng(3)
    logs = rng.normal(0, 0.5, (7, state.m.size))
    for k, log in enumerate(logs):
        state = replace(inner._play(state, log, np.zeros(state.harm_m.size), share), rows=10 * (k + 1))
    tails = np.exp(np.cumsum(logs[::-1], axis=0)[::-1])
    assert state.m == pytest.approx(share * tails.sum(axis=0), rel=1e-12)
    assert state.c == pytest.approx(tails.max(axis=0), rel=1e-12)
    assert (state.since_row == 10 * tails.argmax(axis=0)).all()
    assert state.harm_m == pytest.approx(np.full(state.harm_m.size, 7 * share), rel=1e-12)


def test_shares_and_weights_sum_to_one():
    assert inner.WEIGHTS.sum() == pytest.approx(1, abs=1e-12)
    for n in (1, 26, 50, 75, 76, 1000, 5000):
        batches = micro_batches(n)
        assert sum((high - low) / n for low, high in batches) == pytest.approx(1, abs=1e-12)
        assert (batches[0][0], batches[-1][1]) == (0, n)
        assert all(high > low for low, high in batches)
    assert micro_batches(0) == []


def test_with_bets_that_win_and_lose_nothing_m_is_the_number_of_ticks():
    """A champion that no shadow leaves by more than δ: all e are 1."""
    state = begun()
    X, l, _ = rows(200, 9)  # noqa: E741
    for _ in range(3):
        state, _ = update(state, X[:26], l[:26], (np.arange(26) % 4 == 0).astype(float), replace(CONFIG, delta=4))
    assert state.m[: -2 * len(inner.REGRET_STAKES)] == pytest.approx(3, abs=1e-12)


def loaded(state):
    return State.from_dict(json.loads(json.dumps(state.to_dict())))


@pytest.mark.parametrize("width", [1, 3, 9])
def test_a_saved_state_with_its_rows_back_goes_on_bit_for_bit(width):
    """The rows come back from the store all at once, and more of them than are needed."""
    kept = saved = start(*rows(300, width=width), CONFIG)
    seen = [np.zeros((0, width)), np.zeros(0), np.zeros(0)]
    for seed in range(8):
        ticks = rows(1100 if seed in (3, 4) else 37, seed + 20, width)
        kept, said = update(kept, *ticks, CONFIG)
        saved, again = update(recall(loaded(saved), *seen), *ticks, CONFIG)
        seen = [np.concatenate([past, new]) for past, new in zip(seen, ticks, strict=True)]
        assert said == again
        assert same(kept, saved)


def test_what_is_saved_is_small():
    state, _ = update(start(*rows(300, width=20), CONFIG), *rows(3000, 1, 20), CONFIG)
    assert len(json.dumps(state.to_dict())) < 10_000


def test_a_loaded_state_asks_for_its_rows():
    tick = rows(100, 1)
    state, _ = update(begun(), *tick, CONFIG)
    with pytest.raises(ValueError, match="recall first"):
        update(loaded(state), *rows(30, 2), CONFIG)
    with pytest.raises(ValueError, match="last 100 rows that it has judged; found 99"):
        recall(loaded(state), *(part[1:] for part in tick))
    assert same(recall(loaded(begun()), *tick), begun())


def test_a_state_of_other_bets_is_refused():
    with pytest.raises(ValueError, match="start it anew"):
        update(replace(begun(), m=np.zeros(3)), *rows(30), CONFIG)


def test_an_empty_start_is_saved_and_loaded():
    state = start(np.zeros((0, 2)), np.zeros(0), np.zeros(0), CONFIG)
    assert state.reference == 1
    assert same(loaded(state), state)


def test_the_best_bet_is_named_and_what_moved_is_shown():
    X, l, _ = rows(2000, 6)  # noqa: E741
    y = (np.random.default_rng(8).random(2000) < expit(l - 2 * X[:, 1])).astype(float)
    state, said = update(begun(1500), X, l, y, CONFIG)
    assert said.alarm
    assert " rows × 1." in said.best
    assert moved(state) == pytest.approx([0, 0, 0, -2, 0], abs=0.6)
    assert len(inner.NAMES) == len(inner.WEIGHTS)
    winner = replace(begun(), m=np.eye(len(inner.NAMES))[inner.NAMES.index("shift +0.7")])
    assert inner._look(winner, 0, CONFIG).best == "shift +0.7"


def test_the_state_is_bounded():
    state = begun()
    for seed in range(4):
        state, _ = update(state, *rows(1500, seed), CONFIG)
    assert state.y.size == 3000
    assert state.rows == 6000


@given(st.permutations(range(60)))
@settings(max_examples=20, deadline=None)
def test_with_order_the_lines_of_a_file_mean_nothing(lines):
    ids = np.array([f"client {line}" for line in range(60)])
    X, l, y = rows(60, 4)  # noqa: E741
    first, again = order(ids), np.array(lines)[order(ids[list(lines)])]
    assert (first == again).all()
    assert same(update(begun(), X[first], l[first], y[first], CONFIG)[0],
                update(begun(), X[again], l[again], y[again], CONFIG)[0])  # fmt: skip


def test_a_client_twice_in_a_tick_has_no_order():
    with pytest.raises(ValueError, match="same key"):
        order([7, "8", 7])
    assert order([]).size == 0


def test_a_tick_without_rows_only_passes():
    state, said = update(begun(), np.zeros((0, 3)), [], [], CONFIG)
    assert (said.n, said.m, said.log10, said.alarm) == (0, 0, None, False)
    assert (said.change_row, said.change_ticks, said.best) == (None, None, None)
    state, before = update(state, *rows(40), CONFIG)
    after, said = update(state, np.zeros((0, 3)), [], [], CONFIG)
    assert same(after, replace(state, ticks=2 + 1))
    assert said.m == before.m
    assert said.change_ticks == before.change_ticks + 1


@pytest.mark.parametrize("outcome", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 3, 40])
def test_few_rows_of_one_class_and_ties_are_defined(outcome, n):
    X, l, y = np.ones((n, 2)), np.full(n, -1.0), np.full(n, outcome)  # noqa: E741
    state = start(X, l, y, CONFIG)
    assert 0 < state.epsilon < 1
    for _ in range(30):
        state, said = update(state, X, l, 1 - y, CONFIG)
        assert np.isfinite([said.m, said.harm, said.harm_log10_e]).all()


@pytest.mark.parametrize(("X", "l", "y"), [
    ([[np.nan]], [0.0], [1]), ([[np.inf]], [0.0], [1]), ([[1.0]], [np.inf], [1]), ([[1.0]], [0.0], [np.nan]),
    ([[1.0]], [0.0], [2]), ([[1.0]], [0.0, 0.0], [1]), ([1.0], [0.0], [1]), ([[1.0, 2.0]], [0.0], [1]),
])  # fmt: skip
def test_what_is_not_finite_or_does_not_fit_is_an_error(X, l, y):  # noqa: E741
    state = start(np.ones((5, 1)), np.zeros(5), [0, 1, 0, 1, 0], CONFIG)
    with pytest.raises(ValueError, match=r"finite|outcomes|agree|features"):
        update(state, X, l, y, CONFIG)


def test_wealth_that_is_not_finite_is_never_silent():
    state = replace(begun(), m=np.full(inner.WEIGHTS.size, np.nan))
    with pytest.raises(FloatingPointError, match="not finite"):
        update(state, *rows(30), CONFIG)


def test_thousands_of_surprises_at_once_alarm_and_do_not_overflow():
    _, said = update(begun(), np.zeros((60_000, 3)), np.full(60_000, -3.0), np.ones(60_000), CONFIG)
    assert said.alarm
    assert said.harm_alarm
    assert np.isfinite(said.m)


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"alpha": 1}, {"delta": 0}, {"gain": 1}, {"k": 0}])
def test_a_config_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="lie between"):
        Config(**wrong)


def told(kind, ticks, seed=3, n=200):
    stream = open_stream(kind, seed)
    seen = stream.reference()
    state, said = start(seen.X, seen.l, seen.y, CONFIG), []
    for seen in stream.ticks(n, ticks):
        state, look = update(state, seen.X, seen.l, seen.y, CONFIG)
        said.append(look)
    return said


def test_an_abrupt_change_is_seen_dated_and_spent():
    said = told("abrupt", 26)
    first = next(tick for tick, look in enumerate(said) if look.alarm)
    assert 20 <= first <= 24
    assert said[first].share >= 1
    assert said[first].log10 == pytest.approx(np.log10(said[first].m))
    since = first - said[first].change_ticks
    assert 16 <= since <= first
    assert 200 * since <= said[first].change_row < 200 * (since + 1)


@pytest.mark.parametrize("kind", ["none", "harmless"])
def test_where_nothing_is_lost_nothing_is_said(kind):
    assert not any(look.alarm or look.harm_alarm for look in told(kind, 60))


def test_harder_clients_are_harm_and_no_reason_to_retrain():
    said = told("harder", 60)
    assert any(look.harm_alarm for look in said)
    assert not any(look.alarm for look in said)
