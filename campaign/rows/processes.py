"""Rows 3, 7 and 17: the real runner with its kernels."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from random import Random

import nbformat
import psutil

from attrition.home import REPOSITORY, Place
from campaign import kit, oracle, real, sink
from campaign.harness import Result, child, scratch

OUT_OF_MEMORY = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
held = bytearray(2**33)
"""
STAGES = ("ingest", "monitor", "train", "score", "deploy", "diagnose", "assess", "report")


def kills(count: int, seed: int) -> Result:
    """Row 3: the runner, its kernel, the process that forks kernels, or all of them are killed at a random moment."""
    result, chance = Result(), Random(seed)
    with scratch() as folder, sink.serving() as hook:
        place = real.start(folder, hook)
        begun = time.monotonic()
        shutil.copytree(place.root, folder / "timed")
        real.ended(real.tick(Place(folder / "timed", place.name)))
        length = time.monotonic() - begun
        for number in range(count):
            whom = ("runner", "kernel", "helper", "all")[number % 4]
            copy = Place(folder / f"home{number}", place.name)
            shutil.copytree(place.root, copy.root)
            real.alerted(copy, hook)
            process = real.tick(copy)
            time.sleep(chance.uniform(0.1, length))
            killed = _kill(process, whom)
            ended = real.ended(process)
            alive = [each.pid for each in killed if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
            wrong = [f"outlived the runner: {alive}"] if alive else []
            result.case(f"{whom}, {len(killed)} processes", wrong + real.mended(copy, ended))
            sink.gone(copy.root)
    return result


def _kill(process: subprocess.Popen[str], whom: str) -> list[psutil.Process]:
    try:
        runner = psutil.Process(process.pid)
        helpers = runner.children()
        kernels = [each for helper in helpers for each in helper.children()]
    except psutil.NoSuchProcess:
        return []
    chosen = {"runner": [runner], "kernel": kernels, "helper": helpers, "all": [runner, *helpers, *kernels]}[whom]
    for each in chosen:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    if whom not in ("runner", "all"):
        gone = [*helpers, *kernels] if whom == "helper" else kernels
        psutil.wait_procs(gone, timeout=5)
        return gone
    process.wait()  # by its own parent, so that its exit status is known
    psutil.wait_procs([*helpers, *kernels], timeout=5)
    return [*helpers, *kernels]


def memory(count: int, seed: int) -> Result:
    """Row 7: the kernel of each stage runs out of memory: by its limit, or killed as the system would."""
    result = Result()
    with scratch() as folder, sink.serving() as hook:
        for number in range(count):
            stage = STAGES[(number + seed - 9) % len(STAGES)]
            code = OUT_OF_MEMORY if number < len(STAGES) else "import os\nos.kill(os.getpid(), 9)\n"
            where = folder / str(number)
            where.mkdir()
            place = real.start(where, hook)
            ended = real.ended(real.tick(place, {"ATTRITION_NOTEBOOKS": str(_with(where / "notebooks", stage, code))}))
            wrong = [] if ended.status == 1 else [f"it ended with {ended.status}"]
            wrong += [] if f"failed in stage {stage}" in ended.said else [f"not told: {ended.said[-300:]}"]
            result.case(f"{stage}, case {number}", wrong + real.mended(place, ended))
            shutil.rmtree(where)
    return result


def _with(folder: Path, stage: str, code: str) -> Path:
    """The notebooks with a cell more in one of them, after its parameters."""
    shutil.copytree(REPOSITORY / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    path = next(folder.glob(f"*_{stage}.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    at = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(code, id="campaign"))
    nbformat.write(notebook, path)
    return folder


SECRETS = {
    "ATTRITION_TOKEN": "{}",  # asked for and sent by the API's client
    "ATTRITION_MODEL_KEY": "{}",  # signs the models
    "CRM": "postgresql://reader:{}@127.0.0.1:9/crm?connect_timeout=2",
    "CRM2": "host=127.0.0.1 port=9 user=reader password={} connect_timeout=2",
    "CRM3": "postgresql://reader:{}@nowhere.invalid/crm",
    "CRM4": "no connection string, with {} in it",
    "EXPORTS": '{{"username": "reader", "password": "{}", "timeout": 2}}',
    "EXPORTS2": '{{"unknown": "{}"}}',
    "EXPORTS3": "no JSON, with {} in it",
    "PGPASSWORD": "{}",
    "HTTP_PROXY": "http://reader:{}@127.0.0.1:9",
    "HTTPS_PROXY": "http://reader:{}@127.0.0.1:9",
    "FTP_PROXY": "http://reader:{}@127.0.0.1:9",
    "AWS_SECRET_ACCESS_KEY": "{}",
    "AWS_SESSION_TOKEN": "{}",
}
"""Variables that hold one secret each: read by the product, or by the libraries that fail on its behalf."""
ALERTS = """
to: ["http://127.0.0.1:9/{0}", "mailto://reader:{1}@127.0.0.1:9", "json://reader:{2}@127.0.0.1:9/hook"]
heartbeat: http://127.0.0.1:9/{3}
link: https://risk.example
"""
SOURCES = "".join(
    f"  - {{name: {name.lower()}, postgres: {name}, query: SELECT * FROM clients, watermark: at, overlap: 1h}}\n"
    if name.startswith("CRM")
    else f"  - {{name: {name.lower()}, url: 'ftp://127.0.0.1:9/*.csv', options: {name}}}\n"
    for name in SECRETS
    if name.startswith(("CRM", "EXPORTS"))
)
RAISES = """
from attrition.api_client import Client
Client("http://127.0.0.1:9", "shop").model()
"""


def canaries(count: int, seed: int) -> Result:
    """Row 17: secrets where the product takes them, all of which fail: sources, alerts, the API's client, a stage.

    Then all that is left is searched for them, what was packed too.
    """
    result, chance = Result(), Random(seed)
    told = [*SECRETS, "PARAMETER", *(f"alerts.yaml {number}" for number in range(4))]
    found = {name: f"canary{chance.getrandbits(96):024x}" for name in told[:count]}
    given = {name: how.format(found[name]) for name, how in SECRETS.items() if name in found}
    given["ATTRITION_PARAMETER"] = found.get("PARAMETER", "")
    with scratch() as folder:
        place = real.start(folder)
        said = real.ended(real.tick(place, given)).said
        place.params.write_text(f"{place.params.read_text()}sources:\n{SOURCES}")
        alerts = place.root / "alerts.yaml"
        alerts.write_text(ALERTS.format(*list(found.values())[-4:]))
        alerts.chmod(0o600)
        kit.drop(place, "more.csv", kit.rows(7, 5))
        notebooks = str(_with(folder / "nb", "monitor", RAISES))
        said += real.ended(real.tick(place, given | {"ATTRITION_NOTEBOOKS": notebooks})).said
        said += real.ended(real.tick(place, given)).said
        alerts.unlink()  # the one file that may hold them
        missing = [f"{each} was not told of" for each in ("source crm", "source exports", "alert") if each not in said]
        result.case("what was to fail did", missing)
        for name, value in found.items():
            left = child(lambda value=value: oracle.holding(place.root, value))  # type: ignore[misc]
            wrong = [f"it is left in {path}" for path in left.value] if left.status == 0 else [left.said[-500:]]
            result.case(name, wrong + (["it is said"] if value in said else []))
    return result
