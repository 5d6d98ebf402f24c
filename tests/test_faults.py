"""The runner's status is true whatever happens to it or to its kernels: the real processes are killed."""

import contextlib
import os
import random
import socket
import subprocess
import sys

import psutil
import pytest
from conftest import require
from pipeline_kit import BARE, capstone, here, quick, reports, statuses
from runner_kit import STUBBORN, WAIT, at_work, ended, family, kernels_of, started, survivors

from attrition import safe
from attrition.book import Book
from attrition.home import REPOSITORY, Home

KILLS = int(os.environ.get("ATTRITION_KILLS", "4"))
CELL = "from attrition import record\n"


@pytest.fixture
def home(tmp_path):
    return capstone(tmp_path / "home", "practicedata")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return {"ATTRITION_NOTEBOOKS": str(quick(tmp_path_factory.mktemp("good") / "notebooks"))}


def stages(tmp_path, **changed):
    return {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "changed", **changed))}


def told_first(home, report) -> str:
    """The words of a run's page before its list of stages."""
    page = (home.place("capstone").executed / report["run"] / "index.html").read_text()
    return page.partition("<h2>Stages</h2>")[0]


OUT_OF_MEMORY = """
import psutil, resource
limit = psutil.Process().memory_info().vms + 2**28
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
kept = []
while True:
    kept.append(bytes(2**24))
"""
FAULTS = {
    "an exception": (CELL + "raise ValueError('one class')", "ValueError", "one class"),
    "killed in a cell": (CELL + "import os\nos.kill(os.getpid(), 9)", "DeadKernelError", "SIGKILL"),
    "memory": (CELL + OUT_OF_MEMORY, "MemoryError", ""),
}


@pytest.mark.parametrize(("code", "name", "message"), FAULTS.values(), ids=FAULTS)
def test_a_failed_run_says_first_what_failed_where_and_what_to_do(home, tmp_path, code, name, message):
    done = here(home, "tick", "capstone", **stages(tmp_path, monitor=code))
    (report,) = reports(home.place("capstone"))
    assert (done.returncode, report["status"], statuses(report)["monitor"]) == (1, "failed", "failed")
    assert (report["error"]["stage"], report["error"]["name"]) == ("monitor", name)
    first = told_first(home, report)
    assert all(
        words in first for words in (f"failed in cell {report['error']['cell'] + 1}", name, message, "What to do")
    )
    assert 'id="failed"' in (home.place("capstone").executed / report["run"] / "20_monitor.html").read_text()


def test_a_kernel_that_is_killed_as_it_starts_fails_its_stage(home, tmp_path):
    with started(home, "tick", "capstone", **stages(tmp_path, ingest=WAIT)) as process:
        while not (kernels := kernels_of(process.pid)):
            assert not ended(process)
        kernels[0].kill()
        process.communicate(timeout=60)
    (report,) = reports(home.place("capstone"))
    assert (process.returncode, report["status"], report["error"]["name"]) == (1, "failed", "DeadKernelError")


def test_a_run_has_a_deadline(home, tmp_path):
    place = home.place("capstone")
    place.params.write_text(place.params.read_text() + "run_deadline: 12\n")
    assert here(home, "tick", "capstone", **stages(tmp_path, monitor=WAIT)).returncode == 1
    (report,) = reports(place)
    assert (report["error"]["stage"], report["error"]["name"]) == ("monitor", "DeadlineExceeded")
    assert "not done within 12 s, the deadline of a run" in report["reason"]


def test_a_cell_that_will_not_be_interrupted_is_killed_in_ten_seconds(home, tmp_path):
    with started(home, "tick", "capstone", **stages(tmp_path, monitor=STUBBORN)) as process:
        at_work(home.place("capstone"), "monitor", process)
        processes = family(process.pid)
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 143
    assert not survivors(processes)
    (report,) = reports(home.place("capstone"))
    assert (report["status"], statuses(report)["monitor"]) == ("interrupted", "interrupted")


@pytest.mark.parametrize("whole_machine", [False, True], ids=["the runner alone", "everything at once"])
def test_nothing_survives_a_runner_that_was_killed(home, tmp_path, good, whole_machine):
    place = home.place("capstone")
    daemon = CELL + "import subprocess\nsubprocess.Popen(['sleep', '300'], start_new_session=True)\n" + WAIT
    with started(home, "tick", "capstone", **stages(tmp_path, monitor=daemon)) as process:
        run = at_work(place, "monitor", process, printed="waiting")
        processes = family(process.pid)
        assert len(processes) == 4
        for each in processes if whole_machine else processes[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it died of the death before
                each.kill()
        assert not survivors(processes)
    assert "in cell " in here(home, "show", "capstone", run).stdout
    assert here(home, "tick", "capstone", **good).returncode == 0
    killed, after = reports(place)
    assert (killed["status"], statuses(killed)["monitor"]) == ("interrupted", "interrupted")
    assert "went away in stage monitor" in killed["reason"]
    assert after["status"] == "completed"


def test_runs_with_a_random_kill_are_all_told_truly(home, tmp_path, good):
    place, chance = home.place("capstone"), random.Random(4)
    slow = stages(tmp_path, diagnose=CELL + "import time\ntime.sleep(1)")
    expected = {}
    for _ in range(KILLS):
        with started(home, "tick", "capstone", "--force", **slow) as process:
            run = at_work(place, chance.choice(["monitor", "diagnose"]), process)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.1))
            processes = family(process.pid)
            if chance.random() < 0.5:
                process.kill()
                expected[run] = "interrupted"
            else:
                kernels = kernels_of(process.pid)
                for kernel in kernels:
                    kernel.kill()
                expected[run] = "failed" if kernels else "completed"
            process.communicate(timeout=30)
            assert not survivors(processes)
    assert here(home, "tick", "capstone", "--force", **good).returncode == 0
    told = {report["run"]: report["status"] for report in reports(place)}
    for report in reports(place):
        if told[report["run"]] == "completed":  # the kernel had done its work, or was not there yet
            assert {"completed", "skipped"} >= set(statuses(report).values())
            assert expected.get(report["run"]) != "interrupted"
        else:
            assert told[report["run"]] == expected[report["run"]]
            assert told[report["run"]] != "failed" or report["error"]["name"] == "DeadKernelError"
    assert set(told.values()) == {"completed", "failed", "interrupted"}
    with Book.open(place.book, read_only=True) as book:
        assert book.unfinished() == []
        assert {line["run"]: line["status"] for line in book.runs()} == told
        assert book.state().judged_version == book.state().data_version


def test_no_port_is_open_while_a_stage_runs(home, tmp_path):
    with started(home, "tick", "capstone", **stages(tmp_path, monitor=WAIT)) as process:
        at_work(home.place("capstone"), "monitor", process, printed="waiting")
        processes = family(process.pid)
        assert len(processes) == 3
        assert [each.net_connections("inet") for each in processes] == [[], [], []]
        process.kill()


FILLING = """
from attrition import record
with open("filler", "wb") as file:
    while True:
        file.write(bytes(2**16))
        file.flush()
"""


def test_a_full_disk_fails_the_run_and_the_next_goes_on(home, tmp_path, good):
    script = f"""
cp -r {home.root} {tmp_path}/before
mount -t tmpfs -o size=8m tmpfs {home.root} || exit 99
cp -r {tmp_path}/before/. {home.root}
cd / && {sys.executable} {REPOSITORY}/runner.py tick capstone > {tmp_path}/said 2>&1
echo $? > {tmp_path}/status
cp -r {home.root} {tmp_path}/after
rm {home.root}/executed/capstone/*/filler
ATTRITION_NOTEBOOKS={good["ATTRITION_NOTEBOOKS"]} {sys.executable} {REPOSITORY}/runner.py tick capstone
"""
    environment = {**BARE, "PATH": os.defpath, "ATTRITION_HOME": str(home.root), **stages(tmp_path, monitor=FILLING)}
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    require(done.returncode != 99 and "unshare" not in done.stderr, f"no file system of its own: {done.stderr}")
    assert done.returncode == 0, done.stderr + (tmp_path / "said").read_text()
    assert (tmp_path / "status").read_text() == "1\n"
    home = Home(tmp_path / "after")
    (report,) = reports(home.place("capstone"))
    assert (report["status"], report["error"]["stage"], report["error"]["name"]) == ("failed", "monitor", "OSError")
    assert "No space left" in told_first(home, report)


def test_a_package_index_that_never_answers_holds_nothing_up(home, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        patient = {"PIP_NO_INDEX": "", "PIP_INDEX_URL": index, "PIP_TIMEOUT": "3600", "PIP_CONFIG_FILE": os.devnull}
        slow = stages(tmp_path, monitor=WAIT)
        with started(home, "tick", "capstone", **patient, **slow) as process:
            asked, _ = silent.accept()
            at_work(home.place("capstone"), "monitor", process)
            processes = family(process.pid)
            process.kill()
        assert not survivors(processes)
        asked.close()
        (home.place("capstone").newest.with_suffix(".asked")).unlink()
        slow = stages(tmp_path / "again", report=f"{CELL}while not __import__('pathlib').Path('go').exists(): pass")
        with started(home, "tick", "capstone", **patient, **slow) as process:
            asked, _ = silent.accept()
            run = at_work(home.place("capstone"), "report", process)
            (home.place("capstone").staging / run / "go").touch()
            process.communicate(timeout=120)
        asked.close()
    assert (process.returncode, reports(home.place("capstone"))[-1]["status"]) == (0, "completed")


def test_a_signal_while_a_drop_settles_starts_nothing(home):
    place = home.place("capstone")
    place.params.write_text(place.params.read_text() + "settle: 600\n")
    for mark in place.incoming.glob("*.done"):
        mark.unlink()
    with started(home, "tick", "capstone") as process:
        while not place.lock.exists() or not place.lock.read_text():
            assert not ended(process)
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, "nothing was started" in errors) == (143, True)
    assert reports(place) == []


def test_a_drop_that_a_process_has_open_waits_and_is_told_of(home):
    place = home.place("capstone")
    safe.remove(place.incoming)
    drop = safe.make_folder(place.incoming) / os.fsdecode(b"late-\xff.csv")
    with drop.open("w") as file:
        file.flush()
        os.utime(drop, (0, 0))
        told = here(home, "tick", "capstone")
    assert told.returncode == 0, told.stderr
    assert r"capstone: late-%ff.csv waits: a process has it open for writing" in told.stdout
    assert (list(place.incoming.iterdir()), reports(place)) == ([drop], [])


def test_a_lock_that_other_machines_would_not_see_is_refused(tmp_path, monkeypatch):
    with safe.lock(tmp_path / "lock", "now"):
        pass
    monkeypatch.setattr(safe, "REMOTE", {safe.file_system(tmp_path)})
    with pytest.raises(safe.NotLocal, match="use a local disk"), safe.lock(tmp_path / "lock", "now"):
        pass


def test_the_type_of_a_file_system_is_that_of_its_last_mount(tmp_path):
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 27 0:21 / /proc rw shared:1 - proc proc rw\n30 1 {number} / / rw - ext4 /dev/a rw\n"
        f"31 30 {number} / /mnt rw shared:2 master:1 - nfs4 server:/a rw\n"
    )
    assert safe.file_system(tmp_path, mounts) == "nfs4"
    assert safe.file_system(tmp_path, tmp_path / "absent") == ""
