"""The furnished portfolio, end to end, with the real stages: what the original brief asks for."""

import json
import shutil
import urllib.request

import nbformat
import pytest
from pipeline_kit import CAPSTONE, capstone, cli, drop, here, notebooks, recorded, reports, served, statuses, tree

from attrition import registry
from attrition.book import Book, Outcome
from attrition.commits import commit_decision
from attrition.home import Home
from attrition.runs import Run
from attrition.served import Served


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A home after its first tick, as cron runs it: from /, with a bare environment."""
    home = capstone(tmp_path_factory.mktemp("first"), "practicedata")
    done = cli(home, "tick", "capstone")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return home, done.stdout


@pytest.fixture(scope="module")
def later(tmp_path_factory, first):
    """The same home after source data, a forced training, and a quiet tick; with the tree before and after it."""
    home = Home(tmp_path_factory.mktemp("later") / "home")
    shutil.copytree(first[0].root, home.root)
    place = home.place("capstone")
    drop(place, *(capstone_source()))
    ticked(home, 0)
    ticked(home, 0, "--force")
    before = tree(home.root)
    ticked(home, 0)
    return place, before, tree(home.root)


def ticked(home, status, *words, **environment):
    """One tick, which must end with this status."""
    done = here(home, "tick", "capstone", *words, **environment)
    assert done.returncode == status, done.stdout + done.stderr


def capstone_source():
    return sorted((CAPSTONE / "sourcedata").iterdir())


def test_practice_data_makes_the_first_model_unproven(first):
    home, said = first
    place = home.place("capstone")
    (report,) = reports(place)
    assert report["rows"] == {"in": 36, "ingested": 26, "duplicates": 10, "quarantined": 0}
    assert (report["status"], report["decision"], report["model"]["version"]) == ("completed", "promoted", "0001")
    assert set(statuses(report).values()) == {"completed"}
    current = registry.current(place.models)
    assert (current.version, current.proven) == ("0001", False)
    assert "unproven" in report["reason"]
    assert report["reason"] in said
    assert str(place.executed / report["run"] / "index.html") in said


def test_the_manifest_says_all_that_is_needed_to_make_the_model_again(first):
    place = first[0].place("capstone")
    pipeline, manifest = registry.load(place.models / "0001")
    assert manifest.sha256 == registry.current(place.models).sha256
    assert (manifest.data_version, manifest.rows, manifest.known, manifest.way) == (1, 20, 20, "all")
    assert manifest.features == ["lastmonth_activity", "lastyear_activity", "number_of_employees"]
    assert manifest.run == reports(place)[0]["run"]
    assert pipeline[-1].coef_.ravel().tolist() == pytest.approx(
        [
            entry["coefficient"]
            for name in manifest.features
            for entry in manifest.coefficients
            if entry["feature"] == name
        ]
    )


def test_source_data_proves_little_and_the_model_stays(later):
    report = reports(later[0])[1]
    assert report["rows"]["ingested"] == 26
    assert (report["decision"], report["model"]["version"]) == ("held", "0001")
    assert "26 not counted: came again" in report["reason"]
    assert "prove little" in report["reason"]


def test_a_forced_challenger_is_not_promoted_on_rows_that_tell_nothing(later):
    place = later[0]
    report = reports(place)[2]
    assert (report["decision"], report["model"]["version"], report["challenger"]) == ("on_trial", "0001", "0002")
    values = recorded(place, report["run"], "40_score")
    assert (values["trial"]["n"], values["trial"]["proven"]) == (0, False)  # it has seen them all, under another label
    assert values["comparison_test"]["low"] <= 0 <= values["comparison_test"]["high"]
    for role in ("champion", "challenger"):
        f1 = values["scores"][role]["test"]["f1"]
        assert values["scores"][role]["test"]["n"] == 5
        assert f1["low"] <= f1["value"] <= f1["high"]
        assert f1["high"] - f1["low"] > 0.5


def test_a_quiet_tick_changes_nothing_but_the_book(later):
    place, before, after = later
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"data/capstone/book.db", "data/capstone/lock"}
    with Book.open(place.book, read_only=True) as book:
        assert book.quiet_since()["ticks"] == 1


def test_every_row_taken_in_stands_in_the_ledger(later):
    with Book.open(later[0].book, read_only=True) as book:
        lines = [line for report in reports(later[0]) for line in book.drops(report["run"])]
    assert sorted((line["name"], line["rows_in"], line["ingested"], line["duplicates"]) for line in lines) == [
        ("dataset1.csv", 17, 17, 0),
        ("dataset2.csv", 19, 9, 10),
        ("dataset3.csv", 11, 11, 0),
        ("dataset4.csv", 15, 15, 0),
    ]
    assert all(line["moved_to"] == "taken" and len(line["sha256"]) == 64 for line in lines)


def test_the_runner_passes_only_parameters_that_a_stage_has(later):
    for report in reports(later[0]):
        for stage in report["stages"]:
            if stage["status"] == "completed":
                executed = nbformat.read(later[0].executed / report["run"] / stage["notebook"], as_version=4)
                tagged = {tag: cell.source for cell in executed.cells for tag in cell.metadata.get("tags", ())}
                given = {line.split(" = ")[0] for line in tagged["injected-parameters"].splitlines() if " = " in line}
                declared = {line.split(":")[0] for line in tagged["parameters"].splitlines()}
                assert given <= declared, stage["name"]


def test_the_api_that_is_down_is_recorded_and_fails_nothing(first):
    place = first[0].place("capstone")
    answers = recorded(place, reports(place)[0]["run"], "80_report")["answers"]
    assert [answer["endpoint"] for answer in answers] == [
        "POST /prediction",
        "GET /scoring",
        "GET /summarystats",
        "GET /diagnostics",
    ]
    assert {answer["status"] for answer in answers} == {"unreachable"}
    assert "refused" in answers[0]["answer"]


@pytest.fixture(scope="module")
def judged(tmp_path_factory, later):
    """The home after 30 corporations that nobody knew, while the API served what there was before; its answer too."""
    place = later[0]
    home = Home(tmp_path_factory.mktemp("judged") / "home")
    shutil.copytree(place.root, home.root)
    lines = ["corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"]
    lines += [f"new{number},{37 * number % 200},{900 + number},{50 + number},{number % 2}" for number in range(30)]
    more = tmp_path_factory.mktemp("more") / "more.csv"
    more.write_text("\n".join(lines) + "\n")
    drop(home.place("capstone"), more)
    with served(Home(place.root)) as url:
        ticked(home, 0, ATTRITION_API_URL=url)
        with urllib.request.urlopen(f"{url}/scoring?portfolio=capstone", timeout=10) as response:
            return home.place("capstone"), json.load(response)


def test_a_report_speaks_of_the_previous_run_where_the_api_does(later, judged):
    place, scoring = judged
    answers = recorded(place, reports(place)[-1]["run"], "80_report")["answers"]
    assert [answer["status"] for answer in answers] == [200, 200, 200, 200]
    assert {answer["model"] for answer in answers} == {"0001"}
    assert all(answer["speaks_of"].startswith("previous run") for answer in answers)
    assert scoring["run"] == reports(later[0])[0]["run"]  # no run has judged the model since: clients only came again
    assert 0 <= scoring["f1"]["value"] <= 1


def test_the_report_draws_the_error_of_every_run_that_judged(judged):
    place, run = judged[0], reports(judged[0])[-1]
    assert run["performance"]["n"] == 30
    executed = nbformat.read(place.executed / run["run"] / "80_report.ipynb", as_version=4)
    told = [
        output.metadata["image/png"]["alt"]
        for cell in executed.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert told[0].startswith("Confusion matrix: of ")
    assert told[1].startswith("Brier score over 1 runs, ")


def test_a_run_that_failed_leaves_the_same_evidence_to_the_next(first, later, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(first[0].root, home.root)
    place = home.place("capstone")
    drop(place, *capstone_source())
    broken = notebooks(tmp_path / "notebooks", monitor="raise RuntimeError('<script>alert(1)</script> no disk')")
    ticked(home, 1, ATTRITION_NOTEBOOKS=str(broken))
    failed = reports(place)[1]
    assert (failed["status"], failed["decision"], failed["error"]["stage"]) == ("failed", None, "monitor")
    assert failed["data_version"] == 2
    assert registry.current(place.models).version == "0001"
    for page in ("20_monitor.html", "index.html"):
        html = (place.executed / failed["run"] / page).read_text()
        assert "RuntimeError" in html
        assert "no disk" in html
        assert "<script" not in html
    assert 'id="failed"' in (place.executed / failed["run"] / "20_monitor.html").read_text()

    ticked(home, 0)
    again, unbroken = reports(place)[2], reports(later[0])[1]
    assert statuses(again)["ingest"] == "skipped"
    assert (again["decision"], again["reason"]) == (unbroken["decision"], unbroken["reason"])
    evidence = recorded(place, again["run"], "20_monitor")
    assert evidence == recorded(later[0], unbroken["run"], "20_monitor")


def test_rollback_needs_a_version_that_can_serve(later):
    home = Home(later[0].root)
    refused = here(home, "rollback", "capstone", "--reason", "as a test")
    assert refused.returncode == 2
    assert "no earlier model to go back to" in refused.stderr
    assert here(home, "rollback", "capstone", "0001", "--reason", "x").stderr.strip().endswith("serves already")
    assert "never served" in here(home, "rollback", "capstone", "0002", "--reason", "x").stderr
    assert "no model '0009'" in here(home, "rollback", "capstone", "0009", "--reason", "x").stderr
    assert here(home, "rollback", "capstone", "0002", "--reason", " ").returncode == 2


def test_a_champion_that_cannot_be_loaded_any_more_gives_way(first, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(first[0].root, home.root)
    place = home.place("capstone")
    manifest = place.models / "0001" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["libraries"]["scikit-learn"] = "0.24.2"
    manifest.write_text(json.dumps(facts))
    drop(place, *capstone_source())
    ticked(home, 0)
    report = reports(place)[-1]
    assert (report["decision"], report["model"]["version"]) == ("promoted", "0002")
    assert "Model 0001 cannot be used any more" in report["reason"]
    assert "0.24.2" in report["reason"]
    assert not registry.current(place.models).proven
    with Book.open(place.book, read_only=True) as book:
        assert {model["version"]: model["status"] for model in book.models()} == {"0001": "retired", "0002": "champion"}


def test_a_yaml_that_names_other_features_has_another_model_trained_though_nothing_came(first, tmp_path):
    """The champion could not score the next client, and an API that is started anew could not serve it."""
    home = Home(tmp_path / "home")
    shutil.copytree(first[0].root, home.root)
    place = home.place("capstone")
    place.params.write_text(place.params.read_text() + "show: [number_of_employees]\n")
    ticked(home, 0)
    report = reports(place)[-1]
    assert (report["decision"], report["model"]["version"]) == ("promoted", "0002")
    assert "the portfolio's YAML names other features" in report["reason"]
    assert "asked for" not in report["reason"]
    ticked(home, 0)
    assert reports(place)[-1] == report, "once is enough"


def test_a_champion_that_cannot_score_stays_while_too_few_count_for_another_and_each_tick_says_so(first, tmp_path):
    """No run can mend that: the rows are taken in, and a run is made for new rows, or another YAML."""
    home = Home(tmp_path / "home")
    shutil.copytree(first[0].root, home.root)
    place = home.place("capstone")
    good = place.params.read_text()
    place.params.write_text(good + "show: [number_of_employees]\nmodel: {least_rows: 100}\n")
    before = json.loads(place.call_list.read_text())
    drop(place, *capstone_source())
    for words, made in (((), 2), ((), 2), (("--force",), 3)):
        said = here(home, "tick", "capstone", *words)
        assert said.returncode == 1
        assert "too few clients count to train another: send more, with outcomes, or take the" in said.stderr
        assert len(reports(place)) == made
    second, report = reports(place)[1:]
    assert second["rows"]["ingested"] == 26
    assert (report["status"], report["decision"], report["model"]["version"]) == ("completed", "held", "0001")
    assert "names other features than it was trained on: no other can be trained yet, " in report["reason"]
    assert "at least 100 are needed (model.least_rows). Until then nobody is scored" in report["reason"]
    assert (statuses(report)["train"], statuses(report)["assess"]) == ("skipped", "skipped")
    assert json.loads(place.call_list.read_text()) == before
    findings = json.loads(here(home, "doctor", "--json").stdout)["findings"]
    (found,) = [each for each in findings if each["check"] == "capstone: model"]
    assert (found["ok"], "can score nobody" in found["said"]) == (False, True)
    place.params.write_text(good + "show: [number_of_employees]\n")
    ticked(home, 0)
    assert reports(place)[-1]["decision"] == "promoted", "another YAML may ask for fewer"
    ticked(home, 0)


@pytest.mark.parametrize("on_trial", [None, "0002"])
def test_nobody_trains_of_too_few_by_force_where_the_model_of_another_question_stays(first, later, tmp_path, on_trial):
    home = Home(tmp_path / "home")
    shutil.copytree(later[0].root if on_trial else first[0].root, home.root)
    place = home.place("capstone")
    text = place.params.read_text().replace("id: corporation\n", "")
    place.params.write_text(text + "show: [corporation]\nmodel: {least_rows: 100}\n")
    ticked(home, 0, "--force")
    report = reports(place)[-1]
    assert (report["decision"], statuses(report)["train"]) == ("held", "skipped")
    assert "id is none, and was corporation when it was trained: no other can be trained yet" in report["reason"]
    assert statuses(report)["assess"] == "completed", "it goes on scoring"
    with Book.open(place.book, read_only=True) as book:
        assert book.state().challenger == report["challenger"] == on_trial


def promoted(home):
    """The challenger on trial promoted, as commit 2 does it."""
    place = home.place("capstone")
    with Book.open(place.book) as book:
        run, sequence = book.begin("20990101T000000Z", "2099-01-01T00:00:00Z")
        made = Outcome("promoted", "as a test", 2, "0002", None, {}, proven=True, ended={"0001": "retired"})
        commit_decision(
            place, book, sequence, Run.start(place, run, "2099-01-01T00:00:00Z", {}), made, "2099-01-01T00:00:00Z"
        )


def test_a_rollback_to_a_model_of_other_features_is_refused(later, tmp_path):
    """It could not serve: the API would go on with the model that is to be left."""
    home = Home(tmp_path / "home")
    shutil.copytree(later[0].root, home.root)
    place = home.place("capstone")
    promoted(home)
    place.params.write_text(place.params.read_text() + "show: [number_of_employees]\n")
    refused = here(home, "rollback", "capstone", "0001", "--reason", "x")
    assert refused.returncode == 2
    assert "trained on other features than capstone.yaml names (number_of_employees)" in refused.stderr
    assert registry.current(place.models).version == "0002"
    with Book.open(place.book, read_only=True) as book:
        assert {model["version"]: model["status"] for model in book.models()} == {"0001": "retired", "0002": "champion"}


def test_a_rollback_to_a_model_that_was_asked_something_else_is_refused(later, tmp_path):
    """The next tick with outcomes would put another one, which nobody has proven, in its place."""
    home = Home(tmp_path / "home")
    shutil.copytree(later[0].root, home.root)
    place = home.place("capstone")
    promoted(home)
    registry.rewrite(place.models / "0001", asks={"id": "account"})
    refused = here(home, "rollback", "capstone", "0001", "--reason", "x")
    assert refused.returncode == 2
    assert "in capstone.yaml id is corporation, and was account when model 0001 was trained" in refused.stderr
    assert registry.current(place.models).version == "0002"


def test_of_a_portfolio_that_was_renamed_all_see_that_the_api_refuses_its_model(first, tmp_path):
    """Each tick tells it, as doctor does, and one with work trains another."""
    home = Home(tmp_path / "home")
    shutil.copytree(first[0].root, home.root)
    for folder in ("data", "models", "executed"):
        (home.root / folder / "capstone").rename(home.root / folder / "store")
    home.place("capstone").params.rename(home.place("store").params)
    place = home.place("store")
    quiet = here(home, "tick", "store")
    assert quiet.returncode == 1
    assert "model 0001 was trained as 0001 of capstone, and the API refuses it" in quiet.stderr
    with pytest.raises(registry.ModelRefused, match="another portfolio's"):
        Served.load(place)
    findings = json.loads(here(home, "doctor", "--json").stdout)["findings"]
    (found,) = [each for each in findings if each["check"] == "store: model"]
    assert (found["ok"], "give what was renamed its name again" in found["said"]) == (False, True), found
    assert len(reports(place)) == 1
    drop(place, *capstone_source())
    assert here(home, "tick", "store").returncode == 0
    report = reports(place)[-1]
    assert (report["decision"], report["model"]["version"]) == ("promoted", "0002")
    assert "0001 cannot be used any more: it is another portfolio's or version's model" in report["reason"]
    assert Served.load(place).identity.version == "0002"
    assert here(home, "tick", "store").returncode == 0
    refused = here(home, "rollback", "store", "0001", "--reason", "x")
    assert (refused.returncode, "another portfolio's" in refused.stderr) == (2, True)


def test_a_challenger_of_another_portfolio_is_given_up(later, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(later[0].root, home.root)
    place = home.place("capstone")
    registry.rewrite(place.models / "0002", portfolio="store")
    ticked(home, 0, "--force")
    report = reports(place)[-1]
    assert (report["model"]["version"], report["challenger"]) == ("0001", "0003")
    assert "Challenger 0002 is given up, as it cannot be used any more: it is another portfolio's" in report["reason"]


def test_a_rollback_is_a_run_that_says_who_and_why_and_bars_what_it_leaves(later, tmp_path, monkeypatch):
    home = Home(tmp_path / "home")
    shutil.copytree(later[0].root, home.root)
    place = home.place("capstone")
    promoted(home)
    monkeypatch.setattr("os.getuid", lambda: 2_000_111_222)  # who has no name, as in a container of another user
    done = here(home, "rollback", "capstone", "--reason", "the board asked")
    assert done.returncode == 0, done.stderr
    current = registry.current(place.models)
    assert (current.version, current.proven) == ("0001", False)  # as unproven as it was
    report = next(report for report in reports(place) if report["decision"] == "rolled_back")
    assert (report["manual"], report["champion_before"]) == (True, "0002")
    assert report["reason"] == "uid 2000111222 rolled back from 0002 to 0001: the board asked"
    refused = here(home, "rollback", "capstone", "0002", "--reason", "back again")
    assert refused.returncode == 2
    assert "barred" in refused.stderr
    with Book.open(place.book, read_only=True) as book:
        assert (book.state().champion, book.state().challenger) == ("0001", None)
