"""Homes to tick in, and the real runner: in this process, or as cron starts it."""

import atexit
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import nbformat
import pytest

import runner
from attrition import forks, record
from attrition.home import REPOSITORY, Home

CAPSTONE = REPOSITORY / "tests" / "data" / "capstone"
NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port
BARE = {"LANG": "C", "PIP_NO_INDEX": "1", "ATTRITION_API_URL": NOWHERE}  # cron's environment, but for ours


def capstone(root: Path, *sources: str) -> Home:
    """A home with the furnished portfolio, its test data, and the drops of ``sources``."""
    home = Home(root)
    place = home.place("capstone")
    for folder in (place.params.parent, place.incoming):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "params" / "capstone.yaml", place.params)
    shutil.copytree(CAPSTONE / "testdata", place.test, dirs_exist_ok=True)
    for source in sources:
        drop(place, *(CAPSTONE / source).iterdir())
    return home


def drop(place, *files: Path) -> None:
    """Lay files into incoming/, marked as complete."""
    for file in files:
        shutil.copy(file, place.incoming)
        (place.incoming / f"{file.name}.done").touch()


def cli(home: Home, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """``python runner.py WORDS`` from /, in cron's bare environment."""
    command = [sys.executable, str(REPOSITORY / "runner.py"), *words]
    bare = {**BARE, "ATTRITION_HOME": str(home.root), **environment}
    return subprocess.run(command, cwd="/", env=bare, capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def environment(**given: str) -> Iterator[None]:
    """This process with these variables and no other, as cron would start it."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def here(home: Home, *words: str, **given: str) -> subprocess.CompletedProcess:
    """What :func:`cli` does, in this process: for a test of what a tick does and not of how the runner starts.

    Its imports are made once a session, and so are those of the process that its kernels are forked from: the greater
    part of what a tick costs.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    bare = {**BARE, "ATTRITION_HOME": str(home.root), **given}
    with environment(**bare), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(forks, "forking", kept_ready)
        patch.setattr(runner, "NOTEBOOKS", Home.stages())
        try:
            status = runner.main(words)
        except SystemExit as end:  # argparse's
            status = end.code
    return subprocess.CompletedProcess(words, status, *(each.buffer.getvalue().decode() for each in (out, err)))


READY: list[forks.Forks] = []


@contextmanager
def kept_ready(told: Callable[[str], None]) -> Iterator[forks.Forks]:
    """The process that kernels are forked from, as :func:`forks.forking` opens it, but open until the tests end."""
    if not READY or READY[0].refused or READY[0]._ended:
        READY[:] = [forks.Forks(told)]
        atexit.register(READY[0].close)
    READY[0].told = told
    yield READY[0]
    READY[0]._let_go()


def reports(place) -> list[dict]:
    """The accounts of all published runs, oldest first."""
    return [json.loads(path.read_text()) for path in sorted(place.executed.glob("2*/run.json"))]


def recorded(place, run: str, notebook: str) -> dict:
    return record.read(place.executed / run / f"{notebook}.ipynb")


def statuses(report: dict) -> dict:
    return {stage["name"]: stage["status"] for stage in report["stages"]}


def tree(root: Path) -> dict:
    """Every file below ``root`` with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".cache" not in path.parts
    }


def notebooks(folder: Path, **changed: str) -> Path:
    """A copy of the stages in which a stage named here has ``code`` in its import cell's place."""
    shutil.copytree(REPOSITORY / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    for stage, code in changed.items():
        path = next(folder.glob(f"*_{stage}.ipynb"))
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        cells[1].source = code
        nbformat.write(notebook, path)
    return folder


QUICK = {
    "ingest": """
from pathlib import Path

from attrition import record
from attrition.stages import Stage
from attrition.store.ingest import ingest

stage = Stage.open(home, portfolio, staging)
taken = ingest(stage.portfolio, stage.clients(data_version), [Path(drop) for drop in drops], stage.staging, run=run)
record.leave("rows", taken.rows)
""",
    "monitor": """
from attrition import record
for name in ("performance", "look", "watch"):
    record.leave(name, None)
record.leave("change", 0)
record.leave("verdict", {"state": "learning", "sentence": "Too few."})
""",
    "diagnose": "from attrition import record",
    "report": "from attrition import record",
}


def quick(folder: Path, **changed: str) -> Path:
    """Stages that take a second each: the real ingestion, a verdict that trains nothing, and no pictures.

    Their kernels, parameters and commits are the real ones.
    """
    notebooks(folder, **QUICK | changed)
    for path in folder.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        notebook.cells = code[:2]  # parameters, and what stands in place of the rest
        nbformat.write(notebook, path)
    return folder


@contextmanager
def served(home: Home) -> Iterator[str]:
    """The API on this home, as ``make serve`` starts it, on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ATTRITION_HOME": str(home.root)}
    command = [sys.executable, str(REPOSITORY / "api.py"), "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _answers(port):
                with pytest.raises(subprocess.TimeoutExpired):  # it has not ended
                    server.wait(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False
