"""The crontab's lines: whole under a bare environment, put in once, taken out without a trace of the others."""

import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec

import api_kit
import homes
import pytest
from conftest import require
from pipeline_kit import capstone, here

from attrition import crontab
from attrition.book import Book
from attrition.commands import schedule
from attrition.home import Home, UsageError

FOREIGN = "7 7 * * * true # another's line, of an attrition elsewhere"


@pytest.fixture
def table():
    """The real crontab of whoever runs this, with a line of theirs; afterwards as it was."""
    require(shutil.which("crontab") is not None, "there is no crontab here: apt-get install cron")
    before = crontab.lines()
    crontab.write([*before, FOREIGN])
    yield crontab.lines()
    crontab.write(before)


def awkward(tmp_path):
    """A home whose path has what a shell or cron would stumble over."""
    return capstone(tmp_path / "o'clock 100% $HOME")


def command(line):
    """What cron hands to the shell: no time, and % as it was meant."""
    return re.fullmatch(r"(?:@reboot|\S+ \S+ \S+ \S+ \S+) (.*)", line)[1].replace(r"\%", "%")


def test_what_is_installed_ticks_in_an_empty_environment(table, tmp_path):
    home = awkward(tmp_path)
    done = here(home, "schedule", "--install", "--every", "5m")
    assert done.returncode == 0, done.stderr
    assert "0 lines taken out of the crontab, 2 put in" in done.stdout
    assert crontab.lines()[: len(table)] == table
    tick, serve = crontab.lines()[len(table) :]
    assert tick.startswith("*/5 * * * * ")
    assert serve.startswith("@reboot ")
    assert "api.py" in serve
    assert "%" in tick  # of the home's path
    assert "%" not in tick.replace(r"\%", "")
    ran = subprocess.run(["env", "-i", "/bin/sh", "-c", command(tick)], cwd="/", timeout=120, check=False)
    assert ran.returncode == 0
    assert "capstone: quiet" in (home.root / "executed" / "cron.log").read_text()
    with Book.open(home.place("capstone").book, read_only=True) as book:
        assert book.quiet_since()["ticks"] == 1


def test_again_changes_nothing_another_time_replaces_and_removal_leaves_the_others(table, tmp_path):
    home = awkward(tmp_path)
    here(home, "schedule", "--install")
    installed = crontab.lines()
    assert "nothing was changed" in here(home, "schedule", "--install").stdout
    assert crontab.lines() == installed
    other = capstone(tmp_path / "other")
    here(other, "schedule", "--install")
    here(home, "schedule", "--install", "--every", "1h")
    assert sum(line.endswith(crontab.mark(home)) for line in crontab.lines()) == 2
    assert any(line.startswith("0 * * * * ") for line in crontab.lines())
    assert "does not go into a crontab" in here(home, "schedule", "--install", ATTRITION_HOSTS="x" * 990).stderr
    for each in (home, other):
        assert (
            "2 lines taken out of the crontab, 0 put in"
            in here(each, "schedule", "--remove", ATTRITION_HOSTS="x" * 990).stdout
        )
    assert crontab.lines() == table


def test_a_home_that_has_no_portfolio_is_not_scheduled_nor_made(tmp_path):
    home = Home(tmp_path / "mistyped")
    for words in ([], ["--install"]):
        done = here(home, "schedule", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{home.root / 'params'} has no NAME.yaml: is its disk there?" in done.stderr
    assert not home.root.exists()


def test_without_a_wish_the_lines_are_only_shown(tmp_path):
    home = capstone(tmp_path / "home")
    done = here(home, "schedule", ATTRITION_TOKEN="top secret", ATTRITION_MODEL_KEY_FILE="/run/key")
    assert len(done.stdout.splitlines()) == 2
    assert "top secret" not in done.stdout + done.stderr
    assert "ATTRITION_TOKEN is a secret and does not go into a crontab" in done.stderr
    assert "ATTRITION_MODEL_KEY_FILE=/run/key" in done.stdout
    assert (home.root / "executed").is_dir()  # the shell of a line that is pasted by hand would not make it


def test_the_ticks_line_names_the_files_of_the_sources_secrets_and_no_secret(tmp_path):
    home, folder = capstone(tmp_path / "o'clock"), tmp_path / "50% of $HOME"
    (folder / "exports").mkdir(parents=True)
    (folder / "options").write_text("{}")
    (folder / "options").chmod(0o600)
    params = home.place("capstone").params
    params.write_text(
        f"{params.read_text()}sources:\n  - {{name: exports, url: 'file://{folder}/exports', options: EXPORTS}}\n"
        "  - {name: more, url: 'file:///', options: CRM}\n  - {name: crm, postgres: CRM, query: SELECT 1}\n"
        "  - {name: other, postgres: OTHER, query: SELECT 1}\n"
    )
    (home.root / "params" / "second.yaml").write_text("title: x\n")
    done = here(home, "schedule", EXPORTS_FILE=os.path.relpath(folder / "options"), CRM="top secret")
    tick, serve = done.stdout.splitlines()
    assert "EXPORTS" not in serve
    assert "top secret" not in done.stdout + done.stderr
    assert "CRM, which source crm of capstone needs, is a secret of this shell" in done.stderr
    assert "put it into a file (chmod 600) and set CRM_FILE, then schedule again" in done.stderr
    assert "OTHER, which source other of capstone needs, is not set" in done.stderr
    assert "what the sources of second need is not in the lines: " in done.stderr
    params.write_text(params.read_text().partition("  - {name: more")[0])
    require(find_spec("fsspec") is not None, "no fsspec: pip install 'attrition[files]'")
    ran = subprocess.run(["env", "-i", "/bin/sh", "-c", command(tick)], cwd="/", timeout=120, check=False)
    assert ran.returncode == 2  # of the second, which is none
    log = (home.root / "executed" / "cron.log").read_text()
    assert "capstone: quiet" in log
    assert "source exports" not in log


def test_the_files_of_secrets_are_named_so_that_cron_finds_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTRITION_MODEL_KEY_FILE", "model.key")
    monkeypatch.setenv("ATTRITION_HOSTS", "risk.example")
    tick, serve = schedule.lines(Home(tmp_path), "15m")
    for line in (tick, serve):  # in whatever folder they begin
        assert f"ATTRITION_MODEL_KEY_FILE={tmp_path}/model.key " in line
        assert "ATTRITION_HOSTS=risk.example " in line


@pytest.mark.parametrize(
    ("every", "fields", "seconds"),
    [
        ("1m", "* * * * *", 60),
        ("20m", "*/20 * * * *", 1200),
        ("60m", "0 * * * *", 3600),
        ("6h", "0 */6 * * *", 21600),
        ("1d", "0 3 * * *", 86400),
    ],
)
def test_the_times_that_cron_can_keep(tmp_path, every, fields, seconds):
    tick, _ = schedule.lines(Home(tmp_path), every)
    assert tick.startswith(f"{fields} ATTRITION_HOME={tmp_path} ATTRITION_INTERVAL={seconds} ")


@pytest.mark.parametrize("every", ["7m", "5h", "2d", "0m", "15", "m", "-5m"])
def test_a_time_that_cron_cannot_keep_is_refused(tmp_path, every):
    with pytest.raises(UsageError, match="minutes that divide an hour"):
        schedule.lines(Home(tmp_path), every)


# ---- doctor


def said(home, **environment):
    done = here(home, "doctor", "--json", **environment)
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1)
    return {each["check"]: each for each in found["findings"]}


def test_the_doctor_says_what_is_well_and_what_to_do(tmp_path):
    home = capstone(tmp_path / "home")
    assert here(home, "tick", "capstone").returncode == 0
    found = said(home)
    for check in ("python", "lock", "kernel", "permissions", "file system", "disk", "clock", "capstone: params"):
        assert found[check]["ok"], found[check]
    assert found["capstone: store"]["ok"]
    assert found["capstone: freshness"]["said"].startswith("the last tick was 0:00:")
    assert not found["api"]["ok"]
    assert "api.py" in found["api"]["remedy"]
    assert not found["cron"]["ok"]
    assert all(each["remedy"] for each in found.values() if not each["ok"])


def test_the_doctor_finds_what_is_broken(tmp_path):
    home = capstone(tmp_path / "home")
    assert here(home, "tick", "capstone").returncode == 0
    place = home.place("capstone")
    place.params.write_text(place.params.read_text() + "model: {class: GaussianNB, params: {depth: 3}}\n")
    with Book.open(place.book) as book:
        run, sequence = book.begin("20990101T000000Z", "2099-01-01T00:00:00Z")
        ended = {"run": run, "status": "failed", "reason": "Disk full.", "finished_at": "2099-01-01T00:00:00Z"}
        book.finished(sequence, {**ended, "stages": [], "rows": {}, "decision": None, "data_version": 0})
        tried, sequence = book.begin("20990101T000100Z", "2099-01-01T00:01:00Z", manual=True)  # which mends nothing
        ended = {**ended, "run": tried, "status": "completed", "reason": "Rolled back by hand."}
        book.finished(sequence, {**ended, "stages": [], "rows": {}, "decision": "rolled_back", "data_version": 0})
    (home.root / "alerts.yaml").write_text("to: []")
    (home.root / "alerts.yaml").chmod(0o644)
    (home.root / "params" / "second.yaml").write_text("title: x\n")
    (home.root / "params" / "Third.yaml").write_text("title: x\n")
    lost = home.place("lost")
    lost.incoming.mkdir(parents=True)
    (lost.incoming / "clients.csv").touch()
    place.models.mkdir(parents=True)
    place.current.write_text("{}")
    found = said(home)
    assert "GaussianNB has no depth" in found["capstone: params"]["said"]
    assert "capstone (2099-01-01T00:00:00Z)" in found["clock"]["said"]
    assert found["capstone: freshness"]["said"].endswith("failed: Disk full.")
    assert "chmod 600" in found["alerts"]["said"]
    assert "ModelRefused" in found["capstone: model"]["said"]
    assert "columns" in found["second: params"]["said"]
    assert "rename it to third.yaml" in found["params"]["said"]
    assert f"{lost.params} is missing" in found["lost: params"]["said"]
    assert found["second: freshness"]["said"] == "no tick yet"
    broken = (
        "capstone: params",
        "clock",
        "capstone: freshness",
        "alerts",
        "capstone: model",
        "second: params",
        "lost: params",
        "params",
    )
    assert not any(found[check]["ok"] for check in broken)


def test_the_doctor_asks_an_api_that_wants_a_token_with_it(tmp_path):
    home, token = homes.make(tmp_path), "0123456789abcdef0123456789abcdef"
    with api_kit.running(home, ATTRITION_TOKEN=token) as own:
        found = said(home, ATTRITION_API_URL=own.url, ATTRITION_TOKEN=token)["api"]
        assert (found["ok"], found["said"]) == (True, f"{own.url} is ready (200)")
        found = said(home, ATTRITION_API_URL=own.url)["api"]
        assert (found["ok"], "ATTRITION_TOKEN" in found["remedy"]) == (False, True)
        home.place("shop").current.write_text("{")
        (home.root / "token").write_text(token)
    with api_kit.running(home, ATTRITION_TOKEN=token) as own:
        found = said(home, ATTRITION_API_URL=own.url, ATTRITION_TOKEN_FILE=str(home.root / "token"))["api"]
        assert (found["ok"], "/readyz: 503: model refused" in found["said"]) == (False, True)


def test_a_home_without_a_portfolio_is_told_how_to_begin(tmp_path):
    assert "runner.py init" in said(Home(tmp_path))["params"]["remedy"]


@pytest.mark.parametrize("size", [4_000_000, 4_000_001])
def test_the_log_is_begun_anew_when_it_is_large_and_the_one_before_is_kept(tmp_path, size):
    home = capstone(tmp_path)
    log, before = (home.root / "executed" / name for name in ("cron.log", "cron.log.1"))
    log.parent.mkdir(exist_ok=True)
    log.write_text("x" * size)
    before.write_text("long ago")
    assert here(home, "tick", "--all").returncode == 0
    assert log.exists() == (size == 4_000_000)
    assert before.stat().st_size == (len("long ago") if log.exists() else size)
