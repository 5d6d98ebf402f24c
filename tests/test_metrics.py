import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from attrition import metrics
from attrition.metrics import calibration, gain_curve, score

INTERVALS = ("brier", "log_loss", "auc", "f1")
rows = st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 0.2, 0.5, 0.7, 1])), min_size=1, max_size=30)


def clients(n, seed=0):
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1.2, 1.2, n)))
    return (rng.random(n) < p).astype(float), p


@settings(max_examples=50)
@given(rows)
def test_score_agrees_with_scikit_learn(drawn):
    y, p = map(np.array, zip(*drawn, strict=True))
    found = score(y, p, resamples=100)
    called = p >= 0.5
    assert found["n"] == len(y)
    assert found["positives"] == y.sum()
    assert found["brier"]["value"] == pytest.approx(np.mean((p - y) ** 2))
    assert found["log_loss"]["value"] == pytest.approx(sk.log_loss(y, np.clip(p, 1e-15, 1 - 1e-15), labels=[0, 1]))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, called))
    assert found["precision"] == pytest.approx(sk.precision_score(y, called, zero_division=0))
    assert found["recall"] == pytest.approx(sk.recall_score(y, called, zero_division=0))
    assert found["f1"]["value"] == pytest.approx(sk.f1_score(y, called, zero_division=0))
    assert found["confusion"] == sk.confusion_matrix(y, called, labels=[0, 1]).tolist()
    if len(set(y.tolist())) == 2:
        assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(y, p))
    else:
        assert found["auc"] == {"value": None, "low": None, "high": None, "skipped": 100}


@given(rows)
def test_intervals_are_ordered_and_possible(drawn):
    y, p = zip(*drawn, strict=True)
    found = score(y, p, resamples=100)
    ceilings = {"log_loss": 34.54}
    for name in INTERVALS:
        low, high = found[name]["low"], found[name]["high"]
        if low is not None:
            assert -1e-9 <= low <= high <= ceilings.get(name, 1) + 1e-9


def test_five_rows_say_next_to_nothing():
    found = score([1, 1, 1, 0, 0], [0.9, 0.4, 0.8, 0.6, 0.7])
    assert found["f1"]["value"] == pytest.approx(4 / 7)
    assert found["f1"]["low"] == 0
    assert found["f1"]["high"] >= 8 / 9
    assert found["brier"]["high"] - found["brier"]["low"] > 0.35
    assert 0 < found["auc"]["skipped"] < 500  # (2/5)⁵ + (3/5)⁵ of 2,000 are about 176


@pytest.mark.parametrize("n", [1, 5])
def test_few_rows_that_are_all_right_prove_nothing(n):
    found = score([1] * n, [0.9] * n)
    assert found["brier"]["low"] < 0.01 < 0.5 < found["brier"]["high"]
    assert found["f1"] == {"value": 1, "low": pytest.approx(0.025 ** (1 / n)), "high": 1}


def test_intervals_of_few_rows_cover_the_truth_more_often_than_percentiles():
    truth = np.mean([p * (1 - p) for p in clients(200_000, seed=99)[1]])
    held = []
    for seed in range(800):
        found = score(*clients(5, seed), resamples=300, seed=seed)["brier"]
        held.append(found["low"] <= truth <= found["high"])
    assert 0.80 <= np.mean(held) <= 0.95  # .84; of plain percentiles .76 hold it


def test_many_rows_are_pooled_without_moving_the_interval(monkeypatch):
    y, p = clients(6000)
    each = score(y, p, resamples=1500)
    monkeypatch.setattr(metrics, "EXACT", 5000)
    pooled = score(y, p, resamples=1500)
    for exact, other in [(each[name], pooled[name]) for name in INTERVALS]:
        width = exact["high"] - exact["low"]
        assert other["low"] == pytest.approx(exact["low"], abs=width / 8)
        assert other["high"] == pytest.approx(exact["high"], abs=width / 8)


def test_of_100_000_rows_the_interval_is_the_normal_one():
    y, p = clients(100_000)
    found = score(y, p)["brier"]
    deviation = np.std((p - y) ** 2) / math.sqrt(100_000)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * deviation, rel=0.08)


def test_the_seed_decides():
    y, p = clients(40)
    assert score(y, p, seed=1) == score(y, p, seed=1)
    assert score(y, p, seed=1) != score(y, p, seed=2)


@pytest.mark.parametrize(
    ("y", "p", "said"),
    [
        ([], [], "no rows"),
        ([1], [0.5, 0.5], "one each a row"),
        ([1, 2], [0.5, 0.5], "0 or 1"),
        ([1, math.nan], [0.5, 0.5], "0 or 1"),
        ([1, 0], [0.5, 1.1], "between 0 and 1"),
        ([1, 0], [0.5, math.nan], "between 0 and 1"),
    ],
)
def test_bad_input_is_named(y, p, said):
    with pytest.raises(ValueError, match=said):
        score(y, p)


@given(rows)
def test_calibration_keeps_every_row_and_outcome(drawn):
    y, p = zip(*drawn, strict=True)
    bins = calibration(y, p)
    assert sum(entry["n"] for entry in bins) == len(y)
    assert sum(entry["n"] * entry["observed"] for entry in bins) == pytest.approx(sum(y))
    assert all(entry["from"] - 1e-9 <= entry["predicted"] <= entry["to"] + 1e-9 for entry in bins)


def test_gain_curve_counts_leavers_from_the_top():
    curve = gain_curve([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], points=4)
    assert [entry["found"] for entry in curve] == [0, 0.5, 1, 1, 1]
    assert [entry["share"] for entry in curve] == [0, 0.25, 0.5, 0.75, 1]


def test_gain_curve_knows_no_order_among_equals():
    assert gain_curve([1, 1, 0, 0], [0.5] * 4) == gain_curve([0, 1, 0, 1], [0.5] * 4)
    assert all(entry["found"] == pytest.approx(entry["share"]) for entry in gain_curve([1, 0], [0.5, 0.5]))
    assert gain_curve([0, 0], [0.5, 0.4]) == []
