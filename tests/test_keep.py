"""Keeping a home for years: pruned, its pages written anew, runs replayed, stages tried."""

import errno
import json
import os
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from keep_kit import FIRST, LINES, copied, lay, names, ticked
from pipeline_kit import reports, tree

from attrition import (
    pruning,
    site,
)
from attrition.book import Book
from attrition.home import Home
from runner import main, tick


@pytest.fixture
def home(lived, tmp_path, monkeypatch):
    return copied(lived, tmp_path / "home", monkeypatch)


@pytest.fixture
def place(home):
    return home.place("telco")


# ---- prune


def test_what_is_old_and_unneeded_goes_and_lists_stay_right(place):
    runs = names(place)
    assert main(["prune", "telco", "--days", "0", "--keep", "1"]) == 0
    pruned = [report["run"] for report in reports(place) if "pruned" in report]
    assert pruned == [runs[2]]
    assert not (place.taken / runs[2]).exists()
    for run in pruned:
        assert sorted(path.name for path in (place.executed / run).iterdir()) == sorted(
            name for name in pruning.KEPT if (place.executed / run / name).exists()
        )
        assert "Pruned on" in (place.executed / run / "index.html").read_text()
        assert "20_monitor.html" not in (place.executed / run / "index.html").read_text()
    for path in place.executed.glob("runs-*.html"):
        for run in runs:
            assert run in path.read_text()
    ticked(Home(place.root), FIRST + timedelta(days=9), describe=True)


def test_nothing_goes_that_a_model_or_the_newest_run_needs(place):
    main(["prune", "telco", "--days", "0", "--keep", "0"])
    with Book.open(place.book) as book:
        state = book.state()
        makers = {model["run"] for model in book.models() if (place.models / model["version"]).exists()}
        deployed = book.deployments(1)[0]["run"]
    kept = {report["run"] for report in reports(place) if "pruned" not in report}
    assert makers | {deployed, names(place)[-1]} <= kept
    assert (place.models / state.champion / "model.pkl").exists()
    assert (place.models / f"{state.versions:04d}" / "manifest.json").exists()


def test_nothing_is_pruned_where_the_first_tick_was_killed_early(home, place, capsys):
    shutil.rmtree(place.executed)
    place.book.unlink()
    with Book.open(place.book):  # and no run has begun
        pass
    assert main(["prune", "telco"]) == 0
    assert "0 runs, 0 models" in capsys.readouterr().out


def test_a_dry_run_removes_nothing(place, capsys):
    before = tree(place.root)
    assert main(["prune", "telco", "--days", "0", "--keep", "0", "--dry-run"]) == 0
    after = tree(place.root)
    assert {k: v for k, v in before.items() if "/lock" not in k} == {k: v for k, v in after.items() if "/lock" not in k}
    assert "would be freed" in capsys.readouterr().out


def test_while_a_model_does_not_say_which_one_it_needs_no_model_goes(place, capsys):
    with Book.open(place.book) as book:
        version = book.state().champion
    plan = ["prune", "telco", "--days", "0", "--keep", "0"]
    (place.models / version / "manifest.json").write_text("{")
    before = sorted(path.name for path in place.models.iterdir())
    assert main(plan) == 0
    assert f"no model goes: {place.models / version} does not say" in capsys.readouterr().out
    assert sorted(path.name for path in place.models.iterdir()) == before


def test_a_pruning_that_was_cut_short_is_finished_by_the_next(place, monkeypatch):
    class Cut(Exception):
        pass

    def cut(*_):
        raise Cut

    monkeypatch.setattr(pruning.safe, "remove", cut)
    main(["prune", "telco", "--days", "0", "--keep", "0"])
    monkeypatch.undo()
    os.environ["ATTRITION_HOME"] = str(place.root)
    try:
        main(["prune", "telco", "--days", "0", "--keep", "0"])
        with Book.open(place.book) as book:
            assert not pruning.plan(place, book, datetime.now(UTC), days=0, keep=0).runs
    finally:
        del os.environ["ATTRITION_HOME"]


# ---- pages


@pytest.mark.parametrize("cut", ["the first list removed", "before the lists", "first list", "second list"])
def test_what_a_writing_of_all_pages_left_undone_the_next_tick_does(home, place, monkeypatch, cut):
    lay(place, 5, LINES[:5])  # nothing new: the lists stay those of the run before
    ticked(home, FIRST + timedelta(days=4))
    assert main(["pages", "telco"]) == 0
    before = tree(place.executed)
    lists = sorted(name for name in before if re.fullmatch(r"clients/.*\.html", name))
    assert len(lists) > 2
    real, remove, begun = site._put, type(place.executed).unlink, []

    def put(place, address, page):
        begun.append(address)
        if cut == "before the lists" or sum(each in lists for each in begun) > ["first list", "second list"].index(cut):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(place, address, page)

    def unlink(path, **given):
        remove(path, **given)
        if path.parent.name == "clients":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        if cut == "the first list removed":
            patch.setattr(type(place.executed), "unlink", unlink)
        else:
            patch.setattr(site, "_put", put)
        assert main(["pages", "telco"]) == 1
    assert not set(lists) <= set(tree(place.executed))
    assert tick(home, "telco") == 0
    after = tree(place.executed)
    assert set(after) == set(before)
    assert after["history.json"] == before["history.json"]


def test_a_notebook_that_is_damaged_keeps_its_page(place):
    path = place.executed / names(place)[1] / "20_monitor.ipynb"
    path.write_text(path.read_text()[:200])
    page = path.with_suffix(".html").read_text()
    assert main(["pages", "telco"]) == 0
    assert path.with_suffix(".html").read_text() == page


# ---- replay


def test_a_run_that_trains_and_one_that_holds_come_out_the_same(place, capsys):
    before = tree(place.root)
    for run in names(place)[1:3]:
        assert main(["replay", "telco", run, "--json"]) == 0, capsys.readouterr().out
        found = json.loads(capsys.readouterr().out)
        assert found["same"]
        assert not found["lost"]
        assert sum(stage["compared"] for stage in found["stages"]) > 20
    assert tree(place.root) == before


def test_a_record_or_a_coefficient_that_was_changed_comes_out_otherwise(place, capsys):
    run = names(place)[1]
    path = place.executed / run / "20_monitor.ipynb"
    path.write_text(path.read_text().replace('"n": 200', '"n": 201', 1).replace('"n": 2', '"n": 3', 1))
    path = place.models / "0002" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["coefficients"][0]["coefficient"] += 1e-9
    path.write_text(json.dumps(manifest))
    assert main(["replay", "telco", run, "--json"]) == 1
    found = {each["stage"]: each["differences"] for each in json.loads(capsys.readouterr().out)["stages"]}
    assert found["monitor"]
    assert any("coefficients" in line for stage, lines in found.items() if stage != "monitor" for line in lines)
    assert not found["assess"]


# ---- try


def test_the_stages_as_edited_beside_production_and_nothing_of_it_is_touched(place, tmp_path, monkeypatch, capsys):
    before = tree(place.root)
    assert main(["try", "telco", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    same = found["runs"][0]
    assert same["production"] == same["now"]
    assert found["moves"]["moved"] == 0
    assert tree(place.root) == before


def test_another_model_moves_ranks(place, capsys):
    place.params.write_text(place.params.read_text().replace("learning_rows: 100", "learning_rows: 100, C: 0.0001"))
    assert main(["try", "telco", "--last", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 4
    assert [each["now"]["decision"] for each in found["runs"]] == [report["decision"] for report in reports(place)]
    assert found["moves"]["moved"] > 0
