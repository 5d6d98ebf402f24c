"""What a person sees of a run at work: what its cells print, as they print it, and on a terminal how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from attrition.console import write

__all__ = ["Progress"]

WIDTH = 24  # of a bar, in signs


class Progress:
    """The log of one run. ``say`` writes one line for a person."""

    def __init__(self, say: Callable[[str], None]):
        self._say, self._bar = say, sys.stdout.isatty()
        self._left = ""  # printed, but no end of the line yet
        self._at = ("", -1)

    def stage(self, name: str) -> Callable[[int, int, str], None]:
        """What to call for each cell of a stage: its index, how many there are, and what it printed."""
        return partial(self._cell, name)

    def line(self, text: str) -> None:
        """A line of the runner's own, after what was printed before."""
        self._flush()
        self._clear()
        self._say(text)

    def _cell(self, name: str, index: int, count: int, text: str) -> None:
        if self._at != (name, index):
            self._flush()
            self._at = (name, index)
        *lines, self._left = (self._left + text.replace("\r\n", "\n")).split("\n")
        self._left = self._left.rpartition("\r")[2]  # of a bar that a cell draws, its newest state
        if lines:
            self._clear()
        for line in lines:
            self._told(line)
        if self._bar:
            full = WIDTH * index // max(count, 1)
            write(f"\r\x1b[K{name:<9} {'█' * full}{'░' * (WIDTH - full)} cell {index + 1} of {count}")

    def _flush(self) -> None:
        if self._left:
            self._clear()
            self._told(self._left)
            self._left = ""

    def _told(self, line: str) -> None:
        name, index = self._at
        self._say(f"{name} [{index + 1}] {line.rpartition(chr(13))[2]}".rstrip())

    def _clear(self) -> None:
        if self._bar:
            write("\r\x1b[K")
