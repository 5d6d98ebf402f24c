"""SIGINT and SIGTERM: noted when they come, heeded where nothing can be torn."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "Stop", "heeded"]


class Interrupted(Exception):
    """Somebody asked the run to stop; ``number`` is the signal."""

    def __init__(self, number: int):
        self.number = number
        super().__init__(signal.Signals(number).name)


class Stop:
    """Whether a signal has come. A run looks before each stage, and while it waits for a kernel."""

    def __init__(self, outer: Stop | None = None):
        """``outer`` is to know too."""
        self.outer = outer
        self.number: int | None = None

    def note(self, number: int, _frame: FrameType | None = None) -> None:
        """A signal has come."""
        self.number = number
        if self.outer is not None:
            self.outer.note(number)

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.number is not None:
            raise Interrupted(self.number)

    def sleep(self, seconds: float) -> None:
        """Let time pass, but not when a signal comes: then raise Interrupted."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.1))


@contextmanager
def heeded() -> Iterator[Stop]:
    """Note SIGINT and SIGTERM for the length of a ``with`` block, in place of what they do otherwise.

    Within another such block, both know of the signal.
    """
    outer = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    stop = Stop(outer if isinstance(outer, Stop) else None)
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
