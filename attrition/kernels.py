"""Executing one notebook in a fresh kernel. Knows nothing of stages."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attrition import safe, scratch
from attrition.forks import Forks
from attrition.signals import Stop

__all__ = ["CellFailed", "Deadline", "Failure", "environment", "execute"]

KERNEL = "python3"  # not what somebody's laptop wrote into the notebook
FOLDERS = (
    "IPYTHONDIR",
    "MPLCONFIGDIR",
    "XDG_CACHE_HOME",
    *(f"JUPYTER_{name}_DIR" for name in ("RUNTIME", "DATA", "CONFIG")),
)
GRACE = 4.0  # seconds that a cell has to end after it was interrupted


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


@dataclass(frozen=True)
class Deadline:
    """How long a notebook may take, in seconds from now, and what is said when it takes longer."""

    seconds: float
    words: str


def environment(cache: Path) -> None:
    """Let kernels start from a bare environment: no PATH, no LANG, a HOME that is absent or read-only.

    ``cache`` keeps what matplotlib, fontconfig and IPython want to write, so that neither looks for a home folder.
    """
    os.environ.setdefault("PATH", os.defpath)
    os.environ.setdefault("PYTHONUTF8", "1")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, never one from ~/.local
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    for name in FOLDERS:
        os.environ[name] = str(safe.make_folder(cache / name.split("_DIR")[0].removesuffix("DIR").lower()))
    scratch.sweep()  # of a runner that was killed
    # One thread a kernel: the same sums in the same order on every machine, and no fight for two cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


class _Watcher:
    """What the two threads of an execution know of each other: where it is, and that it is to end."""

    def __init__(self, forks: Forks, printed: Callable[[int, int, str], None] | None):
        self.forks, self.tell = forks, printed or (lambda *_: None)
        self.index: int | None = None
        self.count = 0
        self.ended = ""  # why no cell may start any more

    def cell(self, index: int, count: int) -> None:
        if self.ended:
            raise RuntimeError(self.ended)
        self.index, self.count = index, count
        self.tell(index, count, "")

    def printed(self, index: int, text: str) -> None:
        self.tell(index, self.count, text)

    def killed(self) -> str:
        status = self.forks.latest.wait(1) if self.forks.latest is not None else None
        if status == -signal.SIGKILL:
            return "the kernel was killed (SIGKILL): by somebody, or by the system because memory ran out"
        how = f"by {signal.Signals(-status).name}" if status is not None and status < 0 else f"with status {status}"
        return f"the kernel ended {how} while the cell ran"


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    *,
    forks: Forks,
    deadline: Deadline,
    stop: Stop,
    printed: Callable[[int, int, str], None] | None = None,
) -> float:
    """Run ``notebook`` with ``parameters`` in a kernel of its own; the executed copy is kept whole at ``output``.

    Args:
        notebook: the stage.
        output: where its executed copy goes.
        parameters: of the stage.
        forks: where its kernel comes from.
        deadline: of this notebook.
        stop: whether a signal has come.
        printed: called with a cell's index, how many cells there are, and what it printed; with no text when it starts.

    Returns:
        Seconds it took.

    Raises:
        CellFailed: a cell raised, the kernel died, or the deadline passed. The executed copy is at ``output``.
        Interrupted: ``stop`` was set; the kernel is gone.
    """
    begun = time.monotonic()
    watcher = _Watcher(forks, printed)
    faults: list[BaseException] = []
    # In a thread, so that the main thread can take signals and look at the time whatever a kernel does.
    worker = threading.Thread(target=_papermill, args=(notebook, output, parameters, watcher, faults), daemon=True)
    worker.start()
    interrupted = 0.0
    while worker.is_alive():
        worker.join(0.05)
        elapsed = time.monotonic() - begun
        if not interrupted and (stop.number is not None or elapsed > deadline.seconds):
            watcher.ended, interrupted = "no cell may start any more", time.monotonic()
            forks.interrupt()
        elif interrupted and time.monotonic() - interrupted > GRACE:
            forks.kill()
    seconds = time.monotonic() - begun
    stop.check()
    if interrupted:
        raise CellFailed(notebook.name, Failure(watcher.index, "DeadlineExceeded", deadline.words), seconds)
    if faults:
        raise CellFailed(notebook.name, _failure(faults[0], watcher), seconds) from faults[0]
    return seconds


def _papermill(
    notebook: Path, output: Path, parameters: Mapping[str, Any], watcher: _Watcher, faults: list[BaseException]
) -> None:
    import papermill
    from traitlets.config import Config

    from attrition import papermill_engine

    try:
        # Sockets in a folder of this user's alone: a TCP port would be open to everybody on the machine. The
        # folder is short because a socket's path may have no more than 107 bytes.
        with papermill_engine.event_loop(), tempfile.TemporaryDirectory(prefix=scratch.prefix("kernel")) as sockets:
            connection = {"transport": "ipc", "ip": f"{sockets}/k", "connection_file": f"{sockets}/k.json"}
            papermill.execute_notebook(
                str(notebook),
                None,  # the engine saves it
                parameters=dict(parameters),
                engine_name=papermill_engine.NAME,
                kernel_name=KERNEL,
                progress_bar=False,
                cwd=str(output.parent),
                target=output,
                forks=watcher.forks,
                watcher=watcher,
                config=Config(KernelManager=connection),
            )
    except BaseException as error:  # handed to the thread that waits
        faults.append(error)


def _failure(error: BaseException, watcher: _Watcher) -> Failure:
    import papermill

    if isinstance(error, papermill.PapermillExecutionError):
        return Failure(error.cell_index, error.ename, str(error.evalue))
    return Failure(watcher.index, type(error).__name__, " ".join(str(error).split()))
