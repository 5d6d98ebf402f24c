import math
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrition import generator, model
from attrition.home import REPOSITORY
from attrition.params import Portfolio, load


def prepared(portfolio, frame):
    """As the store gives it: float64 with NaN, object with None."""
    numbers = {name: frame[name].astype(float) for name in [*portfolio.numeric, portfolio.target.column]}
    levels = {name: frame[name].astype(object).where(frame[name].notna(), None) for name in portfolio.categorical}
    return pd.DataFrame(numbers | levels)


@pytest.fixture(scope="module")
def demo():
    return load(REPOSITORY / "params" / "demo.yaml")


@pytest.fixture(scope="module")
def stream():
    return generator.stream("none", seed=1, change=0, start=date(2026, 1, 5))


@pytest.fixture(scope="module")
def clients(demo, stream):
    return prepared(demo, stream.tick(0, 1500))


@pytest.fixture(scope="module")
def pipeline(demo, clients):
    return model.fit(demo, clients)


def portfolio(**columns):
    return Portfolio.model_validate(
        {
            "name": "small",
            "sha256": "",
            "title": "Small",
            "columns": columns,
            "target": {"column": "left"},
            "model": {"least_rows": 4},
        }
    )


def test_it_predicts_nearly_as_well_as_the_law(demo, stream, pipeline):
    fresh = prepared(demo, stream.tick(1, 4000))
    truth, found = stream.truth(1, 4000), model.probabilities(pipeline, fresh)
    assert found.shape == (4000,)
    assert np.mean((found - truth) ** 2) < 0.01  # a constant forecast is off by .04
    assert np.corrcoef(found, truth)[0, 1] > 0.9


def test_the_same_rows_give_the_same_model_to_the_last_bit(demo, clients, pipeline):
    again = model.fit(demo, clients.copy())
    assert again["classifier"].coef_.tobytes() == pipeline["classifier"].coef_.tobytes()
    assert again["classifier"].intercept_.tobytes() == pipeline["classifier"].intercept_.tobytes()


def test_rows_without_an_outcome_are_not_trained_on(demo, clients, pipeline):
    waiting = clients.head(100).assign(churned=np.nan, logins=1000.0)
    again = model.fit(demo, pd.concat([clients, waiting]))
    assert again["classifier"].coef_.tobytes() == pipeline["classifier"].coef_.tobytes()


def test_too_few_rows_are_told(demo, clients):
    with pytest.raises(model.TooFew, match=r"9 clients with an outcome .* at least 10"):
        model.fit(demo, clients.head(9))
    stayed = clients[clients["churned"] == 0].head(30)
    with pytest.raises(model.TooFew, match="0 clients that left and 30 that stayed"):
        model.fit(demo, stayed)
    assert model.too_few(demo, clients) is None


def test_a_share_is_held_back_by_chance_and_the_mark_says_which(demo, clients):
    keyed = (
        clients.head(100)
        .reset_index(drop=True)
        .assign(_key=[f"c{number}" for number in range(100)], churned=[0.0] * 50 + [1.0] * 50)
    )
    train, held, mark = model.split(demo, keyed)
    assert (len(train), len(held)) == (75, 25)
    assert set(train.index) | set(held.index) == set(range(100))
    assert [each <= mark for each in model.held_back_hash(keyed["_key"])] == keyed.index.isin(held.index).tolist()
    assert 5 <= held["churned"].sum() <= 20  # of those that came first and last alike
    assert set(model.split(demo, keyed.sample(frac=1, random_state=1))[1].index) == set(held.index)
    assert [len(part) for part in model.split(demo, keyed.head(2))[:2]] == [1, 1]
    assert model.split(demo, keyed.head(0))[1].empty


def test_a_missing_column_is_named(pipeline, clients):
    with pytest.raises(ValueError, match="the rows lack plan"):
        model.probabilities(pipeline, clients.drop(columns="plan"))


@pytest.mark.parametrize(
    "columns",
    [
        {"a": {"type": "number"}},
        {"c": {"type": "category"}},
        {"empty": {"type": "number", "nullable": True}, "void": {"type": "category", "nullable": True}},
        {"a": {"type": "number"}, "c": {"type": "category"}, "b": {"type": "boolean"}},
    ],
    ids=["only numbers", "only categories", "only missing values", "all kinds"],
)
def test_every_mix_of_features_works(columns):
    given = portfolio(**columns)
    frame = pd.DataFrame(
        {
            "a": [1.0, 2.0, 3.0, 4.0, 5.0, np.nan],
            "b": [1.0, 0.0, 1.0, np.nan, 0.0, 1.0],
            "c": pd.Series(["x", "y", None, "x", "y", "x"], dtype=object),
            "empty": np.full(6, np.nan),
            "void": pd.Series([None] * 6, dtype=object),
            "left": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        }
    )
    pipeline = model.fit(given, frame)
    base = model.baseline(pipeline, frame)
    found = model.contributions(pipeline, given, frame, base)
    assert found.shape == (6, len(columns))
    chances = model.probabilities(pipeline, frame)
    assert base[model.BASE] + found.sum(axis=1) == pytest.approx(np.log(chances / (1 - chances)), abs=1e-9)
    assert len(model.reasons(given, frame, found, model.usual(given, frame))) == 6
    assert {entry["feature"] for entry in model.coefficients(pipeline, given)} == set(columns)


@settings(max_examples=30)
@given(st.data())
def test_base_and_contributions_add_up_to_the_logit(demo, clients, pipeline, data):
    number = st.one_of(st.just(math.nan), st.floats(0, 1e4))
    row = {name: data.draw(number, label=name) for name in demo.numeric}
    row["plan"] = data.draw(st.sampled_from(["Basic", "Team", "Enterprise", "unheard of", None]))
    frame = pd.DataFrame([row]).astype({"plan": object})
    base = model.baseline(pipeline, clients)
    logit = pipeline["classifier"].decision_function(pipeline["columns"].transform(frame))
    total = base[model.BASE] + model.contributions(pipeline, demo, frame, base).sum(axis=1)
    assert total == pytest.approx(logit, abs=1e-9, rel=1e-12)


def test_the_average_client_has_no_contributions(demo, clients, pipeline):
    found = model.contributions(pipeline, demo, clients, model.baseline(pipeline, clients))
    assert found.mean(axis=0) == pytest.approx(np.zeros(len(demo.features)), abs=1e-9)


def test_no_rows(demo, clients, pipeline):
    assert model.probabilities(pipeline, clients.head(0)).shape == (0,)
    base = model.baseline(pipeline, clients)
    assert model.contributions(pipeline, demo, clients.head(0), base).shape == (0, len(demo.features))
    with pytest.raises(ValueError, match="no rows"):
        model.baseline(pipeline, clients.head(0))


def test_coefficients_are_in_words(demo, clients, pipeline):
    found = model.coefficients(pipeline, demo)
    assert [abs(entry["coefficient"]) for entry in found] == sorted(
        (abs(entry["coefficient"]) for entry in found), reverse=True
    )
    plans = [entry for entry in found if entry["feature"] == "plan"]
    assert {entry["level"] for entry in plans} == {"Basic", "Team", "Enterprise"}
    assert sum(entry["coefficient"] for entry in plans) == pytest.approx(0, abs=1e-3)
    logins = next(entry for entry in found if entry["feature"] == "logins")
    assert logins["coefficient"] < -0.5
    assert logins["words"] == (
        f"logins a week: odds of leaving × {logins['odds_ratio']:.2f} for each {clients['logins'].std(ddof=0):.3g} more"
    )


def test_a_boolean_is_told_as_yes_against_no():
    given = portfolio(partner={"type": "boolean"})
    frame = pd.DataFrame({"partner": [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], "left": [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]})
    pipeline = model.fit(given, frame)
    yes, no = model.probabilities(pipeline, frame)[[0, 3]]
    entry = model.coefficients(pipeline, given)[0]
    assert entry["odds_ratio"] == pytest.approx(yes / (1 - yes) / (no / (1 - no)))
    assert entry["words"] == f"partner yes: odds of leaving × {entry['odds_ratio']:.1f} against no"


def test_reasons_are_the_strongest_either_way_in_the_clients_own_values():
    given = portfolio(
        tenure={"type": "integer", "label": "months as a client"},
        contract={"type": "category"},
        partner={"type": "boolean"},
        fee={"type": "number"},
    )
    frame = pd.DataFrame(
        {
            "tenure": [2.0, np.nan, 29.0],
            "contract": pd.Series(["Monthly", None, "Yearly"], dtype=object),
            "partner": [0.0, 1.0, 1.0],
            "fee": [1889.5, 0.125, 70.0],
        }
    )
    effects = np.log([[1.8, 2.1, 1.2, 0.01], [0.5, 1.3, 1.2, 1.4], [1.0, 1.01, 1.0, 2000.0]])
    usual = {"tenure": 29.04, "contract": "Monthly", "partner": 0.4, "fee": 1397.47}
    numeric_first = [given.features.index(name) for name in ("tenure", "contract", "partner", "fee")]
    placed = np.empty_like(effects)
    placed[:, numeric_first] = effects
    assert model.reasons(given, frame, placed, usual) == [
        [
            "fee 1,889.5, usual 1,397: odds of leaving × 0.010",
            "contract Monthly: odds of leaving × 2.1",
            "months as a client 2, usual 29: odds of leaving × 1.8",
        ],
        [
            "months as a client missing, usual 29: odds of leaving × 0.50",
            "fee 0.125, usual 1,397: odds of leaving × 1.4",
            "contract missing: odds of leaving × 1.3",
        ],
        ["fee 70, usual 1,397: odds of leaving × more than 1,000"],
    ]
    assert [len(row) for row in model.reasons(given, frame, placed, usual, top=1)] == [1, 1, 1]


def test_usual_is_what_the_contributions_compare_with(demo, clients, pipeline):
    usual = model.usual(demo, clients)
    assert usual["plan"] == "Basic"
    assert usual["logins"] == pytest.approx(clients["logins"].mean())
    average = clients.head(1).assign(logins=usual["logins"])
    found = model.contributions(pipeline, demo, average, model.baseline(pipeline, clients))
    assert found[0, demo.features.index("logins")] == pytest.approx(0, abs=1e-9)
    assert "logins" not in model.usual(demo, clients.assign(logins=np.nan))
