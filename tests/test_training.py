"""Rows on files are the rows in memory, and what is learnt and said of them at scale is what would be said of few."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import COLUMNS, Client, history, portfolio

from attrition import engine, model, scoring, training
from attrition.store import batches, evidence
from attrition.store.clients import Clients
from attrition.store.training import HELD_BACK, at_scale, prepare

PLAIN = {name: value for name, value in COLUMNS.items() if name != "day"} | {"called": {"type": "boolean"}}
NAMED = COLUMNS | {"called": {"type": "boolean"}}

clients = st.tuples(
    st.sampled_from(["ann", "bob", "c d", "dan"]),
    st.sampled_from(["2026-01-31", "2026-02-28"]),
    st.sampled_from([0, 1, None]),
    st.none(),
)


def shapes(name):
    """A portfolio with a client and a day, with a client alone, and without either."""
    return {
        "client and day": portfolio(columns=NAMED, model={"scale_rows": 1}),
        "client": portfolio(columns=NAMED, as_of=None, model={"scale_rows": 1}),
        "neither": portfolio(columns=NAMED, id=None, as_of=None, model={"scale_rows": 1}),
    }[name]


@pytest.mark.parametrize("shape", ["client and day", "client", "neither"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=st.lists(st.lists(clients, max_size=6), min_size=1, max_size=3))
def test_files_hold_what_can_be_learnt_from(tmp_path_factory, shape, versions):
    folder, given = tmp_path_factory.mktemp("clients"), shapes(shape)
    history(folder / "clients", given, versions)
    store = Clients(given, folder / "clients")
    wanted = evidence.trainable(store)
    files = prepare(store, folder / "training")
    found = files.frame("true", 1000)
    names = [*given.features, "left", "_row", "_key", "_counted"]
    assert found.columns.tolist() == names
    pd.testing.assert_frame_equal(
        found.sort_values("_row", ignore_index=True)[names], wanted.sort_values("_row", ignore_index=True)[names]
    )
    assert (files.rows, files.left) == (len(wanted), wanted["left"].sum())
    assert found["_counted"].is_monotonic_increasing
    if len(wanted) > 1:
        _, held, mark = model.split(given, wanted)
        assert files.mark(model.held_back(given, len(wanted))) == mark
        assert set(files.frame(f"{HELD_BACK} <= '{mark}'", 1000)["_row"]) == set(held["_row"])
    files.remove()
    assert not files.folder.exists()


def test_who_is_called_or_waits_keeps_to_memory(tmp_path):
    for one in (
        portfolio(columns=NAMED, treated="called", model={"scale_rows": 1}),
        portfolio(columns=NAMED, horizon="30d", model={"scale_rows": 1}),
    ):
        history(tmp_path / str(one.horizon), one, [[("ann", "2026-01-31", 1, None)]])
        assert not at_scale(Clients(one, tmp_path / str(one.horizon)))


@dataclass
class Place:
    scores: Path


@dataclass
class Stage:
    """What `attrition.training` asks of a stage."""

    portfolio: object
    staging: Path
    place: Place


def test_outcomes_that_wait_for_their_horizon_are_told(tmp_path):
    given = portfolio(horizon="30d")
    stage = Stage(given, tmp_path, Place(tmp_path / "scores"))
    rows = [(f"c{number}", "2026-01-31", number % 2, None) for number in range(40)]
    history(tmp_path / "clients", given, [rows])
    said = training.enough(stage, Clients(given, tmp_path / "clients"))
    assert said.startswith("0 clients with an outcome to train on")
    assert "; 40 more are known but wait until 30 days after their as-of date have passed" in said
    history(
        tmp_path / "later", given, [rows, [("new", "2026-03-31", None, None)], [("newer", "2026-03-31", None, None)]]
    )
    assert training.enough(stage, Clients(given, tmp_path / "later")) is None


def many(n, seed=1):
    """Versions of one row a client; those who left are told apart by nothing but chance and their number."""
    rng = np.random.default_rng(seed)
    left = rng.random(n) < np.where(np.arange(n) % 400 < 200, 0.15, 0.6)
    rows: list[Client] = [(f"c{i}", date(2026, 1, 1).isoformat(), int(gone), None) for i, gone in enumerate(left)]
    return [rows[: n // 2], rows[n // 2 :]]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    few = portfolio(columns=NAMED)
    history(folder / "clients", few, many(4000))
    large = few.model_copy(update={"model": few.model.model_copy(update={"scale_rows": 1000})})
    return folder, Clients(few, folder / "clients"), Clients(large, folder / "clients")


def learnt(folder, store, champion=None, before=None):
    stage = Stage(store.portfolio, folder, Place(folder / "scores"))
    rows = training.rows(stage, store, before)
    tried = training.tried(stage, rows, champion, before, 0)
    return rows, tried


def test_a_first_model_at_scale_is_the_one_in_memory(tmp_path, store):
    _, few, large = store
    (one, tried), (other, at) = learnt(tmp_path / "few", few), learnt(tmp_path / "large", large)
    assert one.files is None
    assert other.files is not None
    assert (one.known, one.left, one.newest, one.mark) == (other.known, other.left, other.newest, other.mark)
    assert set(one.held["_row"]) == set(other.held["_row"])
    assert (tried[0].name, tried[0].words, tried[0].rows) == (at[0].name, at[0].words, at[0].rows)
    frame = few.frame()
    np.testing.assert_allclose(
        model.probabilities(tried[0].pipeline, frame), model.probabilities(at[0].pipeline, frame), atol=1e-5
    )
    assert not (tmp_path / "large" / "training").exists()


@pytest.mark.parametrize("name", ["all", "weighted", "recent", "offset"])
def test_a_chosen_way_is_fitted_on_all_its_rows(tmp_path, monkeypatch, store, name):
    _, few, large = store
    monkeypatch.setattr(training, "FEW", 600)
    champion = model.fit(few.portfolio, few.frame(to_version=1))
    before = type("Manifest", (), {"data_version": 1})
    change = 2
    chosen = {}
    for key, each in (("few", few), ("large", large)):
        stage = Stage(each.portfolio, tmp_path / key, Place(tmp_path / "scores"))
        rows = training.rows(stage, each, before)
        found = training.candidates.tried(each.portfolio, rows.frame, champion, 1, change)
        one = next(candidate for candidate in found if candidate.name == name)
        chosen[key] = one if key == "few" else training._on_all(stage, rows, one, 1, change - 1)
    frame = few.frame()
    risks = [model.probabilities(chosen[key].pipeline, frame) for key in ("few", "large")]
    if name == "offset":  # an old model that is mended on a part
        assert chosen["large"].words != chosen["few"].words
        np.testing.assert_allclose(*risks, atol=0.1)
    else:
        assert (chosen["large"].words, chosen["large"].rows) == (chosen["few"].words, chosen["few"].rows)
        np.testing.assert_allclose(*risks, atol=1e-5 if name != "weighted" else 0.02)


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("shape", ["client and day", "client", "neither"])
def test_batches_are_the_current_clients(tmp_path, monkeypatch, shape, after):
    given = shapes(shape)
    first = [("ann", "2026-01-31", 1, None), ("bob", "2026-02-28", 0, None), ("eve", "2026-02-28", None, None)]
    history(tmp_path / "clients", given, [first, [("ann", "2026-02-28", 0, None), ("bob", "2026-01-31", 1, None)]])
    store = Clients(given, tmp_path / "clients")
    monkeypatch.setattr(batches, "ROWS", 2)
    paths = list(batches.batches(store, tmp_path / "batches", after_version=after))
    found = [batches.read_batch(given, path) for path in paths]
    wanted = store.current(after_version=after)
    assert [len(frame) for frame in found] == [min(2, len(wanted) - at) for at in range(0, len(wanted), 2)]
    if found:
        pd.testing.assert_frame_equal(pd.concat(found, ignore_index=True), wanted)


def test_scores_of_batches_are_those_of_all(tmp_path, monkeypatch, store):
    _, few, _ = store
    pipeline = model.fit(few.portfolio, few.frame())
    frame = few.frame()
    facts = {"version": "0001", "base": model.baseline(pipeline, frame), "usual": model.usual(few.portfolio, frame)}
    manifest = type("Manifest", (), facts)
    monkeypatch.setattr(batches, "ROWS", 900)
    found = scoring.assess(few, pipeline, manifest, tmp_path / "scored", after_version=0, run="r")
    assert (found.rows, found.histogram.sum(), len(found.files)) == (4000, 4000, 5)
    rows = pd.concat(map(_read, found.files)).sort_values("_row")
    np.testing.assert_allclose(rows["probability"], model.probabilities(pipeline, frame), atol=1e-12)
    assert rows["id"].tolist() == frame["client"].tolist()
    parts = model.contributions(pipeline, few.portfolio, frame, manifest.base)
    wanted = model.reasons(few.portfolio, frame, parts, manifest.usual)
    assert [list(each) for each in rows["reasons"]] == wanted


def _read(path):
    return duckdb.connect().execute("SELECT * FROM read_parquet($path)", {"path": str(path)}).df()


def test_the_engine_of_the_portfolio_scores(tmp_path, monkeypatch, store):
    _, few, _ = store
    asked = []

    class Noted(engine.Here):
        def map(self, function, tasks, *, ordered=True):
            asked.append(function)
            return super().map(function, tasks)

    monkeypatch.setattr(engine, "of", lambda portfolio: Noted())
    pipeline = model.fit(few.portfolio, few.frame())
    facts = {"version": "0001", "base": model.baseline(pipeline, few.frame()), "usual": {}}
    scoring.assess(few, pipeline, type("Manifest", (), facts), tmp_path / "scored", after_version=0, run="r")
    assert asked == [scoring.score]
