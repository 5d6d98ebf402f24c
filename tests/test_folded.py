"""The model without scikit-learn, and what happens where it is another model."""

import json
import pickle
import subprocess
import sys

import homes
import msgspec
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from attrition import model, pickles, registry, words
from attrition.folded import Folded
from attrition.home import REPOSITORY
from attrition.served import Served
from attrition.serving import Refused, Server
from attrition.stages import SAMPLE, Stage

SHOP = homes.portfolio()


@pytest.fixture(scope="module")
def pipeline():
    return model.fit(SHOP, homes.clients())


def folded(pipeline):
    return Folded.of(pickles.bones(pickle.dumps(pipeline, protocol=5)))


def columns(frame, names):
    shown = frame[names].astype(object)
    return {name: shown[name].where(shown[name].notna(), None).tolist() for name in names}


def test_probabilities_and_contributions_are_the_pipelines(pipeline):
    frame = homes.clients(500, seed=5)
    frame.loc[:3, "plan"] = "never seen"
    given, base = columns(frame, SHOP.features), model.baseline(pipeline, frame)
    found = folded(pipeline)
    assert np.abs(found.probabilities(given, 500) - model.probabilities(pipeline, frame)).max() <= 1e-12
    parts = found.contributions(given, 500, SHOP.features, base)
    expected = model.contributions(pipeline, SHOP, frame, base)
    assert np.abs(parts - expected).max() <= 1e-12
    usual = model.usual(SHOP, frame)
    assert words.reasons(SHOP, given, parts, usual) == model.reasons(SHOP, frame, expected, usual)


@pytest.mark.parametrize("names", [["usage"], ["plan"], ["usage", "plan"]])
def test_a_kind_of_column_may_be_lacking(names):
    shop = homes.portfolio(columns={name: homes.COLUMNS[name] for name in names}, id=None)
    fitted = model.fit(shop, homes.clients())
    frame = homes.clients(50, seed=2)
    found = folded(fitted).probabilities(columns(frame, names), 50)
    assert np.abs(found - model.probabilities(fitted, frame)).max() <= 1e-12


@pytest.mark.parametrize("usage", [1e308, -1e308, 0.0])
def test_certainty_does_not_overflow(pipeline, usage):
    given = {name: [homes.RECORD.get(name)] for name in SHOP.features} | {"usage": [usage]}
    with np.errstate(over="ignore"):
        assert 0 <= folded(pipeline).probabilities(given, 1)[0] <= 1


def change_coefficient(pipeline):
    pipeline["classifier"].coef_[0, 0] += 1e-9


def two_outputs(pipeline):
    pipeline["classifier"].coef_ = np.repeat(pipeline["classifier"].coef_, 2, axis=0)


def swapped_classes(pipeline):
    pipeline["classifier"].classes_ = np.array([1, 0])


def strict_encoder(pipeline):
    pipeline["columns"].transformers_[1][1]["encode"].handle_unknown = "error"


def test_what_is_not_recognised_is_not_folded(pipeline):
    golden = [homes.RECORD], model.probabilities(pipeline, homes.pd.DataFrame([homes.RECORD])).tolist()
    assert folded(pipeline).agrees(*golden)
    for spoil in (two_outputs, swapped_classes, strict_encoder):
        spoilt = pickle.loads(pickle.dumps(pipeline))
        spoil(spoilt)
        assert folded(spoilt) is None
    shifted = pickle.loads(pickle.dumps(pipeline))
    change_coefficient(shifted)
    assert not folded(shifted).agrees(*golden), "recognised, but it is not what scored the golden rows"
    assert not folded(pipeline).agrees([], [])


def test_a_prediction_loads_neither_scikit_learn_nor_pandas(tmp_path):
    homes.make(tmp_path)
    code = f"""
import sys, api
from pathlib import Path
from attrition.home import Home
from attrition.serving import Server
served = Server(Home(Path({str(tmp_path)!r}))).portfolio()
served.answer({json.dumps(homes.RECORD).encode()!r}, "application/json", 3)
print([name for name in ("sklearn", "pandas", "scipy", "duckdb", "nbformat") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"


OTHERS = [
    RandomForestClassifier(5),
    ExtraTreesClassifier(5),
    GradientBoostingClassifier(n_estimators=5),
    HistGradientBoostingClassifier(max_iter=5),
    AdaBoostClassifier(n_estimators=5),
    DecisionTreeClassifier(),
    KNeighborsClassifier(),
    GaussianNB(),
    LinearDiscriminantAnalysis(),
    LogisticRegressionCV(Cs=2, cv=2, l1_ratios=(0.0,), scoring=None, use_legacy_attributes=False),
    MLPClassifier(max_iter=2000, tol=1e-2),
    VotingClassifier([("tree", DecisionTreeClassifier()), ("line", LogisticRegression())], voting="soft"),
    StackingClassifier([("tree", DecisionTreeClassifier()), ("line", LogisticRegression())]),
]


@pytest.mark.parametrize("classifier", OTHERS, ids=lambda given: type(given).__name__)
def test_another_classifier_is_served_by_predict_proba(tmp_path, classifier):
    place = homes.make(tmp_path).place("shop")
    fitted = model.build(SHOP)
    fitted.steps[-1] = ("classifier", clone(classifier))
    table = homes.clients()
    fitted.fit(model._inputs(fitted, table), table["left"].astype(int))
    noted = model.probabilities(fitted, homes.pd.DataFrame([homes.RECORD])).tolist()
    golden = {"rows": [homes.RECORD], "probabilities": noted}
    folder = place.models / "0002"
    folder.mkdir()
    manifest = registry.write(folder, fitted, **homes.facts("0002", golden=golden))
    now = msgspec.structs.replace(registry.current(place.models), version="0002", sha256=manifest.sha256)
    place.current.write_bytes(msgspec.json.encode(now))
    served = Served.load(place)
    assert served.folded is None
    answer, _ = served.answer(json.dumps([homes.RECORD] * 2).encode(), "application/json")
    assert [each.probability for each in answer.predictions] == pytest.approx(noted * 2, abs=1e-12)
    with pytest.raises(Refused, match="no reasons"):
        served.answer(json.dumps(homes.RECORD).encode(), "application/json", 3)


def test_the_api_and_70_assess_give_the_same_numbers_and_reasons():
    """On the committed sample: the clients as they are stored, and as they are sent."""
    stage = Stage.open("", "sample", "")
    served = Server(homes.Home(SAMPLE), pause=0).portfolio("sample")
    fitted, manifest = stage.model(served.manifest.version)
    clients, portfolio = stage.clients().current(), stage.portfolio
    risks = model.probabilities(fitted, clients)
    parts = model.contributions(fitted, portfolio, clients, manifest.base)
    reasons = model.reasons(portfolio, clients, parts, manifest.usual)
    kinds = {name: portfolio.columns[name].type for name in portfolio.features}
    cast = {"integer": int, "boolean": bool}
    records = [
        {
            name: None if value is None else cast.get(kinds[name], lambda each: each)(value)
            for name, value in row.items()
        }
        for row in homes.pd.DataFrame(columns(clients, portfolio.features), dtype=object).to_dict("records")
    ]
    answer, _ = served.answer(json.dumps(records).encode(), "application/json", 3)
    assert len(records) > 100
    assert np.abs(np.array([each.probability for each in answer.predictions]) - risks).max() <= 1e-12
    assert [each.reasons for each in answer.predictions] == reasons
