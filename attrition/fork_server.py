"""The process that kernels are forked from: third-party libraries imported, nothing else done.

Run as a script, never imported, so that no module of the project is loaded here and an edited one is never
stale. The runner holds the other end of a socket; when that end closes, everything that came from here is
killed and this process ends, whatever became of the runner.

    python -P fork_server.py SOCKET PARENT     the number of the socket's descriptor, the process id of the runner

    python -P fork_server.py kernel PARENT CONNECTION_FILE     one ordinary kernel, with no library imported beforehand

A request is one JSON message ``{"connection_file", "cwd", "env"}`` with the write end of a pipe. Into that pipe
go three lines: ``pid N``; ``ready`` from the kernel itself once it listens, which may overtake the first; and
``ended STATUS``, as wait(2) has it, when nothing of it is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What the stages use. Importing computes nothing and draws nothing: what a library sets up in use (threads, caches,
# a figure's backend) belongs to the kernel. One that starts a thread when imported is not here (deltalake): a fork
# takes no thread along. One that is missing is left to the stage that wants it.
LIBRARIES = (
    *("numpy", "pandas", "scipy.stats", "matplotlib.pyplot", "seaborn", "psutil"),
    *("matplotlib.backends.backend_agg", "PIL.PngImagePlugin"),
    *("sklearn.compose", "sklearn.impute", "sklearn.linear_model", "sklearn.metrics", "sklearn.pipeline"),
    *("sklearn.preprocessing", "sklearn.model_selection", "sklearn.utils._repr_html.estimator"),
    *("duckdb", "sqlite3", "yaml", "msgspec", "joblib", "threadpoolctl", "cloudpickle"),
    *("pydantic.main", "pydantic.types", "pydantic.functional_validators", "pydantic.plugin._schema_validator"),
    *("pydantic._internal._generate_schema", "pydantic._internal._validators", "pydantic.plugin._loader"),
    *("ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.completerlib"),
)
SET_DEATH_SIGNAL, BE_SUBREAPER = 1, 36  # prctl(2)
LINE = 100_000  # bytes of a request at most


def main() -> None:
    """Import, then fork a kernel a request, until the runner closes its end."""
    requests, runner = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(SET_DEATH_SIGNAL, signal.SIGKILL)  # while it imports it cannot look at the socket
    prctl(BE_SUBREAPER, 1)  # what a kernel leaves behind becomes a child of this process
    if os.getppid() != runner:
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # of the runner's terminal; the runner decides what ends
        signal.signal(number, signal.SIG_IGN)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # else ipykernel's debugger warns of what it does not do here
    # As ipykernel sets it. The backend itself must not be imported here: it looks for its shell when it is.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if pandas := sys.modules.get("pandas"):
        pandas.set_option(
            "display.max_columns", 20
        )  # as when it is imported in a kernel: here it takes us for a terminal
    gc.collect()
    gc.freeze()  # memory that a child's collector does not touch stays shared
    prctl(SET_DEATH_SIGNAL, 0)  # from here on the socket tells, so that kernels are killed before this process ends
    serve(requests, prctl)


def serve(requests: socket.socket, prctl: Any) -> None:
    """One kernel after another, or several at once."""
    woken, waker = woken_by_children()
    kernels: dict[int, int] = {}  # process id -> the pipe that tells of it
    watched: list[Any] = [requests, woken]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            buried(kernels)
        if requests in ready:
            message, pipes, _, _ = socket.recv_fds(requests, LINE, 1)
            if not message:
                kill_all()
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for end in (requests.fileno(), woken, waker, *kernels.values()):
                    os.close(end)
                kernel(json.loads(message), pipes[0], prctl)
            kernels[pid] = pipes[0]
            tell(pipes[0], f"pid {pid}")


def woken_by_children() -> tuple[int, int]:
    """Both ends of a pipe that can be read from when a child has ended."""
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    return woken, waker


def tell(pipe: int, line: str) -> None:
    """A line for the runner, if it still listens."""
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, f"{line}\n".encode())


def buried(kernels: dict[int, int]) -> None:
    """Take note of children that ended; with a kernel everything goes that it started."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            if pid in kernels:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                pipe = kernels.pop(pid)
                if not kernels:
                    kill_all()
                tell(pipe, f"ended {status}")
                os.close(pipe)


def kill_all() -> None:
    """Kill what descends from this process until nothing does: children of the killed become its own children."""
    end = time.monotonic() + 5
    while (children := children_of(os.getpid())) and time.monotonic() < end:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def children_of(parent: int) -> list[int]:
    """Process ids of the children, from /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):  # where there is none, only the process group is known
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def kernel(request: dict[str, Any], pipe: int, prctl: Any) -> None:
    """Become the kernel that was asked for; does not return."""
    try:
        forker = os.getppid()
        os.setsid()
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        prctl(BE_SUBREAPER, 0)
        if os.getppid() != forker:
            os._exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # SIGINT stays ignored until a cell runs
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # else all kernels would draw the same numbers
        run_kernel(request["connection_file"], lambda: tell(pipe, "ready"))
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def alone(runner: int, connection_file: str) -> None:
    """One ordinary kernel, looked after by this process: it ends as the kernel does, and all ends with the runner."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    prctl = getattr(ctypes.CDLL(None), "prctl", lambda *_: None)  # Linux has it
    prctl(BE_SUBREAPER, 1)
    woken, _ = woken_by_children()
    child = os.fork()  # of the same process group, to which the runner sends its signals
    if child == 0:
        signal.set_wakeup_fd(-1)
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        try:
            run_kernel(connection_file, lambda: None)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    ended, status = 0, 0
    while ended != child and os.getppid() == runner:
        select.select([woken], [], [], 0.5)
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        ended, status = os.waitpid(child, os.WNOHANG)
    kill_all()
    if ended != child:
        os.killpg(0, signal.SIGKILL)
    if os.WIFSIGNALED(status):
        with contextlib.suppress(OSError):  # of signals that know no other way
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def run_kernel(connection_file: str, ready: Callable[[], None]) -> None:
    """An IPython kernel as its launcher starts it, but that no TCP port is open."""
    from ipykernel.iostream import IOPubThread
    from ipykernel.kernelapp import IPKernelApp

    class App(IPKernelApp):  # type: ignore[misc]
        iopub_port: int

        def init_iopub(self, context: Any) -> None:
            """As in ipykernel, without the TCP port for what a multiprocessing child prints."""
            import zmq

            self.iopub_socket = context.socket(zmq.XPUB)
            self.iopub_socket.linger = 1000
            self.iopub_port = self._bind_socket(self.iopub_socket, self.iopub_port)
            self.configure_tornado_logger()
            self.iopub_thread = IOPubThread(self.iopub_socket, pipe=False, session=self.session)
            self.iopub_thread.start()
            self.iopub_socket = self.iopub_thread.background_socket

        def init_heartbeat(self) -> None:
            """None: the runner waits for the process itself."""

    sys.argv = ["ipykernel_launcher", "-f", connection_file]
    app = App.instance(parent_handle=1)  # somebody looks after it, so that it need not say how to connect
    app.initialize(["-f", connection_file, "--HistoryManager.enabled=False"])
    ready()
    app.start()


if __name__ == "__main__":
    if sys.argv[1] == "kernel":
        alone(int(sys.argv[2]), sys.argv[3])
    main()
    os._exit(0)  # nothing here wants tidying up
