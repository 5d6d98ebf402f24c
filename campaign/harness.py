"""One piece of work in a process of its own: forked while the libraries are only imported, killed, looked after.

The parent never opens DuckDB or Delta Lake: their threads would not survive a fork.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from attrition.home import REPOSITORY, Place
from campaign import shim, sink

__all__ = [
    "JOBS",
    "PART",
    "UNTIL",
    "Case",
    "Ended",
    "Found",
    "Result",
    "Started",
    "aloud",
    "asked",
    "child",
    "copied",
    "drawn",
    "late",
    "part_of",
    "scratch",
    "warm",
]

PATIENCE = 120  # seconds that a piece of work may take
JOBS = "CAMPAIGN_JOBS"
"""Names how many processes do the cases of a row."""
UNTIL = "CAMPAIGN_UNTIL"
"""Names the moment (time.monotonic) after which no case is begun."""
PART = "CAMPAIGN_PART"
"""Names which part of a row's cases is done, as 2/6."""
Some = TypeVar("Some")
Named = tuple[str, list[str]]
"""A case, and what was wrong in it."""
ALOUD = os.dup(2)  # stays the campaign's own in each fork, whose output is kept for its case
DRAWS = 100  # of one case, until its fault comes
DATABASES = 14  # that a tick and the questions after it open


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status or minus the signal, what it returned, and what it said."""

    status: int
    value: Any
    said: str


@dataclass
class Result:
    """What a row of the campaign found: how many cases, what went wrong in which, how long it took.

    ``whole``: how many cases there are, where that is known; 0: as many as are asked for.
    """

    cases: int = 0
    whole: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    def case(self, name: object, faults: list[str]) -> None:
        """Count one more."""
        self.cases += 1
        self.failures += [f"{name}: {fault}" for fault in faults]
        if faults and os.environ.get("CAMPAIGN_FIRST"):
            raise Found(self)

    def each(self, items: Sequence[Any], work: Callable[[Any, Path], Named | None], folder: Path) -> None:
        """Count a case an item, unless it came to None; done in JOBS processes, each in its own part of ``folder``."""
        jobs = int(os.environ.get(JOBS, "1"))
        places = [folder / f"job{number}" for number in range(jobs)]
        for place in places:
            place.mkdir(exist_ok=True)

        def named(number: int) -> Iterator[Named]:
            for item in itertools.takewhile(lambda _: not late(), items[number::jobs]):
                if (done := work(item, places[number])) is not None:
                    name, faults = done
                    aloud([f"{name}: {fault}" for fault in faults])
                    yield name, faults

        if jobs == 1:
            for each in named(0):
                self.case(*each)
            return

        def part(number: int) -> list[Named]:
            return [*named(number)]

        for job in [Started(partial(part, number)) for number in range(jobs)]:
            ended = job.ended(patience=float("inf"))
            if ended.status:
                raise AssertionError(ended.said[-2000:])
            for name, faults in ended.value:
                self.case(name, faults)


class Found(Exception):
    """The first failure is enough, as CAMPAIGN_FIRST asks for."""

    def __init__(self, result: Result):
        self.result = result
        super().__init__(result.failures[0])


def aloud(failures: Sequence[str]) -> None:
    """Say at once, from any fork, what went wrong: a row may take hours, and be cut off."""
    for failure in failures:
        os.write(ALOUD, f"{failure}\n".encode())


def late() -> bool:
    """Whether the time that was given is over."""
    return time.monotonic() > float(os.environ.get(UNTIL, "inf"))


def drawn(work: Callable[[], Named | None]) -> Named:
    """Of one draw after another the first in which the fault came; the others are no case.

    Raises:
        LookupError: it comes in none.
    """
    found = next((done for _ in range(DRAWS) if (done := work()) is not None), None)
    if found is None:
        raise LookupError(f"the fault came in none of {DRAWS} draws")
    return found


def part_of(cases: list[Some]) -> list[Some]:
    """Those of a row's cases that belong to the part that was asked for: of 2/6 the second sixth."""
    number, parts = map(int, os.environ.get(PART, "1/1").split("/"))
    return cases[len(cases) * (number - 1) // parts : len(cases) * number // parts]


def warm() -> None:
    """Import all that a tick imports, and compile the pages' templates, so that each fork starts with it."""
    from attrition import (  # noqa: F401
        attempt,
        chronicle,
        commits,
        dependencies,
        engine,
        overrides,
        policy,
        publish,
        site,
        stage_runner,
        tick,
    )
    from attrition.pages import frame
    from attrition.pages.notebook import notebook
    from attrition.store import upkeep  # noqa: F401
    from campaign import kit, oracle, ready  # noqa: F401

    import_module("pandas.core.methods.to_dict")
    kit.trained()  # scikit-learn imports as it goes
    ready.databases(DATABASES)
    pages = frame._environment()
    for name in pages.list_templates(extensions=["j2"]):
        if not name.startswith("notebook."):  # whose environment is nbconvert's
            pages.get_template(name)
    notebook(REPOSITORY / "notebooks" / "20_monitor.ipynb", title="")
    gc.collect()
    gc.freeze()  # what is here stays, and no fork looks it through, copying each page that it marks
    ready.large_pages()


class Started:
    """A piece of work in a fork of its own; what it returns must be plain."""

    def __init__(
        self,
        work: Callable[[], Any],
        fault: shim.Fault | None = None,
        root: Path | None = None,
        log: Path | None = None,
    ):
        """Begin ``work``, with ``fault`` below ``root`` if one is given."""
        self._folder = tempfile.TemporaryDirectory(prefix="attrition-child-")
        self._said, self._value = Path(self._folder.name, "said"), Path(self._folder.name, "value")
        self._status: int | None = None
        self._held = False
        self.pid = os.fork()
        if self.pid == 0:
            _in_child(work, fault, root, log, self._said, self._value)

    @property
    def over(self) -> bool:
        """Whether it was seen to end."""
        return self._status is not None

    def held(self, patience: float = PATIENCE) -> bool:
        """Wait until it is held at its step, has ended, or ``patience`` is over; whether it is held."""
        end = time.monotonic() + patience
        while not self._held and self._status is None and time.monotonic() < end:
            found, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                self._held = True
            elif found:
                self._status = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.002)
        return self._held

    def kill(self) -> None:
        """As the system would, whatever it does; `ended` says -9, unless it was over."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Hold it wherever it is, unless it has ended."""
        if not self.over and not self.held(patience=0):
            os.kill(self.pid, signal.SIGSTOP)
            self.held()

    def go_on(self) -> None:
        """Let it go on that is held."""
        self._held = False
        os.kill(self.pid, signal.SIGCONT)

    def ended(self, patience: float = PATIENCE) -> Ended:
        """Wait for its end; if it is held it goes on.

        Raises:
            TimeoutError: it did not come; it is killed.
        """
        while self.held(patience):
            self.go_on()
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise TimeoutError(f"a case did not end in {patience} s")
        returned = json.loads(self._value.read_text()) if self._value.exists() else None
        said = self._said.read_text(errors="replace") if self._said.exists() else ""
        self._folder.cleanup()
        return Ended(self._status, returned, said)


def child(
    work: Callable[[], Any],
    fault: shim.Fault | None = None,
    root: Path | None = None,
    log: Path | None = None,
    patience: float = PATIENCE,
) -> Ended:
    """Do ``work`` in a fork, with ``fault`` below ``root`` if one is given; what it returns must be plain.

    Raises:
        TimeoutError: it did not come to an end; it is killed.
    """
    return Started(work, fault, root, log).ended(patience)


def asked(question: Callable[[], list[str]], patience: float = PATIENCE) -> list[str]:
    """What a question that is put in a fork finds wrong; that it came to no answer, if so."""
    ended = child(question, patience=patience)
    found: list[str] = ended.value
    return found if ended.status == 0 else [f"no answer, but {ended.status}: {ended.said.strip()[-600:]}"]


def _in_child(
    work: Callable[[], Any], fault: shim.Fault | None, root: Path | None, log: Path | None, said: Path, value: Path
) -> None:
    status = 70
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        if fault is not None and root is not None:
            shim.arm(root, fault, os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if log else -1)
        found = work()
        if shim.loaded():
            shim.disarm()
        value.write_text(json.dumps(found))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for homes; in memory where there is such a place, as no fault here needs a real disk."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="attrition-campaign-", dir=where) as folder:
        yield Path(folder).resolve()


@contextmanager
def copied(start: Place, root: Path) -> Iterator[Place]:
    """A copy of a home, gone afterwards."""
    shutil.copytree(start.root, root, symlinks=True)
    sink.brought(start.root, root)
    try:
        yield Place(root, start.name)
    finally:
        sink.gone(root)


@dataclass(frozen=True)
class Case:
    """A home to disturb, and where it would stand after an undisturbed tick."""

    name: str
    start: Place
    given: dict[str, int]  # SHA-256 of each drop that was given to it: rows in it
    wanted: dict[str, Any]
