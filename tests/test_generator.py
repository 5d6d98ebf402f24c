from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from attrition import model
from attrition.generator import DRIFTS, stream, write_drop
from attrition.home import REPOSITORY
from attrition.params import load

START = date(2026, 1, 5)
DEMO = load(REPOSITORY / "params" / "demo.yaml")


def opened(drift, seed=1, change=20):
    return stream(drift, seed=seed, change=change, start=START)


@settings(max_examples=20)
@given(st.sampled_from(DRIFTS), st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 40))
def test_a_tick_depends_on_its_seed_and_number_only(drift, seed, k, rows):
    first = opened(drift, seed).tick(k, rows)
    other = opened(drift, seed)
    other.tick(k + 1, 7)
    pd.testing.assert_frame_equal(other.tick(k, rows), first)
    assert (
        not opened(drift, seed + 1)
        .tick(k, rows)
        .drop(columns=["client_id", "as_of"])
        .equals(first.drop(columns=["client_id", "as_of"]))
    )


@pytest.mark.parametrize("drift", DRIFTS)
def test_rows_keep_what_the_portfolio_asks_for(drift):
    frame = opened(drift).tick(70, 2000)
    assert list(frame.columns) == [*DEMO.columns, DEMO.target.column]
    for name, column in DEMO.columns.items():
        assert column.nullable or frame[name].notna().all(), name
        assert column.min is None or frame[name].min() >= column.min, name
        assert column.max is None or frame[name].max() <= column.max, name
        assert column.values is None or set(frame[name]) == set(column.values), name
        assert column.type != "integer" or frame[name].dtype == np.int64, name
    assert frame["satisfaction"].isna().mean() == pytest.approx(0.08, abs=0.02)
    assert frame["owner"].nunique() == 6


def test_clients_are_new_in_every_tick():
    source = opened("none")
    ids = pd.concat([source.tick(k, rows)["client_id"] for k, rows in enumerate([500, 1, 1200])])
    assert ids.is_unique
    assert ids.iloc[123] == "C000123"


def test_a_tick_is_a_week():
    days = opened("none").tick(3, 500)["as_of"]
    assert days.is_monotonic_increasing
    assert (days.min(), days.max()) == (pd.Timestamp(2026, 1, 26), pd.Timestamp(2026, 2, 1))


def test_the_newest_clients_have_no_outcome_yet():
    source = opened("none")
    whole, waiting = source.tick(0, 10), source.tick(0, 10, unlabelled=0.3)
    assert whole["churned"].notna().all()
    assert waiting["churned"].isna().tolist() == [False] * 7 + [True] * 3
    assert waiting["churned"][:7].tolist() == whole["churned"][:7].tolist()


def test_the_law_has_the_base_rate_and_the_auc_it_claims():
    source = opened("none")
    left = source.tick(0, 40_000)["churned"].to_numpy(dtype=float)
    assert left.mean() == pytest.approx(0.25, abs=0.01)
    assert roc_auc_score(left, source.truth(0, 40_000)) == pytest.approx(0.80, abs=0.01)


@pytest.mark.parametrize("drift", DRIFTS)
def test_before_the_change_all_streams_are_the_same(drift):
    pd.testing.assert_frame_equal(opened(drift).tick(19, 200), opened("none").tick(19, 200))


@pytest.mark.parametrize(
    ("drift", "k", "base", "harm"),
    [
        ("none", 20, 0.25, 0),
        ("prior", 20, 0.40, 0.03),
        ("covariate_harmful", 20, 0.36, 0.04),
        ("covariate_harmless", 20, 0.25, 0),
        ("gradual", 20, 0.25, 0),
        ("gradual", 45, 0.22, 0.02),
        ("gradual", 70, 0.25, 0.08),
        ("abrupt", 20, 0.25, 0.08),
    ],
)
def test_each_drift_does_the_harm_it_is_named_for(champion, drift, k, base, harm):
    source = opened(drift)
    truth, frame = source.truth(k, 10_000), source.tick(k, 10_000)
    assert truth.mean() == pytest.approx(base, abs=0.015)
    excess = np.mean((model.probabilities(champion, frame) - truth) ** 2)
    assert excess == pytest.approx(harm + 0.003, abs=0.008)


def test_harmless_drift_is_a_drift():
    before, after = opened("covariate_harmless").tick(19, 5000), opened("covariate_harmless").tick(20, 5000)
    assert after["seats"].mean() > 1.2 * before["seats"].mean()
    assert after["monthly_fee"].mean() > 1.1 * before["monthly_fee"].mean()


@pytest.fixture(scope="module")
def champion():
    return model.fit(DEMO, opened("none").tick(0, 4000))


def test_a_drop_is_read_back_as_it_was(tmp_path):
    frame = opened("none").tick(0, 50, unlabelled=0.2)
    write_drop(frame, tmp_path / "drop.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["drop.csv"]
    read = pd.read_csv(tmp_path / "drop.csv", dtype={"churned": "Int64"}, parse_dates=["as_of"])
    pd.testing.assert_frame_equal(read, frame, check_dtype=False)
    line = (tmp_path / "drop.csv").read_text().splitlines()[-1]
    assert ",2026-01-1" in line
    assert line.endswith(",")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: opened("sudden"), "'sudden' is no drift; choose one of none, prior"),
        (lambda: opened("none", seed=-1), "must be 0 or more"),
        (lambda: opened("none").tick(-1, 10), "ticks count from 0"),
        (lambda: opened("none").tick(0, 0), "a tick has 1 to"),
        (lambda: opened("none").tick(0, 10, unlabelled=1.5), "share of the rows"),
    ],
)
def test_bad_requests_are_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
