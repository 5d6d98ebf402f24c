"""Homes to tick in, and the real runner: in this process, or as cron starts it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from attrition import record
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
