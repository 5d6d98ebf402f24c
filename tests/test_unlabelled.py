"""What is said before outcomes are known: p-values that keep their level, intervals that hold the truth."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrition import generator
from attrition.drift import unlabelled
from attrition.drift.unlabelled import expected_loss, feature_evidence
from attrition.home import REPOSITORY
from attrition.params import Portfolio, load

DEMO = load(REPOSITORY / "params" / "demo.yaml")
SMALL = Portfolio.model_validate(
    {
        "name": "small",
        "sha256": "",
        "title": "Small",
        "columns": {
            "fee": {"type": "number", "nullable": True},
            "plan": {"type": "category", "nullable": True},
            "partner": {"type": "boolean", "nullable": True},
        },
        "target": {"column": "left"},
    }
)


def small(rng, n, missing=0.1, levels="abc"):
    frame = pd.DataFrame(
        {
            "fee": rng.normal(50, 10, n),
            "plan": pd.Series(rng.choice(list(levels), n), dtype=object),
            "partner": rng.integers(0, 2, n).astype(float),
        }
    )
    gone = rng.random((n, 3)) < missing
    frame = frame.mask(gone)
    return frame.assign(plan=frame["plan"].astype(object).where(~gone[:, 1], None))


def test_what_the_generator_changes_is_beyond_chance_and_nothing_else():
    stream = generator.stream("covariate_harmful", seed=5, change=1, start=date(2026, 1, 5))
    found = feature_evidence(stream.tick(1, 400), stream.tick(0, 800), DEMO)
    assert [entry["feature"] for entry in found if entry["beyond_chance"]] == ["tickets"]
    assert found[0]["feature"] == "tickets"
    assert found[0]["p_adjusted"] < 1e-9
    assert found[0]["sentence"].startswith("support tickets last quarter rose from 1.49 to 6.02")
    assert found[0]["sentence"].endswith("; p below 0.001: beyond chance")
    assert found[-1]["sentence"].endswith("it may be chance")
    assert sorted(entry["feature"] for entry in found) == sorted(DEMO.features)


def test_without_a_change_hardly_anything_is_beyond_chance():
    rng = np.random.default_rng(0)
    found = [entry for _ in range(200) for entry in feature_evidence(small(rng, 60), small(rng, 150), SMALL)]
    assert sum(entry["beyond_chance"] for entry in found) <= 6  # of 200 looks, .01 each: 2
    for name in SMALL.features:
        raw = [entry["p"] for entry in found if entry["feature"] == name]
        assert 0.01 <= np.mean(np.array(raw) < 0.05) <= 0.09


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fee", lambda new: new.assign(fee=new["fee"].where(new.index >= 40))),
        ("plan", lambda new: new.assign(plan=new["plan"].where(new.index >= 40, None))),
        ("partner", lambda new: new.assign(partner=1.0)),
        ("plan", lambda new: new.assign(plan=new["plan"].where(new.index >= 40, "new level"))),
        ("fee", lambda new: new.assign(fee=(new["fee"] - 50) * 3 + 50)),  # the mean stays
    ],
    ids=["number goes missing", "category goes missing", "boolean", "new level", "spread"],
)
def test_each_kind_of_change_is_found(name, change):
    rng = np.random.default_rng(1)
    reference, new = small(rng, 300), small(rng, 100)
    found = feature_evidence(change(new), reference, SMALL)
    assert [entry["feature"] for entry in found if entry["beyond_chance"]] == [name]
    assert found[0]["feature"] == name


def test_a_column_that_is_empty_or_constant_is_no_evidence():
    rng = np.random.default_rng(2)
    frame = small(rng, 50).assign(fee=np.nan, partner=1.0, plan=None)
    for entry in feature_evidence(frame, frame, SMALL):
        assert (entry["p"], entry["p_adjusted"], entry["beyond_chance"]) == (1.0, 1.0, False)
    emptied = feature_evidence(frame, small(rng, 50, missing=0.0), SMALL)
    assert all(entry["beyond_chance"] for entry in emptied)


def test_many_rare_levels_raise_no_alarm():
    rng = np.random.default_rng(3)
    reference, new = (small(rng, n).assign(plan=[str(key) for key in rng.integers(0, 10**6, n)]) for n in (400, 80))
    found = {entry["feature"]: entry["p"] for entry in feature_evidence(new, reference, SMALL)}
    assert found["plan"] == 1.0  # no two clients share a level


def test_nothing_to_compare_is_told():
    with pytest.raises(ValueError, match="nothing to compare: 0 new rows"):
        feature_evidence(small(np.random.default_rng(0), 0), small(np.random.default_rng(0), 9), SMALL)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_closed_bonferroni(p):
    found = unlabelled._holm(np.array(p))
    ranked = sorted(p)
    for one, adjusted in zip(p, found, strict=True):
        closed = max(min(1.0, (len(p) - k) * ranked[k]) for k in range(len(p)) if ranked[k] <= one)
        assert adjusted == pytest.approx(closed)


def clients(rng, n, shift=0.0, off=0.0):
    """Outcomes by a law, and the probabilities of a model that is ``off`` (intercept, and slope) from it."""
    law = rng.normal(-1.2 + shift, 1.2, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-law))).astype(float)
    return y, 1 / (1 + np.exp(-(law * (1 + off) + off)))


def test_the_interval_holds_what_the_outcomes_show(monkeypatch):
    monkeypatch.setattr(unlabelled, "DRAWS", 200)
    errors, shares = [], []
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        (y, p), (later, risks) = clients(rng, 300, off=0.4), clients(rng, 150, 1.0, 0.4)
        found, error = expected_loss(risks, p, y, seed=seed), np.mean((risks - later) ** 2)
        errors.append(found["low"] <= error <= found["high"])
        shares.append(found["leavers"]["low"] <= later.mean() <= found["leavers"]["high"])
    assert 0.9 <= np.mean(errors) <= 0.985
    assert 0.9 <= np.mean(shares) <= 0.985  # and neither always, which any interval does that is wide enough


def test_a_model_that_is_off_is_expected_to_be_off():
    rng = np.random.default_rng(1)
    (y, p), (later, risks) = clients(rng, 5000, off=1.0), clients(rng, 5000, 1.0, 1.0)
    found, naive = expected_loss(risks, p, y), np.mean(risks * (1 - risks))
    error = np.mean((risks - later) ** 2)
    assert found["value"] == pytest.approx(error, abs=0.015)
    assert abs(naive - error) > 0.05


def test_more_rows_on_either_side_narrow_the_interval():
    rng = np.random.default_rng(2)
    y, p = clients(rng, 4000)
    _, risks = clients(rng, 4000)
    widths = [
        (found := expected_loss(risks[:new], p[:known], y[:known]))["high"] - found["low"]
        for new, known in [(40, 80), (4000, 80), (4000, 4000)]
    ]
    assert widths[0] > 1.5 * widths[1] > 1.5 * 1.5 * widths[2]


def test_what_cannot_be_said_is_not_said():
    y, p = clients(np.random.default_rng(3), 50)
    for new, known, outcomes in [(p[:0], p, y), (p, p[:19], y[:19]), (p, p, np.zeros(50)), (p, p[:0], y[:0])]:
        found = expected_loss(new, known, outcomes)
        assert found["value"] is found["low"] is found["leavers"]["high"] is None
        assert found["n"] == len(new)
    assert expected_loss(p[:0], p, y)["sentence"] == "No client is waiting for an outcome."
    assert "unknown until the outcomes of 20 clients are" in expected_loss(p, p[:5], y[:5])["sentence"]


def test_it_says_what_it_takes_for_granted():
    y, p = clients(np.random.default_rng(4), 400)
    found = expected_loss(p[:100], p[100:], y[100:])
    assert found["sentence"].startswith("If clients of equal risk leave as often as before, the error on 100 clients")
    assert f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})" in found["sentence"]
    assert found == expected_loss(p[:100], p[100:], y[100:])


@pytest.mark.parametrize(
    ("new", "known", "outcomes", "said"),
    [
        ([1.2], [0.5] * 20, [0, 1] * 10, "between 0 and 1"),
        ([0.5], [0.5] * 19 + [np.nan], [0, 1] * 10, "between 0 and 1"),
        ([0.5], [0.5] * 20, [0, 2] * 10, "0 or 1"),
        ([0.5], [0.5] * 21, [0, 1] * 10, "one each a row"),
    ],
)
def test_bad_input_is_named(new, known, outcomes, said):
    with pytest.raises(ValueError, match=said):
        expected_loss(new, known, outcomes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 19))
def test_bounds_are_ordered_and_possible(risks, left):
    found = expected_loss(risks, np.linspace(0, 1, 20), np.arange(20) >= left)
    for entry in (found, found["leavers"]):
        assert 0 <= entry["low"] <= entry["high"] <= 1
        assert 0 <= entry["value"] <= 1
