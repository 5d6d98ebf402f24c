"""Kernels forked from a process that has the libraries imported; ordinary ones where that cannot be.

A fork is a process of its own like any kernel, ready in a tenth of the time. The runner holds one end of a
socket and the process that forks (fork_server.py) the other: whatever becomes of the runner, that end closes,
and then nothing of its kernels survives.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["ForkFailed", "Forks", "Kernel", "forking"]

SERVER = Path(__file__).with_name("fork_server.py")
PATIENCE = 60.0  # seconds until a kernel must be ready, with all imports


class ForkFailed(Exception):
    """No kernel could be forked; an ordinary one will do."""


class Kernel:
    """A forked kernel, as far as it goes like a :class:`subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pipe: int):
        """``pipe`` is the end at which fork_server.py and the kernel tell of it."""
        self._pipe, self._said = pipe, b""
        self._lock = threading.Lock()  # the thread that executes and the one that watches may both look
        self.returncode: int | None = None
        self.pid = int(self._told("pid") or 0)
        if not self.pid:
            self.close()
            raise ForkFailed("the process that forks kernels is gone")

    def ready(self) -> None:
        """Wait until it listens.

        Raises:
            ForkFailed: it came to its end before, but not by SIGKILL, which is no reason to try another way.
        """
        if self._told("ready") is None:
            ended = self.wait(5)
            if ended != -signal.SIGKILL:
                raise ForkFailed(f"the forked kernel ended with {ended} before it was ready")

    def poll(self) -> int | None:
        """None while it runs, then as ``subprocess.Popen``: its exit status, or minus the signal that ended it."""
        if self.returncode is None:
            self._read(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it and all that it started are gone."""
        end = time.monotonic() + timeout if timeout is not None else None
        while self.returncode is None and (end is None or time.monotonic() < end):
            self._read(None if end is None else max(0.0, end - time.monotonic()))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to its process group, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it and its process group at once."""
        self.send_signal(signal.SIGKILL)

    terminate = kill

    def _told(self, word: str) -> str | None:
        """What is told under a word, waited for; None if its end comes before."""
        end = time.monotonic() + PATIENCE
        while (said := self._said_of(word)) is None and self.returncode is None and time.monotonic() < end:
            self._read(end - time.monotonic())
        return said

    def _said_of(self, word: str) -> str | None:
        *lines, _unfinished = self._said.decode().split("\n")
        return next((line.partition(" ")[2] for line in lines if line.split(" ")[0] == word), None)

    def close(self) -> None:
        """Let go of the pipe, once nobody waits for it any more."""
        os.close(self._pipe)

    def _read(self, timeout: float | None) -> None:
        if not select.select([self._pipe], [], [], timeout)[0]:
            return
        with self._lock:
            if self.returncode is not None or not select.select([self._pipe], [], [], 0)[0]:
                return
            found = os.read(self._pipe, 4096)
            self._said += found
            if not found:  # without a status: who forked it is gone, and so it was killed
                self.returncode = os.waitstatus_to_exitcode(int(self._said_of("ended") or signal.SIGKILL))


class Forks:
    """The process that kernels are forked from, and the kernel that it forked last."""

    def __init__(self, told: Callable[[str], None]):
        """Start it; ``told`` is called once, with the reason, when ordinary kernels take the place of forked ones."""
        self.told, self.refused = told, ""
        self.latest: Any = None  # the last kernel's process, forked or not
        self._ended = self._forked = False
        self._server: subprocess.Popen[bytes] | None = None
        if not sys.platform.startswith("linux"):
            self.refuse("this platform has no prctl")
            return
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-P", str(SERVER), str(theirs.fileno()), str(os.getpid())]
            descriptors = (theirs.fileno(),)
            self._server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=descriptors, start_new_session=True
            )

    def fork(self, connection_file: str, cwd: str, environment: Mapping[str, str]) -> Kernel:
        """A kernel that listens where ``connection_file`` says.

        Raises:
            ForkFailed: there is none; it is told why, and from now on every call fails.
            RuntimeError: all was killed meanwhile.
        """
        if self.refused or self._server is None:
            raise ForkFailed(self.refused)
        self._let_go()
        try:
            message = json.dumps({"connection_file": connection_file, "cwd": cwd, "env": dict(environment)})
            ours, theirs = os.pipe()
            try:
                socket.send_fds(self._requests, [message.encode()], [theirs])
            finally:
                os.close(theirs)
            self.latest = kernel = Kernel(ours)
            kernel.ready()
            self._forked = True
            return kernel
        except (OSError, ForkFailed) as error:
            if self._ended:
                raise RuntimeError("stopped while a kernel was starting") from error
            self.refuse(str(error))
            raise ForkFailed(self.refused) from error

    def refuse(self, why: str) -> None:
        """No forks from now on; said once."""
        if not self.refused:
            self.refused = why
            self.told(f"kernels start the ordinary way, which is slower: {why}")

    def interrupt(self) -> None:
        """Interrupt the cell at work, as Ctrl-C does. Between two cells a kernel takes no notice."""
        if self.latest is not None and self.latest.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.latest.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kill the kernel at work, or the process that is about to fork it. None is forked after that."""
        self._ended = True
        if self.latest is not None and self.latest.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.latest.pid, signal.SIGKILL)
        elif self._server is not None and self._server.poll() is None:
            self._server.kill()

    def close(self) -> None:
        """Let go of it: what still runs is killed, and it ends by itself."""
        self._let_go()
        if self._server is not None:
            self._requests.close()
            if not self._forked:  # it may still import, for as long as a slow disk takes, and look at nothing
                self._server.kill()
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()

    def _let_go(self) -> None:
        latest, self.latest = self.latest, None
        if isinstance(latest, Kernel):
            latest.close()


@contextmanager
def forking(told: Callable[[str], None]) -> Iterator[Forks]:
    """The process that forks, for the length of a ``with`` block. To be started from the main thread."""
    forks = Forks(told)
    try:
        yield forks
    finally:
        forks.close()
