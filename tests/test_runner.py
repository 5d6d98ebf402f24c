"""The runner on its own: what it says, its exit status, and what it survives. Its stages are quick ones."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import homes
import pytest
from pipeline_kit import BARE, CAPSTONE, capstone, cli, here, quick, reports, statuses
from runner_kit import WAIT, at_work, family, started, survivors

from attrition import safe, trying
from attrition.book import Book
from attrition.commands import init, try_
from attrition.home import REPOSITORY


@pytest.fixture
def home(tmp_path):
    return capstone(tmp_path / "home", "practicedata")


@pytest.fixture
def stages(tmp_path):
    return {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "notebooks"))}


def test_a_tick_says_in_plain_lines_what_it_did(home, stages):
    done = cli(home, "tick", "capstone", **stages)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line[:20].endswith("Z") and line[20:].startswith(" capstone: ") for line in lines)
    assert "completed, learning: Too few." in lines[-2]
    (report,) = reports(home.place("capstone"))
    assert statuses(report) == {
        **dict.fromkeys(("ingest", "monitor", "diagnose", "report"), "completed"),
        **dict.fromkeys(("train", "score", "deploy", "assess"), "skipped"),
    }
    assert not list(home.place("capstone").staging.iterdir())


TITLE = "\x1b]0;PWNED\x07\x1b[2J"
"""What a terminal would obey: another title, and all that was said before away."""


def test_no_text_of_a_run_or_a_client_steers_the_terminal(tmp_path, capsys):
    home = homes.make(tmp_path)
    place = home.place("shop")
    with Book.open(place.book) as book:
        run, sequence = book.begin("20260401T000000Z", "2026-04-01T00:00:00Z")
        ended = {"run": run, "status": "failed", "reason": f"{TITLE}Bad.", "finished_at": "2026-04-01T00:00:00Z"}
        book.finished(sequence, {**ended, "stages": [], "rows": {}, "decision": None, "data_version": 0, "model": None})
    said = [here(home, *words).stdout for words in (["runs", "shop"], ["doctor"])]
    db = duckdb.connect()
    more = "false AS hold_out, false AS gone, 1 AS data_version, 0 AS change, since AS change_since, [] AS trail"
    named = f"SELECT * REPLACE ($1 || id AS id), {more}, NULL AS as_of FROM '{place.ranking}'"
    db.execute(f"CREATE TABLE named AS {named}", [TITLE])
    db.execute(f"COPY named TO '{place.ranking}' (FORMAT parquet)")
    said.append("\n".join(init._list(place)))
    side = {"decision": "held", "model": "0001", "judged": 1, "brier": 0.1, "auc": 0.9}
    beside = trying.Beside(run, 1, {**side, "reason": "as it was"}, {**side, "reason": f"{TITLE}Bad."})
    mover = {"id": f"{TITLE}c-3", "rank_then": 1, "rank_now": 2, "risk_then": 0.5, "risk_now": 0.4}
    try_._tell(trying.Tried([beside], trying.Moves(1, 1, 0, [mover]), failed=f"{TITLE}Bad."))
    said.append(capsys.readouterr().out)
    for text, expected in zip(said, ("Bad.", "failed: Bad.", "c-3", "c-3"), strict=True):
        assert expected in text
        assert not set("\x1b\x07") & set(text)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_as_interrupted_and_the_next_tick_goes_on(home, tmp_path, number, status):
    place = home.place("capstone")
    slow = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "slow", monitor=WAIT))}
    with started(home, "tick", "capstone", **slow) as process:
        at_work(place, "monitor", process)
        processes = family(process.pid)
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == status
    assert signal.Signals(number).name in said
    assert not survivors(processes)
    (report,) = reports(place)
    assert (report["status"], statuses(report)["monitor"]) == ("interrupted", "interrupted")
    assert (place.executed / report["run"] / "index.html").exists()

    assert here(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(quick(tmp_path / "good"))).returncode == 0
    assert reports(place)[1]["status"] == "completed"
    assert statuses(reports(place)[1])["ingest"] == "skipped"


def test_a_runner_that_was_killed_is_told_as_interrupted_by_the_next_tick(home, tmp_path, stages):
    place = home.place("capstone")
    slow = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "slow", monitor=WAIT))}
    with started(home, "tick", "capstone", **slow) as process:
        run = at_work(place, "monitor", process)
        process.kill()
    shown = here(home, "show", "capstone", run)
    assert "running" in shown.stdout
    assert here(home, "tick", "capstone", **stages).returncode == 0
    killed, after = reports(place)
    assert (killed["run"], killed["status"], killed["rows"]["ingested"]) == (run, "interrupted", 26)
    assert (after["status"], statuses(after)["ingest"]) == ("completed", "skipped")
    with Book.open(place.book, read_only=True) as book:
        assert book.unfinished() == []
        assert [line["rows_in"] for line in book.drops(run)] == [17, 19]


def test_pages_say_that_a_run_was_cut_short_while_the_next_one_is_at_work(home, tmp_path):
    """That one may be cut short as well, and whoever looks at them would be told that all is well."""
    place = home.place("capstone")
    slow = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "slow", monitor=WAIT))}
    for _ in range(2):
        with started(home, "tick", "capstone", **slow) as process:
            at_work(place, "monitor", process)
            process.kill()
    (run,) = (path.name for path in place.executed.iterdir() if (path / "run.json").exists())
    assert run in (place.executed / "runs-1.html").read_text()
    assert "The last run was cut short" in (place.executed / "index.html").read_text()


def test_a_yaml_whose_name_is_none_of_a_portfolio_is_told_of(home):
    """Its drops would wait for ever."""
    place = home.place("capstone")
    place.params.rename(place.params.with_name("Capstone.yaml"))
    done = cli(home, "tick", "--all")
    assert done.returncode == 2
    assert "rename it to capstone.yaml" in done.stderr


def test_a_kernel_that_dies_fails_its_stage(home, tmp_path):
    place = home.place("capstone")
    dying = "import os, signal\nfrom attrition import record\nos.kill(os.getpid(), signal.SIGKILL)"
    done = here(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(quick(tmp_path / "dying", monitor=dying)))
    (report,) = reports(place)
    assert done.returncode == 1
    assert (report["status"], statuses(report)["monitor"]) == ("failed", "failed")
    assert report["error"]["name"] == "DeadKernelError"


def test_a_stage_has_a_deadline(home, tmp_path):
    place = home.place("capstone")
    place.params.write_text(place.params.read_text() + "deadline: 5\n")
    done = here(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(quick(tmp_path / "slow", monitor=WAIT)))
    (report,) = reports(place)
    assert done.returncode == 1
    assert report["error"]["name"] == "DeadlineExceeded"
    assert "not done within 5 s" in report["reason"]


def test_a_second_run_names_the_holder_and_starts_nothing(home):
    place = home.place("capstone")
    before = sorted(place.data.rglob("*"))
    with safe.lock(place.lock, "2026-03-01T03:15:00Z"):
        done = cli(home, "tick", "capstone")
    assert done.returncode == 75
    assert f"process {os.getpid()}, since 2026-03-01T03:15:00Z" in done.stderr
    assert sorted(place.data.rglob("*")) == sorted([*before, place.lock])


def test_of_all_portfolios_a_wrong_one_counts_for_more_than_one_that_is_held(home):
    place = home.place("capstone")
    with safe.lock(place.lock, "2026-03-01T03:15:00Z"):
        assert cli(home, "tick", "--all").returncode == 75
        home.place("wrong").params.write_text("colour: red\n")
        assert cli(home, "tick", "--all").returncode == 2, "a scheduler passes over 75"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tick", "nobody"), "no such portfolio"),
        (("tick", "../capstone"), "is no portfolio's name"),
        (("tick", "wrong"), "colour: unknown key"),
        (("tick",), "required"),
        (("dance",), "invalid choice"),
        (("show", "capstone"), "no run yet"),
        (("runs", "capstone"), "no tick has run yet"),
    ],
)
def test_wrong_usage_is_told_and_starts_nothing(home, words, says):
    wrong = home.root / "params" / "wrong.yaml"
    wrong.write_text((home.root / "params" / "capstone.yaml").read_text() + "colour: red\n")
    before = sorted(home.root.rglob("*"))
    done = cli(home, *words)
    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    assert sorted(home.root.rglob("*")) == before


def test_all_goes_on_past_a_portfolio_that_fails(home, stages):
    for name in ("another", "quiet"):
        shutil.copy(home.place("capstone").params, home.root / "params" / f"{name}.yaml")
    (home.root / "params" / "wrong.yaml").write_text("colour: red\n")
    another = home.place("another")
    another.incoming.mkdir(parents=True)
    shutil.copy(CAPSTONE / "testdata" / "testdata.csv", another.incoming)
    os.utime(another.incoming / "testdata.csv", (0, 0))
    done = here(home, "tick", "--all", **stages)
    assert done.returncode == 2
    assert "wrong.yaml: colour: unknown key" in done.stderr
    order = [line.split()[1] for line in done.stdout.splitlines() if "completed," in line or "quiet" in line]
    assert order == ["another:", "capstone:", "quiet:"]


def patched(home, code, *words, **environment):
    """The runner, with a change made to it before it starts."""
    whole = f"import os, signal, sys, runner, attrition.tick as tick\n{code}\nsys.exit(runner.main({list(words)!r}))"
    bare = {**BARE, "ATTRITION_HOME": str(home.root), **environment}
    return subprocess.run([sys.executable, "-c", whole], env=bare, capture_output=True, text=True, check=False)


def test_drops_that_a_killed_run_had_taken_in_are_not_taken_in_again(home, stages):
    killed = patched(home, "tick.settle_drops = lambda *_: os._exit(9)", "tick", "capstone", **stages)
    assert killed.returncode == 9
    done = here(home, "tick", "capstone", **stages)
    assert done.returncode == 0, done.stdout
    first, second = reports(home.place("capstone"))
    assert (first["status"], first["rows"]["ingested"]) == ("interrupted", 26)
    assert (second["status"], statuses(second)["ingest"]) == ("completed", "skipped")


def test_a_signal_as_a_run_ends_stops_the_portfolios_that_would_come_next(home, stages):
    another = home.place("another")
    shutil.copy(home.place("capstone").params, another.params)
    shutil.copytree(home.place("capstone").incoming, another.incoming)
    code = """
real = tick.commit_run
tick.commit_run = lambda *given: (os.kill(os.getpid(), signal.SIGTERM), real(*given))
"""
    done = patched(home, code, "tick", "--all", **stages)
    assert done.returncode == 143, done.stderr
    told = [[run["status"] for run in reports(place)] for place in (another, home.place("capstone"))]
    assert sorted(told) == [[], ["completed"]]


@pytest.mark.parametrize("log", ["full", "read by nobody"])
def test_a_log_that_cannot_be_written_fails_no_run(home, stages, log):
    ours, theirs = os.pipe()
    os.close(ours)
    with Path("/dev/full").open("w") if log == "full" else os.fdopen(theirs, "w", closefd=False) as out:
        bare = {**BARE, "ATTRITION_HOME": str(home.root), **stages}
        command = [sys.executable, str(REPOSITORY / "runner.py"), "tick", "capstone"]
        done = subprocess.run(command, env=bare, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, reports(home.place("capstone"))[0]["status"]) == (0, "completed")
    assert done.stderr.count("cannot be written") == 1
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", ["0 1 2", "1", "2", "1 2"])
def test_a_tick_that_was_started_without_a_place_to_say_anything_is_one_as_any(home, stages, closed):
    """As of a scheduler that closes all: what a process opens next has the number that it would say things to."""
    bare = {**BARE, "ATTRITION_HOME": str(home.root), **stages}
    shut = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in closed.split())
    runner = f"{sys.executable} {REPOSITORY / 'runner.py'}"
    for words in ("tick capstone", "runs capstone", "tick capstone --force"):
        done = subprocess.run(["sh", "-c", f"exec {runner} {words} {shut}"], env=bare, check=False)
        assert done.returncode == 0, words
    assert [report["status"] for report in reports(home.place("capstone"))] == ["completed"] * 2


@pytest.mark.parametrize("buffered", ["", "1"])
def test_who_has_read_enough_of_what_a_verb_says_is_told_of_no_disk(home, buffered):
    ours, theirs = os.pipe()
    os.close(ours)
    bare = {**BARE, "ATTRITION_HOME": str(home.root), "PYTHONUNBUFFERED": buffered}
    command = [sys.executable, str(REPOSITORY / "runner.py"), "doctor"]
    done = subprocess.run(command, env=bare, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_what_a_cell_prints_cannot_drive_a_terminal_nor_fail_for_its_signs(home, tmp_path):
    hostile = "from attrition import record\nprint('\\x1b]0;title\\x07\\x1b[31mred\\x1b[0m \\x9b2J \u2192 caf\u00e9')"
    done = cli(
        home,
        *("tick", "capstone"),
        PYTHONIOENCODING="ascii",
        PYTHONUTF8="0",
        ATTRITION_NOTEBOOKS=str(quick(tmp_path / "hostile", diagnose=hostile)),
    )
    assert done.returncode == 0, done.stderr
    assert "diagnose [3] red ?2J ? caf?\n" in done.stdout


def test_a_quiet_tick_imports_nothing_heavy(home, stages):
    here(home, "tick", "capstone", **stages)
    code = "import sys, runner; runner.main(['tick', 'capstone']); print(*sys.modules)"
    environment = {**BARE, "ATTRITION_HOME": str(home.root)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    said, modules = done.stdout.splitlines()
    assert "quiet" in said
    heavy = {"pandas", "numpy", "duckdb", "deltalake", "sklearn", "pydantic", "yaml", "papermill", "msgspec"}
    assert not heavy & set(modules.split())


def test_columns_that_no_longer_fit_the_store_are_told_before_anything_starts(home, stages):
    place = home.place("capstone")
    here(home, "tick", "capstone", **stages)
    place.params.write_text(
        place.params.read_text().replace("number_of_employees: {type: integer", "staff: {type: integer")
    )
    shutil.copy(CAPSTONE / "testdata" / "testdata.csv", place.incoming)
    os.utime(place.incoming / "testdata.csv", (0, 0))
    done = here(home, "tick", "capstone", **stages)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "capstone.yaml" in done.stderr
    assert "staff" in done.stderr
    assert len(reports(place)) == 1


def test_a_run_that_was_killed_has_its_pages_after_the_next_tick(home, tmp_path):
    place = home.place("capstone")
    with started(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(quick(tmp_path / "slow", ingest=WAIT))) as process:
        run = at_work(place, "ingest", process)
        process.kill()
    for path in place.incoming.iterdir():
        path.unlink()
    assert "closed as interrupted" in here(home, "tick", "capstone").stdout
    assert "interrupted" in (place.executed / run / "index.html").read_text()
    assert run in (place.executed / "index.html").read_text()


def test_runs_and_show_tell_the_record(home, stages):
    here(home, "tick", "capstone", **stages)
    here(home, "tick", "capstone", **stages)
    listed = json.loads(here(home, "runs", "capstone", "--json").stdout)
    assert (listed["quiet"]["ticks"], listed["runs"][0]["decision"]) == (1, "learning")
    assert listed["runs"][0]["rows"] == {"in": 36, "ingested": 26, "duplicates": 10, "quarantined": 0}
    assert "quiet since" in here(home, "runs", "capstone").stdout
    shown = here(home, "show", "capstone").stdout
    assert "learning" in shown
    assert "36 in, 26 ingested, 10 duplicates, 0 quarantined" in shown


@pytest.mark.parametrize(
    "words",
    [
        ["prune", "shop", "--days", "9999999999"],
        ["prune", "shop", "--keep", "-1"],
        ["runs", "shop", "--limit", str(10**20)],
        ["runs", "shop", "--limit", "-1"],
        ["quarantine", "shop", "--limit", "-1"],
        ["try", "shop", "--last", "0"],
        ["telco", "--ticks", "-1"],
    ],
)
def test_a_number_that_nothing_can_count_with_is_refused(tmp_path, words):
    done = here(homes.make(tmp_path), *words)
    assert done.returncode == 2
    assert f"argument {words[-2]}: {words[-1]!r} is no whole number from " in done.stderr


def test_the_largest_numbers_that_are_taken_are_no_error(tmp_path):
    home = capstone(tmp_path)
    with Book.open(home.place("capstone").book):  # and no run yet
        pass
    many = str(10**9)
    for words in (
        ["prune", "capstone", "--days", "36525", "--keep", many],
        ["runs", "capstone", "--limit", many],
        ["quarantine", "capstone", "--limit", many],
        ["quarantine", "capstone", "--limit", "0"],
    ):
        done = here(home, *words)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", ["0", "9" * 18, str(10**20), "9" * 5000])
def test_a_run_of_a_number_that_there_is_not_is_not_replayed(tmp_path, number):
    done = here(homes.make(tmp_path), "replay", "shop", number)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"shop has no run '{number[:60]}'" in done.stderr


def test_the_lists_of_runs_are_pages(home, stages):
    here(home, "tick", "capstone", **stages)
    place = home.place("capstone")
    run = reports(place)[0]["run"]
    assert f'href="{run}/index.html"' in (place.executed / "index.html").read_text()
    assert f'href="{run}/index.html"' in (place.executed / "runs-1.html").read_text()
    assert 'href="capstone/index.html"' in (home.root / "executed" / "index.html").read_text()
    assert json.loads((place.executed / "latest.json").read_text())["diagnose"] == run
