"""Rows 3 and 7: the real runner with its kernels."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import nbformat
import psutil

from attrition.home import REPOSITORY, Place
from campaign import real, sink
from campaign.harness import Named, Result, copied, drawn, scratch

LIMIT = """
import resource, deltalake
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize:"))
resource.setrlimit(resource.RLIMIT_AS, (most := used * 1024 + int({} * 2**20), most))
"""
KILL = """
import os, threading
threading.Timer({}, os.kill, (os.getpid(), 9)).start()
"""
WAYS = ((LIMIT, 200.0), (KILL, 2.0))
"""What is done in a stage before its own work, and at most how many MB it has beside what its kernel holds, or how many
seconds. Delta Lake is there by then, or its import alone would meet each limit.
"""
DEADLINE = 180
"""Seconds of a run: without memory a library may wait for a thread of its own that has none, and not come back."""
WHOM = ("runner", "kernel", "helper", "all")
PATIENCE = 120  # seconds until a kernel must have come
STAGES = ("ingest", "monitor", "train", "score", "deploy", "diagnose", "assess", "report")


def kills(count: int, seed: int) -> Result:
    """Row 3: the runner, its kernel, the process that forks kernels, or all of them are killed at a random moment.

    Where none of them was there any more nothing was done, and another moment is drawn.
    """
    result, chance = Result(), Random(seed)
    with scratch() as folder, sink.serving() as hook:
        place = real.start(folder, hook)
        begun = time.monotonic()
        real.undisturbed()
        length = time.monotonic() - begun
        for number in range(count):
            result.case(*drawn(partial(_one, place, hook, WHOM[number % len(WHOM)], chance, length)))
    return result


def _one(start: Place, hook: str, whom: str, chance: Random, length: float) -> Named | None:
    """What is wrong after a tick of which somebody was killed; None if nobody was."""
    with copied(start, start.root.with_name("copy")) as place:
        real.alerted(place, hook)
        process = real.tick(place)
        runner = psutil.Process(process.pid)
        if whom == "kernel":  # in two thirds of a tick there is none: one of them is chosen, and waited for
            _come(runner, 1 + chance.randrange(len(STAGES)))
            time.sleep(chance.uniform(0, length / len(STAGES)))
        else:
            time.sleep(chance.uniform(0, length))
        killed, left = _kill(process, runner, whom)
        ended = real.ended(process)
        if not killed or (whom in ("runner", "all") and ended.status != -signal.SIGKILL):
            return None
        wrong = [f"outlived what was killed: {left}"] if left else []
        return f"{whom}, {killed} processes, it ended with {ended.status}", wrong + real.mended(place, ended)


def _come(runner: psutil.Process, number: int) -> None:
    """Wait until so many kernels have come, or the runner has ended.

    Raises:
        TimeoutError: neither.
    """
    seen: set[int] = set()
    end = time.monotonic() + PATIENCE
    while len(seen) < number and _alive(runner):
        if time.monotonic() > end:
            raise TimeoutError(f"{len(seen)} kernels in {PATIENCE} s")
        seen |= {each.pid for helper in _children(runner) for each in _children(helper)}
        time.sleep(0.01)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [each for each in process.children() if _alive(each)]
    except psutil.NoSuchProcess:
        return []


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill(process: subprocess.Popen[str], runner: psutil.Process, whom: str) -> tuple[int, list[int]]:
    """How many were killed, and who of those that had to go with them is alive still."""
    helpers = _children(runner)
    kernels = [each for helper in helpers for each in _children(helper)]
    chosen = {"runner": [runner], "kernel": kernels, "helper": helpers, "all": [runner, *helpers, *kernels]}[whom]
    alive = [each for each in chosen if _alive(each)]
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    if runner in alive:
        process.wait()  # by its own parent, so that its exit status is known
    gone = kernels if whom == "kernel" else [*helpers, *kernels]
    psutil.wait_procs(gone, timeout=5)
    return len(alive), [each.pid for each in gone if _alive(each)]


def memory(count: int, seed: int) -> Result:
    """Row 7: the kernel of each stage runs out of memory: by a limit that the stage's own work meets, or killed within
    it, as the system would.

    What left a stage enough, or came when it was over, is none; then there is less of it, or it comes sooner.
    """
    result, chance = Result(), Random(seed)
    with scratch() as folder, sink.serving() as hook:
        for number in range(count):
            stage = STAGES[(number + seed - 9) % len(STAGES)]
            code, most = WAYS[number // len(STAGES) % len(WAYS)]
            first = chance.uniform(most / 40, most)
            enough = (code.format(first / 3**times) for times in itertools.count())
            name, wrong = drawn(lambda: _short_of(folder / "home", hook, stage, next(enough)))  # noqa: B023 - called here
            result.case(f"{stage}, case {number}: {name}", wrong)
    return result


def _short_of(where: Path, hook: str, stage: str, code: str) -> Named | None:
    """What is wrong after a tick in one of whose stages ``code`` was run first; None if that stage came to its end."""
    where.mkdir()
    place = real.start(where, hook)
    place.params.write_text(f"{place.params.read_text()}run_deadline: {DEADLINE}\n")
    try:
        ended = real.ended(real.tick(place, {"ATTRITION_NOTEBOOKS": str(with_cell(where / "notebooks", stage, code))}))
        if ended.status == 0:
            return None
        wrong = [] if ended.status == 1 else [f"it ended with {ended.status}"]
        told = next((line for line in ended.said.splitlines() if f"failed in stage {stage}" in line), "")
        wrong += [] if told else [f"not told: {ended.said[-300:]}"]
        return told, wrong + real.mended(place, ended)
    finally:
        sink.gone(place.root)
        shutil.rmtree(where)


def with_cell(folder: Path, stage: str, code: str) -> Path:
    """The notebooks with a cell more in one of them, after its parameters."""
    shutil.copytree(REPOSITORY / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    path = next(folder.glob(f"*_{stage}.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    at = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(code, id="campaign"))
    nbformat.write(notebook, path)
    return folder
