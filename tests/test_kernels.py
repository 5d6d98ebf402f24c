"""Kernels that are forked: the same results as ordinary ones, nothing shared, nothing left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import psutil
import pytest
from runner_kit import family, survivors

from attrition import forks, kernels
from attrition.kernel_manager import Provisioner
from attrition.kernels import CellFailed, Deadline
from attrition.papermill_engine import Execution
from attrition.signals import Stop

LONG = Deadline(120, "too long")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    before = dict(os.environ)
    kernels.environment(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def forking(environment, tmp_path_factory):
    """The process that forks, at work already."""
    told = []
    with forks.forking(told.append) as opened:
        executed(opened, tmp_path_factory.mktemp("first"), "pass")
        yield opened
    assert told == []


@pytest.fixture
def own(environment):
    """One for a test that breaks it; with what it told."""
    told = []
    with forks.forking(told.append) as opened:
        yield opened, told


def notebook(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell("x: int = 1", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), path)
    return path


def executed(opened, folder: Path, *sources: str, deadline: Deadline = LONG, **parameters):
    """The notebook after its execution."""
    folder.mkdir(exist_ok=True)
    source = notebook(folder / "source.ipynb", *sources)
    target = folder / "executed.ipynb"
    kernels.execute(source, target, {"x": 2, **parameters}, forks=opened, deadline=deadline, stop=Stop())
    return nbformat.read(target, as_version=4)


def said(run) -> str:
    return "".join(output.text for cell in run.cells for output in cell.get("outputs", ()) if "text" in output)


DRAWN = """
import numpy as np, matplotlib.pyplot as plt, seaborn as sns
from sklearn.linear_model import LogisticRegression
from attrition import look, record
look.theme()
rows = np.random.default_rng(x).normal(size=(200, 3))
fitted = LogisticRegression().fit(rows, rows.sum(axis=1) > 0)
record.leave("coefficients", fitted.coef_)
figure, axes = plt.subplots()
sns.histplot(fitted.decision_function(rows), ax=axes)
record.picture(figure, "a histogram")
"""
SHOWN = "plt.plot([1, x])"


def drawn(output) -> bool:
    return "image/png" in output["data"]


def outputs(run) -> list:
    return [
        {key: output.get(key) for key in ("data", "text")} for cell in run.cells for output in cell.get("outputs", ())
    ]


def test_figures_and_values_are_those_of_an_ordinary_kernel(own, tmp_path):
    opened, told = own
    forked = executed(opened, tmp_path / "forked", DRAWN, SHOWN)
    assert told == []
    opened.refuse("as a test")
    ordinary = executed(opened, tmp_path / "ordinary", DRAWN, SHOWN)
    assert told == ["kernels start the ordinary way, which is slower: as a test"]
    assert [drawn(output) for output in outputs(forked)] == [False, True, False, True]
    assert list(map(drawn, outputs(forked))) == list(map(drawn, outputs(ordinary)))
    values = [output for output in outputs(forked) if " at 0x" not in str(output)]
    assert values == [output for output in outputs(ordinary) if " at 0x" not in str(output)]
    assert len(values) == 3


def test_nothing_of_the_project_is_loaded_before_a_stage_asks_for_it(forking, tmp_path):
    loaded = "import sys; print(*[name for name in sys.modules if name.startswith('attrition')])"
    assert said(executed(forking, tmp_path / "fork", loaded)).strip() == ""


def test_the_process_that_forks_has_one_thread(forking, tmp_path):
    executed(forking, tmp_path / "fork", "pass")
    tasks = Path(f"/proc/{forking._server.pid}/task").glob("*/comm")
    # pyarrow, where it is installed, comes with pandas: its allocator has a thread of its own, and minds forks itself.
    assert len([name for name in map(Path.read_text, tasks) if name != "jemalloc_bg_thd\n"]) == 1


def test_two_kernels_share_neither_names_nor_random_numbers_nor_processes(forking, tmp_path):
    drawn = "import os, random, numpy; print(os.getpid(), numpy.random.random(), random.random(), 'seen' in globals())"
    first = said(executed(forking, tmp_path / "first", drawn, "seen = 1")).split()
    second = said(executed(forking, tmp_path / "second", drawn)).split()
    assert all(one != other for one, other in zip(first[:3], second[:3], strict=True))
    assert (first[3], second[3]) == ("False", "False")


def test_sixty_forks_leave_nothing(forking, tmp_path):
    def fork(number):
        connection = tmp_path / f"k{number}.json"
        info = {f"{channel}_port": at for at, channel in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
        facts = {"transport": "ipc", "ip": str(tmp_path / f"k{number}"), "key": "k", "signature_scheme": "hmac-sha256"}
        connection.write_text(json.dumps(info | facts))
        kernel = forking.fork(str(connection), str(tmp_path), os.environ)
        kernel.kill()
        assert kernel.wait(10) == -signal.SIGKILL

    def held():
        both = (psutil.Process(), psutil.Process(forking._server.pid))
        return [process.num_fds() for process in both], both[1].memory_info().rss / 2**20

    fork(0)
    before, size = held()
    for number in range(1, 61):
        fork(number)
    after, later = held()
    assert after == before
    assert later - size < 4
    assert psutil.Process(forking._server.pid).children() == []


def test_what_a_kernel_started_goes_with_it(forking, tmp_path):
    daemon = "import subprocess; print(subprocess.Popen(['sleep', '300'], start_new_session=True).pid)"
    pid = int(said(executed(forking, tmp_path / "fork", daemon)))
    assert not psutil.pid_exists(pid)


def test_without_the_process_that_forks_a_kernel_starts_the_ordinary_way(own, tmp_path):
    opened, told = own
    opened._server.kill()
    opened._server.wait()
    assert said(executed(opened, tmp_path / "first", "print(x)")) == "2\n"
    assert said(executed(opened, tmp_path / "second", "print(x)")) == "2\n"
    assert len(told) == 1


def test_a_server_that_cannot_start_is_no_failure(environment, tmp_path, monkeypatch):
    monkeypatch.setattr(forks, "SERVER", tmp_path / "absent.py")
    told = []
    with forks.forking(told.append) as opened:
        assert said(executed(opened, tmp_path / "run", "print(x)")) == "2\n"
    assert len(told) == 1


DYING = {
    "in a cell": ("print('so far')", "import os; os.kill(os.getpid(), 9)"),
    "between two cells": (
        "import os; get_ipython().events.register('post_execute', lambda: os.kill(os.getpid(), 9))",
        "print('never')",
    ),
    "by a signal of its own": ("print('so far')", "import os; os.kill(os.getpid(), 11)"),
}


@pytest.mark.parametrize("cells", DYING.values(), ids=DYING)
def test_a_kernel_that_dies_fails_its_cell_and_no_cell_is_called_completed_that_was_not(forking, tmp_path, cells):
    with pytest.raises(CellFailed) as caught:
        executed(forking, tmp_path / "run", *cells, "print('never')")
    assert caught.value.failure.name == "DeadKernelError"
    run = nbformat.read(tmp_path / "run" / "executed.ipynb", as_version=4)
    states = [cell.metadata.papermill["status"] for cell in run.cells]
    failed = states.index("failed")
    assert failed == caught.value.failure.cell
    assert set(states[:failed]) == {"completed"}
    assert set(states[failed + 1 :]) == {"pending"}
    assert run.cells[failed].outputs[-1].evalue == caught.value.failure.message


FILLING = """
import psutil, resource
limit = psutil.Process().memory_info().vms + 2**28
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
kept = []
while True:
    kept.append(bytes({piece}))
"""


@pytest.mark.parametrize("piece", [2**24, 200])
def test_memory_that_runs_out_fails_the_cell(forking, tmp_path, piece):
    with pytest.raises(CellFailed) as caught:  # to the last byte, so that the kernel may be unable to say so itself
        executed(forking, tmp_path / "run", FILLING.format(piece=piece), "print('never')")
    assert caught.value.failure.cell == 2
    assert caught.value.failure.name in ("MemoryError", "DeadKernelError")
    run = nbformat.read(tmp_path / "run" / "executed.ipynb", as_version=4)
    assert [cell.metadata.papermill["status"] for cell in run.cells[2:]] == ["failed", "pending"]
    assert said(executed(forking, tmp_path / "next", "print(x)")) == "2\n"


def test_an_error_that_the_kernel_could_not_show_is_told_all_the_same(forking, tmp_path):
    """As where memory that ran out is too short for a traceback."""
    silent = "get_ipython().showtraceback = lambda *a, **k: None\nraise MemoryError('no room')"
    with pytest.raises(CellFailed) as caught:
        executed(forking, tmp_path / "run", silent)
    assert (caught.value.failure.name, caught.value.failure.message) == ("MemoryError", "no room")


def test_a_cell_that_hangs_is_interrupted_where_it_stands(forking, tmp_path):
    with pytest.raises(CellFailed) as caught:
        executed(forking, tmp_path / "run", "import time; time.sleep(300)", deadline=Deadline(2, "took too long"))
    assert (caught.value.failure.name, caught.value.failure.cell) == ("DeadlineExceeded", 2)
    run = nbformat.read(tmp_path / "run" / "executed.ipynb", as_version=4)
    assert run.cells[2].outputs[-1].ename == "KeyboardInterrupt"


def test_a_notebook_is_on_the_disk_whole_while_a_cell_runs(forking, tmp_path):
    looking = f"""
import json, time
end = time.monotonic() + 30
statuses = []
while statuses[2:3] != ["running"] and time.monotonic() < end:
    cells = json.load(open({str(tmp_path / "run" / "executed.ipynb")!r}))["cells"]
    statuses = [cell["metadata"]["papermill"]["status"] for cell in cells]
print(statuses)
"""
    assert "'completed', 'completed', 'running', 'pending']" in said(executed(forking, tmp_path / "run", looking, "1"))


def test_saves_are_few(forking, tmp_path, monkeypatch):
    saved = []
    real = Execution.write
    monkeypatch.setattr(Execution, "write", lambda execution: (saved.append(1), real(execution)))
    executed(forking, tmp_path / "run", *["pass"] * 50)
    assert len(saved) < 6


PORTS = """
import psutil
family = [psutil.Process(), *psutil.Process().parents()[:2]]  # the kernel, what it came from, and the runner
print([found for process in family for found in process.net_connections("inet")], len(family))
"""


@pytest.mark.parametrize("ordinary", [False, True])
def test_no_port_is_open(own, tmp_path, ordinary):
    opened, _ = own
    if ordinary:
        opened.refuse("as a test")
    assert said(executed(opened, tmp_path / "run", PORTS)) == "[] 3\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_end_of_an_ordinary_kernel_is_told_as_it_was(own, tmp_path, number):
    opened, _ = own
    opened.refuse("as a test")
    with pytest.raises(CellFailed, match=signal.Signals(number).name) as caught:
        executed(opened, tmp_path / "run", f"import os; os.kill(os.getpid(), {int(number)})")
    assert caught.value.failure.name == "DeadKernelError"


def test_an_ordinary_kernel_is_interrupted_like_a_forked_one(own, tmp_path):
    opened, _ = own
    opened.refuse("as a test")
    with pytest.raises(CellFailed) as caught:
        executed(opened, tmp_path / "run", "import time; time.sleep(300)", deadline=Deadline(4, "took too long"))
    assert caught.value.failure.name == "DeadlineExceeded"
    run = nbformat.read(tmp_path / "run" / "executed.ipynb", as_version=4)
    assert run.cells[2].outputs[-1].ename == "KeyboardInterrupt"


def test_an_ordinary_kernel_and_what_it_started_go_with_the_runner(environment, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    source = notebook(
        folder / "source.ipynb",
        "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True)",
        "import time; print('waiting', flush=True); time.sleep(300)",
    )
    code = f"""
from pathlib import Path
from attrition import forks, kernels
from attrition.signals import Stop
with forks.forking(print) as opened:
    opened.refuse("as a test")
    kernels.execute(Path({str(source)!r}), Path({str(folder / "executed.ipynb")!r}), {{}}, forks=opened,
        deadline=kernels.Deadline(60, ""), stop=Stop(), printed=lambda *said: print(*said, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as runner:
        while "waiting" not in (line := runner.stdout.readline()):
            assert line
        processes = family(runner.pid)
        assert len(processes) == 5  # the runner, what would fork, what looks after the kernel, the kernel, its daemon
        runner.kill()
        assert survivors(processes) == []


def test_the_server_ends_with_its_runner(tmp_path):
    code = "from attrition import forks; f = forks.Forks(print); print(f._server.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:
        server = psutil.Process(int(runner.stdout.readline()))
        runner.kill()
    assert survivors([server]) == []


def test_a_folder_that_another_runner_is_just_removing_fails_no_tick(environment, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        for name in kernels.FOLDERS:
            patch.setenv(name, os.environ[name])
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        gone = tmp_path / f"attrition-kernel-pid{2**22 + 1}-x"
        gone.symlink_to(tmp_path / "nowhere")  # in the list of names, and not there to be asked
        kernels.environment(tmp_path / "cache")
        assert not gone.exists()


def test_jupyter_does_not_interrupt_a_kernel_before_it_kills_it():
    """One that is just done with its last cell would write of an ERROR into cron's log, of a run that is well."""
    provisioner = Provisioner(kernel_id="")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as kernel:
        provisioner.process, provisioner.pgid = kernel, kernel.pid
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.run(provisioner.send_signal(number))
        assert kernel.wait() == -signal.SIGTERM
