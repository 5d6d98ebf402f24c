"""Executing one notebook in a fresh kernel. Knows nothing of stages."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from attrition import safe
from attrition.signals import Stop

__all__ = ["CellFailed", "Failure", "environment", "execute"]

KERNEL = "python3"  # not what somebody's laptop wrote into the notebook


@dataclass(frozen=True)
class Failure:
    """What stopped a notebook: the cell (0 is the first; None when no cell is to blame) and the error there."""

    cell: int | None
    name: str
    message: str


class CellFailed(Exception):
    """The notebook did not run to its end; what ran is in the executed notebook."""

    def __init__(self, notebook: str, failure: Failure, seconds: float):
        self.notebook, self.failure, self.seconds = notebook, failure, seconds
        where = notebook if failure.cell is None else f"{notebook}, cell {failure.cell}"
        super().__init__(f"{where}: {failure.name}: {failure.message}")


def environment(cache: Path) -> None:
    """Let kernels start from a bare environment: no PATH, no LANG, a HOME that is absent or read-only.

    ``cache`` keeps what matplotlib and IPython want to write, so that neither looks for a home folder.
    """
    os.environ.setdefault("PATH", os.defpath)
    os.environ.setdefault("PYTHONUTF8", "1")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, never one from ~/.local
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    for name in ("IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        os.environ[name] = str(safe.make_folder(cache / name.split("_DIR")[0].removesuffix("DIR").lower()))
    # One thread a kernel: the same sums in the same order on every machine, and no fight for two cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def execute(
    notebook: Path, output: Path, parameters: Mapping[str, Any], *, deadline: float, stop: Stop | None = None
) -> float:
    """Run ``notebook`` with ``parameters`` in a kernel of its own; the executed copy appears whole at ``output``.

    Returns:
        Seconds it took.

    Raises:
        CellFailed: a cell raised, the kernel died, or the notebook took longer than ``deadline`` seconds. The
            executed copy is at ``output`` all the same.
        Interrupted: ``stop`` was set; the kernel is gone.
    """
    begun = time.monotonic()
    part = output.with_name(f".part.{output.name}")  # papermill writes in place, and a full disk tears it
    faults: list[BaseException] = []
    # In a thread, because nbclient takes the signals of the main thread for itself and does not give them back.
    worker = threading.Thread(target=_papermill, args=(notebook, part, parameters, faults), daemon=True)
    worker.start()
    late = False
    while worker.is_alive():
        worker.join(0.1)
        late = late or time.monotonic() - begun > deadline
        if late or (stop and stop.number is not None):
            _end_kernels()
    seconds = time.monotonic() - begun
    if part.exists():
        safe.sync(part)
        safe.move(part, output)
    if stop:
        stop.check()
    if late:
        failure = Failure(None, "DeadlineExceeded", f"not done within {deadline:g} s, the deadline of a stage")
        raise CellFailed(notebook.name, failure, seconds)
    if faults:
        raise CellFailed(notebook.name, _failure(faults[0]), seconds) from faults[0]
    return seconds


def _papermill(notebook: Path, part: Path, parameters: Mapping[str, Any], faults: list[BaseException]) -> None:
    import papermill
    from traitlets.config import Config

    try:
        # Sockets in a folder of this user's alone: a TCP port would be open to everybody on the machine. The
        # folder is short because a socket's path may have no more than 107 bytes.
        with tempfile.TemporaryDirectory(prefix="attrition-") as sockets:
            papermill.execute_notebook(
                str(notebook),
                str(part),
                parameters=dict(parameters),
                kernel_name=KERNEL,
                progress_bar=False,
                cwd=str(part.parent),
                shutdown_kernel="immediate",  # asking politely stalls now and then; stages leave nothing to atexit
                config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}),
            )
    except BaseException as error:  # handed to the thread that waits
        faults.append(error)


def _failure(error: BaseException) -> Failure:
    import papermill

    if isinstance(error, papermill.PapermillExecutionError):
        # papermill puts a note in front of the notebook that failed, and counts it.
        return Failure(error.cell_index, error.ename, str(error.evalue))
    return Failure(None, type(error).__name__, " ".join(str(error).split()))


def _end_kernels() -> None:
    """Kill the kernels of this process and what they started; papermill then comes back by itself."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
