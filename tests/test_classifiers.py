"""Another classifier than the logistic regression: named by the YAML, trained, served, and explained."""

import itertools
import json
import math
import re
import shutil
import sys
import urllib.request
import warnings

import homes
import msgspec
import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_kit import here, recorded, reports, served
from sklearn.ensemble import GradientBoostingClassifier

from attrition import assessment, classifiers, model, params, pickles, provenance, registry, shapley
from attrition.home import REPOSITORY, Home, UsageError
from attrition.served import Served

JSON = "application/json"
SMALL = {
    "GaussianProcessClassifier": {},
    "HistGradientBoostingClassifier": {"max_iter": 20, "min_samples_leaf": 5},
    "MLPClassifier": {"max_iter": 50},
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.1},  # one-hot levels sum to one
    "RandomForestClassifier": {"n_estimators": 20},
}


def wanting(name, **given):
    return homes.portfolio(model={"class": name, "params": given})


def trained(portfolio, rows=200):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so small a network has not converged
        return model.fit(portfolio, homes.clients(rows))


def deployed(root, portfolio, pipeline):
    """The home of ``homes`` in which this model serves, with golden rows as 30_train notes them."""
    home = homes.make(root)
    place, frame = home.place("shop"), homes.clients(200)
    told = {"base": model.baseline(pipeline, frame), "usual": model.usual(portfolio, frame)}
    facts = provenance.facts(portfolio, pipeline, frame) | told
    given = {key: value for key, value in homes.facts("0002").items() if key not in facts}
    folder = place.models / "0002"
    manifest = registry.write(folder, pipeline, **given, **facts)
    here = registry.Current("shop", "0002", manifest.sha256, homes.FIRST, "2026-01-01T00:01:00Z", proven=False)
    place.current.write_bytes(msgspec.json.encode(here))
    return place, manifest


@pytest.mark.parametrize("name", sorted(classifiers.NAMES))
def test_each_classifier_of_the_list_is_trained_served_and_explained(name, tmp_path):
    portfolio = wanting(name, **SMALL.get(name, {}))
    pipeline = trained(portfolio)
    place, manifest = deployed(tmp_path, portfolio, pipeline)
    serving = Served.load(place)
    rows = [homes.RECORD, {**homes.RECORD, "usage": 900, "vip": False, "region": None}]
    answer = json.loads(msgspec.json.encode(serving.answer(json.dumps(rows).encode(), JSON, 3)[0]))
    expected = model.probabilities(pipeline, pd.DataFrame(rows))
    found = [each["probability"] for each in answer["predictions"]]
    assert found == pytest.approx(expected, abs=1e-9)
    assert manifest.params["class"] == name
    clients = homes.clients(60, seed=3)
    parts = model.contributions(pipeline, portfolio, clients, manifest.base, manifest.usual)
    risks = model.probabilities(pipeline, clients)
    assessment.check_sum(parts, manifest.base, model.explained(pipeline, risks))
    said = [text for each in answer["predictions"] for text in each["reasons"]]
    assert said
    assert all("odds of leaving ×" in text for text in said)
    assert {entry["feature"] for entry in model.learnt(pipeline, portfolio, clients)} == set(portfolio.features)


def test_the_cell_of_30_train_may_fit_any_classifier():
    pipeline = model.fit(homes.portfolio(), homes.clients(200), GradientBoostingClassifier(random_state=1))
    assert type(pipeline["classifier"]) is GradientBoostingClassifier


def test_the_strongest_reason_of_boosting_is_what_makes_clients_leave():
    portfolio = wanting("GradientBoostingClassifier", max_depth=2)
    pipeline = trained(portfolio, 2000)
    names = [entry["feature"] for entry in model.learnt(pipeline, portfolio, homes.clients(300, seed=2))]
    assert set(names[:2]) == {"usage", "vip"}  # of which homes.clients makes the outcome


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"class": "RandomForestClasifier"}, "did you mean RandomForestClassifier"),
        ({"class": "os.system"}, "not on the list"),
        ({"class": "GaussianNB", "C": 0.5}, "C: a parameter of LogisticRegression"),
        ({"class": "GaussianNB", "params": [1]}, "params: Input should be a valid dictionary"),
    ],
)
def test_what_is_no_classifier_is_refused_by_name(tmp_path, given, said):
    import yaml

    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({**homes.GIVEN, "model": given}))
    with pytest.raises(params.ParamsError, match=said):
        params.load(path)


def test_a_parameter_that_the_class_does_not_have_is_named():
    with pytest.raises(UsageError, match="GaussianNB has no depth; it has priors, var_smoothing"):
        classifiers.build("GaussianNB", {"depth": 3}, 0)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A classifier of another package, which an operator has allowed."""
    (tmp_path / "stumps").mkdir()
    (tmp_path / "stumps" / "__init__.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\n\n\nclass Stump(DecisionTreeClassifier):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ATTRITION_CLASSIFIERS", "stumps:Stump")
    yield
    sys.modules.pop("stumps", None)


def test_an_operator_may_add_a_class_and_only_then_is_its_pickle_read(added, tmp_path, monkeypatch):
    portfolio = wanting("Stump", max_depth=1)
    pipeline = trained(portfolio)
    place, _ = deployed(tmp_path / "home", portfolio, pipeline)
    assert type(registry.load(place.models / "0002")[0]["classifier"]).__name__ == "Stump"
    assert Served.load(place).folded is None
    monkeypatch.delenv("ATTRITION_CLASSIFIERS")
    with pytest.raises(registry.ModelRefused, match=r"it names stumps\.Stump"):
        registry.load(place.models / "0002")


def test_an_added_package_opens_no_other(added):
    with pytest.raises(Exception, match=r"it names (posix|os)\.system"):
        pickles.load(b"cos\nsystem\n.")


def test_the_environment_must_name_module_and_class(monkeypatch):
    monkeypatch.setenv("ATTRITION_CLASSIFIERS", "lightgbm")
    with pytest.raises(UsageError, match="'lightgbm' is not module:Class"):
        classifiers.allowed()


# ---- Shapley values


def by_definition(risk, row, reference, features):
    """The mean over all orders of what each feature moves the logit by."""
    found, orders = np.zeros(features), list(itertools.permutations(range(features)))
    for order in orders:
        at = reference.copy()
        for feature in order:
            before = shapley.logits(risk(at[None]))[0]
            at[feature] = row[feature]
            found[feature] += (shapley.logits(risk(at[None]))[0] - before) / len(orders)
    return found


def pairwise(weights):
    """A risk whose logit has effects of single features and of pairs."""
    return lambda rows: 1 / (1 + np.exp(-np.clip(np.einsum("ni,ij,nj->n", rows, weights, rows), -6, 6)))


numbers = st.floats(-1, 1, allow_nan=False, width=32)


@given(st.lists(numbers, min_size=16, max_size=16), st.lists(numbers, min_size=8, max_size=8))
@settings(max_examples=60)
def test_where_at_most_two_features_interact_the_shares_are_the_shapley_values(weights, values):
    risk = pairwise(np.array(weights).reshape(4, 4) / 3)
    row, reference = np.array(values).reshape(2, 4)
    found = shapley.shares(risk, row[None], reference, range(4), 4)[0]
    assert found == pytest.approx(by_definition(risk, row, reference, 4), abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=40)
def test_shares_always_sum_to_the_logit_and_a_feature_as_usual_has_none(seed, rows):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(6, 6, 6))
    owners = [0, 0, 1, 2, 2, 3]  # some features have several terms, the last has none

    def risk(given):
        return 1 / (1 + np.exp(-np.clip(np.einsum("ni,nj,nk,ijk->n", given, given, given, weights), -9, 9)))

    clients, reference = rng.normal(size=(rows, 6)), rng.normal(size=6)
    clients[:, 2] = reference[2]  # the second feature is as it usually is
    found = shapley.shares(risk, clients, reference, owners, 5)
    moved = shapley.logits(risk(clients)) - shapley.logits(risk(reference[None]))
    assert found.sum(axis=1) == pytest.approx(moved, abs=1e-9)
    assert not found[:, [1, 4]].any()
    assert np.array_equal(found, shapley.shares(risk, clients, reference, owners, 5))


def test_many_rows_are_asked_for_in_parts(monkeypatch):
    asked = []

    def risk(given):
        asked.append(len(given))
        return np.full(len(given), 0.5)

    monkeypatch.setattr(shapley, "ROWS", 1000)
    shapley.shares(risk, np.zeros((100, 3)), np.zeros(3), range(3), 3)
    assert max(asked) <= 1000
    assert math.fsum(asked) == 100 * 4 * 2 * shapley.PAIRS


# ---- the whole way


def by_yaml(home, _folder):
    path = home.place("demo").params
    given = path.read_text().replace("class: LogisticRegression", "class: HistGradientBoostingClassifier")
    given = given.replace("# params: {max_iter: 200}", "  params: {max_iter: 30}  #")
    path.write_text(
        "".join(line for line in given.splitlines(True) if not line.startswith(("  C: ", "  max_iter: 1000")))
    )
    return {}


def by_one_cell(_home, folder):
    shutil.copytree(REPOSITORY / "notebooks", folder)
    path = folder / "30_train.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["30-02"].source += "\nfrom sklearn.ensemble import HistGradientBoostingClassifier"
    cells["30-08"].source = cells["30-08"].source.replace(
        "pipeline = chosen.pipeline",
        "pipeline = model.fit(stage.portfolio, train, HistGradientBoostingClassifier(max_iter=30, random_state=0))",
    )
    nbformat.write(notebook, path)
    return {"ATTRITION_NOTEBOOKS": str(folder)}


@pytest.mark.parametrize("way", [by_yaml, by_one_cell])
def test_boosting_comes_through_a_tick_to_the_api_with_reasons(way, tmp_path):
    home = Home(tmp_path / "home")
    place = home.place("demo")
    place.params.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / "params" / "demo.yaml", place.params)
    environment = way(home, tmp_path / "notebooks")
    assert here(home, "simulate").returncode == 0
    done = here(home, "tick", "demo", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    run = reports(place)[-1]["run"]
    pipeline, manifest = registry.load(place.models / "0001")
    assert type(pipeline["classifier"]).__name__ == "HistGradientBoostingClassifier"
    assert {entry["feature"] for entry in manifest.coefficients} == set(manifest.features)
    golden = manifest.golden.rows[0]
    with served(home) as url:
        body = json.dumps([golden]).encode()
        asked = urllib.request.Request(f"{url}/prediction?portfolio=demo&explain=3", body, {"Content-Type": JSON})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            (told,) = json.load(answer)["predictions"]
    assert told["probability"] == pytest.approx(manifest.golden.probabilities[0], abs=1e-9)
    portfolio, frame = params.load(place.params), registry.frame([golden], manifest)
    parts = model.contributions(pipeline, portfolio, frame, manifest.base, manifest.usual)
    assert told["reasons"] == model.reasons(portfolio, frame, parts, manifest.usual)[0]
    top = recorded(place, run, "70_assess")["top"]
    assert all("odds of leaving ×" in client["reasons"] for client in top[:10])


def test_the_guide_lists_the_classes_that_there_are():
    text = (REPOSITORY / "docs" / "notebooks.md").read_text()
    listed = text.partition("`class` is one of")[2].partition("`params` are")[0]
    assert set(re.findall(r"\b([A-Z]\w+)(?=[ ,.(])", listed)) >= set(classifiers.NAMES)
