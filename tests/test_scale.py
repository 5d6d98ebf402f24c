"""A fit by sums is scikit-learn's: coefficients, predictions, and all that its fitted steps hold."""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from attrition import model
from attrition.params import Portfolio
from attrition.scale import Table, WideTable, fit, fitting, sums
from attrition.store.engine import connect, fields, quoted

COLUMNS = {
    "seats": {"type": "integer"},
    "fee": {"type": "number", "nullable": True},
    "flat": {"type": "number"},
    "void": {"type": "number", "nullable": True},
    "active": {"type": "boolean", "nullable": True},
    "plan": {"type": "category", "nullable": True},
    "region": {"type": "category"},
}


def portfolio(columns=None, **given):
    return Portfolio.model_validate(
        {
            "name": "large",
            "sha256": "",
            "title": "Large",
            "columns": columns or COLUMNS,
            "target": {"column": "left"},
            "model": {"least_rows": 4, "least_each": 2, **given},
        }
    )


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    fee = np.where(rng.random(n) < 0.1, np.nan, rng.gamma(2, 300, n))
    plan = np.array(["Basic", "Team", 'it\'s "so"', None], dtype=object)[rng.choice(4, n, p=[0.5, 0.3, 0.19, 0.01])]
    region = np.array(["north", "south", "rare"], dtype=object)[rng.choice(3, n, p=[0.6, 0.3999, 0.0001])]
    seats = rng.integers(1, 500, n).astype(float)
    logit = -1 + 0.004 * (seats - 250) - 0.001 * np.nan_to_num(fee, nan=600) + (plan == "Team") * 0.7
    return pd.DataFrame(
        {
            "seats": seats,
            "fee": fee,
            "flat": 0.1,
            "void": np.nan,
            "active": np.where(rng.random(n) < 0.05, np.nan, rng.integers(0, 2, n)),
            "plan": plan,
            "region": region,
            "left": (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float),
        }
    )


def table(folder, given, frame, parts=1, weight="", extra=()):
    """The rows as the store writes them, in so many files."""
    paths = []
    for number, at in enumerate(np.array_split(np.arange(len(frame)), parts)):
        path = folder / f"part-{number}.parquet"
        with connect() as db:
            db.register("given", frame.iloc[at])
            typed = [f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in fields(given).items()]
            db.execute(f"COPY (SELECT {', '.join([*typed, *extra])} FROM given) TO '{path}' (FORMAT parquet)")
        paths.append(path)
    return Table(given, tuple(paths), weight=weight)


def exact(given, frame, weight=None):
    """scikit-learn's own answer, as near as it comes."""
    pipeline = model.build(given)
    pipeline.set_params(classifier__solver="newton-cholesky", classifier__tol=1e-10)
    inputs = model._inputs(pipeline, frame)
    return pipeline.fit(inputs, frame["left"].to_numpy(dtype=np.int64), classifier__sample_weight=weight)


def agree(found, expected, frame):
    np.testing.assert_allclose(found[-1].coef_, expected[-1].coef_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[-1].intercept_, expected[-1].intercept_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        model.probabilities(found, frame), model.probabilities(expected, frame), rtol=0, atol=1e-9
    )


@pytest.fixture(scope="module")
def many():
    return rows(200_000)


@pytest.mark.parametrize("parts", [1, 3])
def test_coefficients_and_predictions_are_those_of_newton_cholesky(tmp_path, monkeypatch, many, parts):
    monkeypatch.setattr(fitting, "FIRST", 20_000)  # so that the search begins on some of the rows
    given = portfolio()
    agree(fit(table(tmp_path, given, many, parts)), exact(given, many), many)


def test_batches_give_what_cells_give(tmp_path, monkeypatch, many):
    given = portfolio()
    monkeypatch.setattr(fitting, "MOST_CELLS", 3)
    agree(fit(table(tmp_path, given, many)), exact(given, many), many)


def test_weights_count(tmp_path, many):
    given, some = portfolio(), many.head(20_000).assign(place=np.arange(20_000))
    weighted = table(tmp_path, given, some, weight="pow(0.5, (20000 - place) / 3000)", extra=["place"])
    agree(fit(weighted), exact(given, some, 0.5 ** ((20_000 - some["place"].to_numpy()) / 3000)), some)


def same(one, other, path):
    """All that two fitted objects hold is the same, but for the last digits of numbers."""
    assert type(one) is type(other), path
    if isinstance(one, BaseEstimator) or (hasattr(one, "__dict__") and not isinstance(one, type)):
        one, other = vars(one), vars(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            if key not in ("n_iter_", "solver", "tol"):
                same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for at, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{path}[{at}]")
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), path
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-6, err_msg=path)
        else:
            assert one.tolist() == other.tolist(), path
    elif isinstance(one, float):
        assert one == pytest.approx(other, nan_ok=True), path
    else:
        assert one is other or one == other, path


def test_a_fitted_step_holds_what_scikit_learns_own_holds(tmp_path, many):
    given, some = portfolio(), many.head(5_000)
    found, expected = fit(table(tmp_path, given, some)), exact(given, some)
    same(found, expected, "pipeline")
    assert found[-1].n_iter_.dtype == expected[-1].n_iter_.dtype
    assert found[-1].n_iter_.shape == expected[-1].n_iter_.shape


@pytest.mark.parametrize(
    "columns",
    [["seats"], ["plan"], ["void"], ["flat", "region"], ["fee", "active"]],
    ids=["a number", "a category", "nothing known", "constant", "gaps"],
)
def test_every_mix_of_features(tmp_path, many, columns):
    given, some = portfolio({name: COLUMNS[name] for name in columns}), many.head(3_000)
    agree(fit(table(tmp_path, given, some)), exact(given, some), some)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("cells", [4096, 1])
def test_outcomes_that_are_told_apart(tmp_path, monkeypatch, C, cells):
    monkeypatch.setattr(fitting, "MOST_CELLS", cells)
    given = portfolio({"seats": COLUMNS["seats"], "plan": COLUMNS["plan"]}, C=C)
    seats = np.arange(40.0)
    frame = pd.DataFrame({"seats": seats, "plan": np.where(seats < 17, "a", "b"), "left": (seats >= 20).astype(float)})
    agree(fit(table(tmp_path, given, frame)), exact(given, frame), frame)


small = st.lists(
    st.tuples(
        st.integers(-5, 5),
        st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False)),
        st.sampled_from(["a", "b", "'; DROP TABLE x; --", "(missing)", None]),
        st.integers(0, 1),
    ),
    min_size=6,
    max_size=60,
).filter(lambda rows: 2 <= sum(row[3] for row in rows) <= len(rows) - 2)


@settings(max_examples=examples(30))
@given(drawn=small, batches=st.booleans(), parts=st.integers(1, 3))
def test_any_few_rows(tmp_path_factory, drawn, batches, parts):
    names = ("seats", "fee", "plan", "left")
    given = portfolio({name: COLUMNS[name] for name in names[:3]})
    frame = pd.DataFrame(drawn, columns=list(names)).astype({"seats": float, "fee": float, "left": float})
    frame["plan"] = frame["plan"].astype(object).where(frame["plan"].notna(), None)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if batches:
            patch.setattr(fitting, "MOST_CELLS", 0)
        found = fit(table(tmp_path_factory.mktemp("rows"), given, frame, parts))
    agree(found, exact(given, frame), frame)


def test_too_few_rows_are_told(tmp_path, many):
    given = portfolio(least_rows=50)
    with pytest.raises(model.TooFew, match="49 clients with an outcome"):
        fit(table(tmp_path, given, many.head(49)))


@pytest.mark.parametrize("limit", ["cells", "levels"])
def test_too_many_levels_are_told(tmp_path, monkeypatch, many, limit):
    monkeypatch.setattr(fitting, "MOST_TERMS", 7 if limit == "cells" else 2)
    monkeypatch.setattr(fitting, "MOST_CELLS", 4096 if limit == "cells" else 1)
    with pytest.raises(WideTable, match="give plan, region fewer values"):
        fit(table(tmp_path, portfolio(), many.head(2_000)))


def test_the_sums_of_parts_are_those_of_the_whole(tmp_path, many):
    given = portfolio()
    whole = table(tmp_path, given, many.head(3_000))
    _, encoding = fitting._encoding(whole)
    beta = np.linspace(-1, 1, 1 + encoding.terms)
    once = sums.total(whole, encoding, beta)
    (tmp_path / "cut").mkdir()
    cut = table(tmp_path / "cut", given, many.head(3_000), parts=4)
    pieces = [sums.total(Table(given, (path,)), encoding, beta) for path in cut.files]
    np.testing.assert_allclose(sum((p.hessian for p in pieces[1:]), pieces[0].hessian), once.hessian, rtol=1e-9)
    np.testing.assert_allclose(sum((p.gradient for p in pieces[1:]), pieces[0].gradient), once.gradient, rtol=1e-9)
