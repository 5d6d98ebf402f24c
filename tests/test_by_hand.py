"""What a person does by hand: a stage once more, other values, a look into a run, a stage of one's own."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from pipeline_kit import BARE, CAPSTONE, capstone, drop, here, notebooks, recorded, reports, statuses, tree

from attrition import overrides, registry
from attrition.book import Book
from attrition.home import REPOSITORY, Home
from attrition.params import ParamsError


@pytest.fixture(scope="module")
def ticked(tmp_path_factory):
    home = capstone(tmp_path_factory.mktemp("ticked"), "practicedata")
    done = here(home, "tick", "capstone")
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def home(ticked, tmp_path):
    copy = Home(tmp_path / "home")
    shutil.copytree(ticked.root, copy.root)
    return copy


def kept(home) -> dict:
    """What only a commit may change."""
    everything = tree(home.root / "data") | tree(home.root / "models")
    return {name: content for name, content in everything.items() if not name.endswith(("book.db", "lock"))}


def state(home):
    """What only a commit may change, but for that any look at a new YAML says so."""
    with Book.open(home.place("capstone").book, read_only=True) as book:
        return {**vars(book.state()), "sequence": None, "runs": None, "params_sha256": None}


def test_a_stage_once_more_is_a_manual_run_that_commits_nothing(home, tmp_path):
    before, stood = kept(home), state(home)
    place = home.place("capstone")
    edited = notebooks(tmp_path / "notebooks")
    train = next(edited.glob("*_train.ipynb"))
    train.write_text(train.read_text().replace('"look.theme()"', '"look.theme()\\nprint(3, 4)"'))
    done = here(home, "tick", "capstone", "--only", "train", ATTRITION_NOTEBOOKS=str(edited))
    assert done.returncode == 0, done.stderr
    first, report = reports(place)
    assert statuses(report) == {
        **dict.fromkeys(("ingest", "monitor"), "reused"),
        "train": "completed",
        **dict.fromkeys(("score", "deploy", "diagnose", "assess", "report"), "skipped"),
    }
    assert (report["manual"], report["decision"], report["based_on"]) == (True, None, first["run"])
    assert "train [4] 3 4" in done.stdout
    assert "30_train.html" in done.stdout
    assert (kept(home), state(home)) == (before, stood)
    assert (
        recorded(place, report["run"], "30_train")["holdback"] == recorded(place, first["run"], "30_train")["holdback"]
    )
    assert "(manual)" in here(home, "runs", "capstone").stdout


def test_from_a_stage_on_executes_those_after_it_too(home):
    before, stood = kept(home), state(home)
    place = home.place("capstone")
    assert here(home, "tick", "capstone", "--from", "score").returncode == 0
    report = reports(place)[1]
    assert [line["status"] for line in report["stages"]] == ["reused"] * 3 + ["completed"] * 5
    assert (kept(home), state(home)) == (before, stood)
    assert json.loads((place.executed / "latest.json").read_text())["run"] != report["run"]


def test_with_commit_it_is_a_tick_that_trains(home):
    assert here(home, "tick", "capstone", "--from", "train", "--commit").returncode == 0
    assert state(home)["versions"] == 2


def test_from_what_describes_with_commit_scores_all_clients_anew(home):
    place = home.place("capstone")
    before = state(home)
    assert here(home, "tick", "capstone", "--from", "assess", "--commit").returncode == 0
    report = reports(place)[1]
    done = {name for name, status in statuses(report).items() if status == "completed"}
    assert (done, report["manual"]) == ({"diagnose", "assess", "report"}, False)
    again, first = (recorded(place, each["run"], "70_assess") for each in (report, reports(place)[0]))
    assert again["bands"] == first["bands"]
    assert state(home) == before
    assert json.loads((place.executed / "latest.json").read_text())["assess"] == report["run"]


@pytest.fixture(scope="module")
def broken_off(ticked, tmp_path_factory):
    """The home after a training that was asked for, which failed as its model was to be deployed."""
    folder = tmp_path_factory.mktemp("broken_off")
    home = Home(folder / "home")
    shutil.copytree(ticked.root, home.root)
    drop(home.place("capstone"), *sorted((CAPSTONE / "sourcedata").iterdir()))
    broken = notebooks(folder / "broken", deploy="raise RuntimeError('by chance')")
    assert here(home, "tick", "capstone", "--force", ATTRITION_NOTEBOOKS=str(broken)).returncode == 1
    return home


@pytest.fixture
def failed(broken_off, tmp_path):
    copy = Home(tmp_path / "home")
    shutil.copytree(broken_off.root, copy.root)
    return copy


def test_resume_takes_over_what_had_completed_with_the_same_data_and_wish_whatever_came_since(failed):
    place = failed.place("capstone")
    drop(place, *sorted((CAPSTONE / "testdata").iterdir()))
    assert here(failed, "tick", "capstone", "--only", "train").returncode == 0
    assert here(failed, "tick", "capstone", "--resume").returncode == 0
    _, broken, _, resumed = reports(place)
    told = statuses(resumed)
    assert (statuses(broken)["score"], statuses(broken)["deploy"]) == ("completed", "failed")
    assert [told[stage] for stage in ("ingest", "monitor", "train", "score", "deploy")] == [
        *("skipped", "reused", "reused", "reused", "completed"),
    ]
    assert resumed["data_version"] == broken["data_version"]
    assert len([path for path in place.incoming.iterdir() if path.suffix != ".done"]) > 0
    assert state(failed)["versions"] == 2
    assert registry.read_manifest(place.models / "0002").run == broken["run"]


@pytest.mark.parametrize("by", ["the command line", "the file"])
def test_stages_that_had_other_parameters_are_not_taken_over(failed, by):
    place = failed.place("capstone")
    if by == "the file":
        place.params.write_text(place.params.read_text() + "\nmodel: {C: 0.5}\n")
    words = ("-p", "model.C", "0.5") if by == "the command line" else ()
    done = here(failed, "tick", "capstone", "--resume", *words)
    assert (done.returncode, "it had other parameters" in done.stdout) == (0, True), done.stderr
    assert statuses(reports(place)[-1])["train"] == "completed"
    assert registry.read_manifest(place.models / "0002").params["C"] == 0.5


def test_a_stage_once_more_with_another_value(home):
    place = home.place("capstone")
    before, stood = kept(home), state(home)
    assert here(home, "tick", "capstone", "--only", "train", "-p", "model.C", "0.25").returncode == 0
    tried = place.executed / reports(place)[-1]["run"]
    assert registry.read_manifest(tried / "model").params["C"] == 0.25
    assert (kept(home), state(home)) == (before, stood)


def test_a_stage_that_was_edited_is_not_taken_over_nor_what_came_of_it(failed, tmp_path):
    edited = notebooks(tmp_path / "edited")
    train = next(edited.glob("*_train.ipynb"))
    train.write_text(train.read_text().replace("time.monotonic()", "time.monotonic() "))
    assert here(failed, "tick", "capstone", "--force", "--resume", ATTRITION_NOTEBOOKS=str(edited)).returncode == 0
    told = statuses(reports(failed.place("capstone"))[2])
    assert (told["monitor"], told["train"], told["score"]) == ("reused", "completed", "completed")


def test_values_of_the_command_line_hold_for_one_run(home):
    place = home.place("capstone")
    done = here(home, "tick", "capstone", "--force", "-p", "model.C", "0.25", "-p", "title", "2")
    assert done.returncode == 0, done.stderr
    report = reports(place)[1]
    assert report["manual"]
    assert registry.read_manifest(place.models / "0002").params["C"] == 0.25
    said = yaml.safe_load((place.executed / report["run"] / "params" / "capstone.yaml").read_text())
    assert (said["model"]["C"], said["title"]) == (0.25, "2")
    assert yaml.safe_load(place.params.read_text()).get("model", {}).get("C") != 0.25


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("thresold", "0.5", "did you mean threshold"),
        ("model.D", "0.5", "unknown key"),
        ("top", "many", "valid integer"),
        ("top", "1.5", "valid integer"),
        ("bands.high", "2", "less than 1"),
        ("bands", "2", "more than one value"),
        ("columns", "x", "more than one value"),
        ("name", "x", "unknown key"),
        ("top", "[", "no value"),
        ("bands.medium", "0.9", "below high"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_told(key, value, says):
    with pytest.raises(ParamsError, match=says):
        overrides.changed(REPOSITORY / "params" / "demo.yaml", [(key, value)])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "dance"), "no stage 'dance'"),
        (("--only", "ingest"), "takes drops in"),
        (("--from", "score", "--commit"), "judged on the newest rows, once"),
        (("--only", "train", "--force"), "no --force"),
        (("--commit",), "goes with"),
        (("--resume",), "nothing to resume"),
        (("-p", "top", "many"), "valid integer"),
        (("-p", "top", "9" * 5000), "is no value"),
    ],
)
def test_what_does_not_go_together_starts_nothing(ticked, words, says):
    before = len(reports(ticked.place("capstone")))
    done = here(ticked, "tick", "capstone", *words)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert len(reports(ticked.place("capstone"))) == before


def test_a_stage_is_opened_with_its_parameters_and_touches_nothing(home, tmp_path):
    place = home.place("capstone")
    run = reports(place)[0]["run"]
    for stage in ("ingest", "train"):
        done = here(home, "open", "capstone", run, stage)
        assert done.returncode == 0, done.stderr
        path = done.stdout.strip().partition("jupyter lab ")[2]
        before = kept(home)
        output = tmp_path / f"{stage}.ipynb"
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3", path, str(output)]
        subprocess.run(command, env={**BARE, "HOME": str(tmp_path)}, cwd=tmp_path, check=True, capture_output=True)
        assert kept(home) == before
        again, then = (
            [scrap for cell in nbformat.read(each, as_version=4).cells for scrap in cell.get("outputs", ())]
            for each in (output, place.executed / run / f"{'10' if stage == 'ingest' else '30'}_{stage}.ipynb")
        )
        assert len(again) == len(then)
        assert again[0].get("data") == then[0].get("data")
    assert here(home, "open", "capstone", run, "train").returncode == 2
    assert "did not execute 'dance'" in here(home, "open", "capstone", run, "dance").stderr


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository, to be changed."""
    copy = tmp_path / "repository"
    for name in ("attrition", "notebooks", "tests", "params"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("runner.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, copy)
    return copy


def ran_in(copy, *words, **environment):
    bare = {**BARE, "PATH": os.environ["PATH"], "PYTHONPATH": str(copy), **environment}
    return subprocess.run([sys.executable, *words], cwd=copy, env=bare, capture_output=True, text=True, check=False)


def test_a_new_stage_is_written_with_its_entry_or_neither_is(copy):
    words = ("new-stage", "quality", "--after", "diagnose")
    notebook, runner = copy / "notebooks" / "65_quality.ipynb", (copy / "runner.py").read_text()
    missing = ran_in(copy, "runner.py", *words, ATTRITION_NOTEBOOKS=str(copy / "missing"))
    assert (missing.returncode, "there is no folder" in missing.stderr) == (2, True), missing.stderr
    room = 6000  # for the notebook, and not for runner.py
    assert len(runner) > room
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))"
    full = ran_in(copy, "-B", "-c", f"{limit}; import sys, runner; sys.exit(runner.main({words!r}))")
    assert (full.returncode, "File too large" in full.stderr) == (1, True), full.stderr
    assert not notebook.exists()
    notebook.write_text("somebody's")
    there = ran_in(copy, "runner.py", *words)
    assert (there.returncode, "is there already" in there.stderr) == (2, True), there.stderr
    assert notebook.read_text() == "somebody's"
    assert (copy / "runner.py").read_text() == runner


def test_a_new_stage_passes_its_test_and_runs_in_its_place(home, copy):
    def ran(*words, **environment):
        return ran_in(copy, *words, **environment)

    assert ran("runner.py", "new-stage", "quality", "--after", "diagnose").returncode == 0
    assert "no name for a new stage" in ran("runner.py", "new-stage", "quality", "--after", "diagnose").stderr
    tested = ran("-m", "pytest", "tests/test_notebooks.py", "-p", "no:cacheprovider", "-k", "quality or every_stage")
    assert tested.returncode == 0, tested.stdout
    done = ran("runner.py", "tick", "capstone", "--force", ATTRITION_HOME=str(home.root))
    assert done.returncode == 0, done.stdout + done.stderr
    place = home.place("capstone")
    report = reports(place)[-1]
    assert list(statuses(report))[5:7] == ["diagnose", "quality"]
    assert statuses(report)["quality"] == "completed"
    assert recorded(place, report["run"], "65_quality")["quality"] == {"rows": 26}
