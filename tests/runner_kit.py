"""The runner as a process: started, watched, and what is left of it."""

import json
import os
import subprocess
import sys
import time

import psutil
from pipeline_kit import BARE, statuses

from attrition.home import REPOSITORY

WAIT = "import time\nfrom attrition import record\nprint('waiting', flush=True)\ntime.sleep(120)"
STUBBORN = """
import time
from attrition import record
while True:
    try:
        time.sleep(120)
    except KeyboardInterrupt:
        print("not yet", flush=True)
"""
FORKER = "fork_server.py"


def started(home, *words, **environment):
    """The runner as a process that the test may signal."""
    command = [sys.executable, str(REPOSITORY / "runner.py"), *words]
    bare = {**BARE, "ATTRITION_HOME": str(home.root), **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd="/", env=bare, text=True, start_new_session=True, **pipes)


def at_work(place, stage, process, printed=""):
    """Wait until a stage is running, and has printed a text if one is named; its run."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        for path in place.staging.glob("*/run.json"):
            try:
                report = json.loads(path.read_text())
            except FileNotFoundError:  # of an earlier run, that is closed at this moment
                continue
            if statuses(report)[stage] == "running" and kernels_of(process.pid):
                while printed and printed not in process.stdout.readline():
                    assert process.poll() is None
                return report["run"]
        ended(process)
    raise AssertionError(f"{stage} never ran: {process.communicate()}")


def ended(process):
    """Whether a process has ended, a twentieth of a second from now: to wait for it without taking its processor."""
    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        return False
    return True


def kernels_of(pid):
    """The kernels of a runner, as psutil knows them."""
    try:
        below = psutil.Process(pid).children()
        forked = [child for each in below if FORKER in str(each.cmdline()) for child in each.children()]
        return [child for child in forked if os.getsid(child.pid) == child.pid]
    except (psutil.NoSuchProcess, ProcessLookupError):
        return []


def family(pid):
    """A process and all that descends from it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def survivors(processes, seconds=2.0):
    """Those of some processes that are still there after so many seconds."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
