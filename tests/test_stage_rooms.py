"""What the notebooks of 60, 70 and 80 compute through the package."""

import json
import os
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import ranked

from attrition import assessment, dependencies, diagnosis, look, params, record
from attrition.home import REPOSITORY
from attrition.model import BASE
from attrition.provenance import git_commit

NONE = Path("/no/ranking/yet")
DEMO = params.load(REPOSITORY / "params" / "demo.yaml")


def executed(path, name, data):
    body = {"name": name, "data": data, "encoder": "json", "version": 1}
    path.write_text(json.dumps({"cells": [{"outputs": [{"data": {record.MIME: body}}]}]}))
    return str(path)


@pytest.mark.parametrize(("hours", "kept"), [(1, True), (23, True), (25, False), (-1, False)])
def test_what_is_asked_once_a_day_is_kept_for_a_day(tmp_path, hours, kept):
    now = datetime(2026, 3, 29, 2, 30, tzinfo=UTC)
    previous = executed(
        tmp_path / "60_diagnose.ipynb", "summary", diagnosis.dated({}, now - timedelta(hours=hours), data_version=1)
    )
    assert (diagnosis.once_a_day(previous, "summary", now) is not None) == kept
    assert diagnosis.once_a_day(previous, "dependencies", now) is None


def test_an_earlier_notebook_that_is_gone_or_damaged_is_no_reason_to_fail(tmp_path):
    (tmp_path / "torn.ipynb").write_text('{"cells": [')
    for previous in ("", str(tmp_path / "gone.ipynb"), str(tmp_path / "torn.ipynb")):
        assert diagnosis.once_a_day(previous, "summary", datetime.now(UTC)) is None


def test_the_column_with_most_missing_comes_first():
    store = {"columns": {"a": {"missing": 0.1}, "b": {"missing": 0.2}}}
    assert [row["column"] for row in diagnosis.missing(store, {"rows": 0, "columns": {}})] == ["b", "a"]
    new = {"rows": 5, "columns": {"a": {"missing": 0.9}, "b": {"missing": 0.0}}}
    assert diagnosis.missing(store, new)[0] == {"column": "a", "store": 0.1, "new": 0.9}


def test_reasons_that_are_not_the_models_are_refused():
    parts = np.array([[0.5, -0.2], [1.0, 2.0]])
    risks = 1 / (1 + np.exp(-(parts.sum(axis=1) - 1.0)))
    assessment.check_sum(parts, {BASE: -1.0}, risks)
    with pytest.raises(AssertionError, match=r"miss the model's logit by 1\.0e-08"):
        assessment.check_sum(parts, {BASE: -1.0 + 1e-8}, risks)
    assessment.check_sum(np.empty((0, 2)), {BASE: 0.0}, np.empty(0))


def assessed(*clients, model="0001"):
    """A frame for the ranking: (row, id, probability) a client."""
    rows = pd.DataFrame(clients, columns=["_row", "id", "probability"])
    facts = {"as_of": pd.NaT, "data_version": 1, "model_version": model, "run": "r", "band": "low", "owner": "Dana"}
    return rows.assign(**facts, reasons=[["one", "two"]] * len(rows))


def ranking(folder, name="ranking.parquet", first="rank"):
    found = f"SELECT {first}, id, probability FROM read_parquet($path) ORDER BY {first}"
    return duckdb.connect().execute(found, {"path": str(folder / name)}).fetchall()


def test_a_client_assessed_again_takes_the_place_of_its_earlier_line(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir(), second.mkdir()
    ranked(assessed((1, "a", 0.9), (2, "b", 0.5), (3, "c", 0.1)), first, NONE)
    ranked(assessed((4, "c", 0.7), (5, "d", 0.6)), second, first / "ranking.parquet")
    assert ranking(second) == [(1, "a", 0.9), (2, "c", 0.7), (3, "d", 0.6), (4, "b", 0.5)]
    assert [each[:2] for each in ranking(second, "assessed.parquet")] == [(2, "c"), (3, "d")]
    assert [each[:2] for each in ranking(second, "scores.parquet", "_row")] == [(4, "c"), (5, "d")]


def test_a_run_without_clients_to_assess_leaves_the_ranking_as_it_was(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir(), second.mkdir()
    ranked(assessed((1, "a", 0.9)), first, NONE)
    ranked(assessed(), second, first / "ranking.parquet")
    assert ranking(second, "assessed.parquet") == []
    assert ranking(second, first="owner") == ranking(first, first="owner")
    assert ranking(second) == ranking(first)


@given(st.lists(st.tuples(st.text(max_size=5), st.floats(0, 1)), max_size=20, unique_by=lambda each: each[0]))
def test_ranks_are_1_to_n_by_falling_risk(tmp_path_factory, clients):
    folder = tmp_path_factory.mktemp("ranking")
    rows = [(number, client, risk) for number, (client, risk) in enumerate(clients)]
    ranked(assessed(*rows), folder, NONE)
    found = ranking(folder)
    assert [rank for rank, *_ in found] == list(range(1, len(clients) + 1))
    assert [risk for *_, risk in found] == sorted((risk for _, risk in clients), reverse=True)


def test_a_ranking_of_before_there_were_trails_is_gone_on_from(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
    ranked(assessed((1, "a", 0.9), (2, "b", 0.5)).assign(as_of=pd.Timestamp("2026-01-01")), tmp_path / "1", NONE)
    old = tmp_path / "old.parquet"
    columns = "* EXCLUDE (change, change_since, trail)"
    duckdb.connect().execute(f"COPY (SELECT {columns} FROM '{tmp_path / '1' / 'ranking.parquet'}') TO '{old}'")
    ranked(assessed((3, "a", 0.7)).assign(as_of=pd.Timestamp("2026-01-08")), tmp_path / "2", old)
    query = f"SELECT id, round(change, 9) FROM '{tmp_path / '2' / 'ranking.parquet'}' ORDER BY id"
    assert duckdb.connect().sql(query).fetchall() == [("a", -0.2), ("b", None)]


DAYS = st.lists(
    st.tuples(st.integers(0, 9), st.sets(st.sampled_from("abc"), min_size=1), st.booleans()), min_size=1, max_size=8
)


@settings(max_examples=30)
@given(DAYS)
def test_the_change_is_what_all_that_was_ever_scored_would_give(tmp_path_factory, ticks):
    """Against the plain way: the newest risk of a day that is a week older at least, of all days' last ones."""
    folder = tmp_path_factory.mktemp("changes")
    history, previous, day, expected, risk = {name: {} for name in "abc"}, NONE, pd.Timestamp("2026-01-01"), {}, 0.0
    for number, (days, names, anew) in enumerate(ticks):
        day += pd.Timedelta(days=days)
        named = sorted({*names, *(expected if anew else ())})
        rows = []
        for name in named:
            risk += 0.001
            rows.append((number * 3 + len(rows) + 1, name, risk))
            old = {at: was for at, was in history[name].items() if at <= day - pd.Timedelta(days=7)}
            expected[name] = (risk - old[max(old)], max(old)) if old else (None, None)
            history[name][day] = risk
        staging = folder / str(number)
        staging.mkdir()
        ranked(assessed(*rows).assign(as_of=day), staging, previous, anew=anew)
        previous = staging / "ranking.parquet"
        found = duckdb.connect().execute(
            "SELECT id, change, change_since, len(trail) FROM read_parquet(?)", [str(previous)]
        )
        lines = {name: (change, since, kept) for name, change, since, kept in found.fetchall()}
        assert lines.keys() == expected.keys()
        for name, (change, since) in expected.items():
            assert lines[name][:2] == (pytest.approx(change), since and since.date())
            assert (lines[name][2] or 0) <= 7, "what is kept does not grow"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index in a folder, that pip asks; with every library that the project names, as release 999."""
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/simple")
    for row in dependencies.table(None):
        name = row["name"].replace("-", "_")
        folder = tmp_path / "simple" / row["name"]
        folder.mkdir(parents=True)
        wheel = f"{name}-999-py3-none-any.whl"
        (folder / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
        with zipfile.ZipFile(folder / wheel, "w") as file:
            for part, text in (
                ("METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 999\n"),
                ("WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
                ("RECORD", ""),
            ):
                file.writestr(f"{name}-999.dist-info/{part}", text)
    return tmp_path


@pytest.fixture
def started():
    """What this process has started since and is still there; other tests may have started what lasts."""
    before = psutil.Process().children()
    return lambda: [child for child in psutil.Process().children() if child not in before]


def test_the_index_is_asked_once_a_day(index, started):
    answers = index / "cache" / "newest.json"
    assert dependencies.newest(answers) is None
    with dependencies.asking(answers):
        assert psutil.wait_procs(started(), timeout=60)[1] == []
    at, known = dependencies.newest(answers)
    assert datetime.now(UTC) - at < timedelta(minutes=5)
    assert {row["newest"] for row in dependencies.table(known)} == {"999"}
    with dependencies.asking(answers):
        assert started() == []
    os.utime(answers.with_suffix(".asked"), (0, 0))
    answers.write_text(json.dumps({"at": "2026-01-01T00:00:00+00:00", "newest": {}}))
    with dependencies.asking(answers):
        assert len(started()) == 1
    assert started() == []


def test_an_index_that_cannot_be_reached_reads_not_checked_and_is_left_alone_for_an_hour(index, monkeypatch, started):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    answers = index / "newest.json"
    with dependencies.asking(answers):
        assert psutil.wait_procs(started(), timeout=60)[1] == []
    assert dependencies.newest(answers) is None
    assert {row["newest"] for row in dependencies.table(None)} == {dependencies.NOT_CHECKED}
    with dependencies.asking(answers):
        assert started() == []


def test_what_is_installed_is_what_is_locked():
    rows = {row["name"]: row for row in dependencies.table(None)}
    assert {"papermill", "scikit-learn", "duckdb", "flask"} <= rows.keys()
    assert not rows.keys() & {"pytest", "jupyterlab"}
    assert all(row["installed"] == row["locked"] for row in rows.values()), rows


def test_a_commit_is_read_without_git(tmp_path):
    assert git_commit(tmp_path) is None
    git = tmp_path / ".git"
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(tmp_path) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{'b' * 40} refs/heads/main\n")
    assert git_commit(tmp_path) == "b" * 40
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "refs" / "heads" / "main").write_text("a" * 40 + "\n")
    assert git_commit(tmp_path) == "a" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert git_commit(tmp_path) == "c" * 40


def test_tables_say_when_there_is_nothing():
    assert look.table([], "name") == "none"
    assert look.metric_table({"x": None}).loc["rows", "x"] == "no rows"
    assert "no model" in assessment.call_list(DEMO, [])
