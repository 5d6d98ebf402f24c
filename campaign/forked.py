"""The process that fetches, forked with its driver imported, which otherwise takes longer than all the rest of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrition.sources import asking
from campaign import shim

__all__ = ["fetching"]

HANDLES = 4096
HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Forked:
    """In the place of `subprocess.Popen` of `python -m attrition.sources.fetch …`: the same work and pipe."""

    def __init__(self, command: Sequence[str], **_given: Any):
        reading, writing = os.pipe()
        self.pid, self.returncode = os.fork(), -1
        if self.pid == 0:
            _work(command[-3:], writing)
        os.close(writing)
        self._pipe, self._said = reading, b""

    def __enter__(self) -> _Forked:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._pipe)
        if self.returncode == -1:
            self._end()

    def communicate(self, timeout: float) -> tuple[bytes, None]:
        """What it printed, once it has ended."""
        while select.select([self._pipe], [], [], timeout)[0]:
            if piece := os.read(self._pipe, 2**16):
                self._said += piece
            else:
                self._end()
                return self._said, None
        raise subprocess.TimeoutExpired("fetch", timeout)

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _work(words: Sequence[str], pipe: int) -> None:
    status = 1
    try:
        shim.disarm()
        for number in HEEDED:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(pipe, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.closerange(3, HANDLES)  # above all the runner's lock, which would last as long as this process
        sys.stdout = os.fdopen(1, "w", closefd=False)
        from attrition.sources import fetch

        fetch.main(*words)
        sys.stdout.flush()
        status = 0
    finally:
        os._exit(status)


@contextmanager
def fetching() -> Iterator[None]:
    """Sources are asked by a fork, in a ``with`` block."""
    before = vars(asking)["subprocess"]
    vars(asking)["subprocess"] = _Subprocess
    try:
        yield
    finally:
        vars(asking)["subprocess"] = before


class _Subprocess:
    Popen, TimeoutExpired = _Forked, subprocess.TimeoutExpired
    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
