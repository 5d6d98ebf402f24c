"""Do the tests of the rooms that keep the books bite? One small change at a time, which one of them must notice.

    python -m campaign.mutants [ROOM]... [--every N] [--only TEXT]

Each mutant is run in a process of its own, forked from one that has the libraries imported, in a copy of the project,
so that the processes that a test starts see it too. It is given the tests of its room that reach its line, the quick
ones first, until one fails or hangs; what takes long is left to the test run. `equivalents.txt` lists those that do no
other thing, each with why.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from campaign.mutations import Mutant, mutants

__all__ = ["ROOMS", "Room", "Survey", "equivalents", "survey", "tried"]

REPOSITORY = Path(__file__).resolve().parent.parent
COPIED = ("attrition", "campaign", "notebooks", "params", "tests", "runner.py", "api.py", "pyproject.toml")
OURS = {"attrition", "campaign", "runner", "api", "conftest"}
WORTH = 30.0  # seconds of tests that a mutant is given: the quick ones
PATIENCE = 20.0  # seconds that the tests of a mutant have, and ten times what they take without it
BROKEN = 70  # the status of a process that did not come to its tests
EQUIVALENTS = Path(__file__).with_name("equivalents.txt")


@dataclass(frozen=True)
class Room:
    """Files that are changed, the files of tests that must notice, and which tests are too slow to be asked."""

    files: tuple[str, ...]
    tests: tuple[str, ...]
    slow: tuple[str, ...] = ()


ROOMS = {
    "safe": Room(("attrition/safe.py",), ("tests/test_safe.py",)),
    "book": Room(
        ("attrition/book.py", "attrition/book_file.py", "attrition/bookkeeping.py"),
        ("tests/test_book.py", "tests/test_bookkeeping.py"),
    ),
    "ledger": Room(
        ("attrition/store/manifest.py", "attrition/store/ingest.py", "attrition/commits.py"),
        (
            "tests/test_store_ingest.py",
            "tests/test_store_outcomes.py",
            "tests/test_commits.py",
            "tests/test_commit_steps.py",
        ),
        (
            "tests/test_store_outcomes.py::test_each_row_is_accounted_for_and_no_order_of_lines_matters",
            "tests/test_store_ingest.py::test_each_drop_is_accounted_for_to_the_row",
            "tests/test_commits.py::test_a_tick_stopped_before_any_step_is_made_good_by_the_next",
            "tests/test_commits.py::test_a_log_entry_that_a_power_cut_tore_is_taken_back",
        ),
    ),
    "registry": Room(("attrition/registry.py",), ("tests/test_registry.py",)),
    "policy": Room(("attrition/policy.py",), ("tests/test_policy.py",)),
}


@dataclass
class Survey:
    """Which tests reach which lines of the files, and how many seconds of the processor each takes, unchanged."""

    seconds: dict[str, float] = field(default_factory=dict)
    reached: dict[str, dict[str, list[int]]] = field(default_factory=dict)  # test: file: lines
    libraries: list[str] = field(default_factory=list)

    def tests(self, file: str, mutant: Mutant) -> list[str]:
        """Those that reach a mutant, quick ones first; of all, where it runs when the module is imported."""
        lines = set(mutant.lines)
        found = [test for test in self.seconds if not lines or lines & set(self.reached[test].get(file, ()))]
        found.sort(key=self.seconds.__getitem__)
        spent = accumulate((self.seconds[test] for test in found), initial=0.0)
        return [test for test, before in zip(found, spent, strict=False) if before < WORTH]


class _Surveyor:
    """A plugin of pytest that fills a Survey."""

    def __init__(self, root: Path, files: Sequence[str]):
        self.survey, self.files = Survey(), {str(root / file): file for file in files}
        self.lines: dict[str, set[int]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.lines, begun = defaultdict(set), time.process_time()
        sys.settrace(self._entered)
        threading.settrace(self._entered)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.survey.seconds[item.nodeid] = time.process_time() - begun
            self.survey.reached[item.nodeid] = {file: sorted(lines) for file, lines in self.lines.items()}

    def _entered(self, frame: FrameType, _event: str, _given: Any) -> Callable[..., Any] | None:
        file = self.files.get(frame.f_code.co_filename)
        if file is None:
            return None
        lines = self.lines[file]

        def line(frame: FrameType, _event: str, _given: Any) -> Callable[..., Any]:
            lines.add(frame.f_lineno)
            return line

        return line


def survey(root: Path, room: Room) -> Survey:
    """Run the tests of a room as it is.

    Raises:
        ValueError: one fails, in the order of the files or the quick ones first.
    """
    plugin, told = _Surveyor(root, room.files), root / "survey.json"

    def work() -> int:
        status = _tests(root, [*room.tests, *(f"--deselect={test}" for test in room.slow)], plugin)
        plugin.survey.libraries = [name for name in sys.modules if name.split(".")[0] not in OURS]
        told.write_text(json.dumps(vars(plugin.survey)))
        return status

    _passes(root, room, work)
    found = Survey(**json.loads(told.read_text()))
    in_turn = sorted(found.seconds, key=found.seconds.__getitem__)
    _passes(root, room, lambda: _tests(root, in_turn))  # as the mutants get them: else each would seem to be noticed
    for name in found.libraries:
        if name not in sys.modules and not name.startswith(("test_", "_pytest", "__")):
            try:
                importlib.import_module(name)
            except Exception:  # a test's own, or one that is made at run time
                continue
    return found


def _passes(root: Path, room: Room, work: Callable[[], int]) -> None:
    if status := _forked(root, work, 3600.0):
        said = (root / "said").read_text()[-2000:]
        raise ValueError(f"the tests of {', '.join(room.tests)} fail as they are: status {status}\n{said}")


def tried(root: Path, file: str, mutant: Mutant, found: Survey) -> bool:
    """Whether a test notices a mutant."""
    tests, path = found.tests(file, mutant), root / file
    if not tests:
        return False
    before = path.read_text()
    path.write_text(mutant.source)
    try:
        limit = PATIENCE + 10 * sum(found.seconds[test] for test in tests)
        return _forked(root, lambda: _tests(root, tests), limit) != 0
    finally:
        path.write_text(before)


def _tests(root: Path, tests: Sequence[str], *plugins: object) -> int:
    """Run tests in this process, until one fails; 0 if none does."""
    from hypothesis import Phase, settings

    phases = (Phase.explicit, Phase.generate)  # the smallest example of a mutant is of no interest
    settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)
    quiet = ("-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short", "--assert=plain", "--hypothesis-profile=mutants")
    return int(pytest.main(["-x", *quiet, f"--basetemp={root / 'scratch'}", *tests], plugins=list(plugins)))


def _forked(root: Path, work: Callable[[], int], limit: float) -> int:
    """Do ``work`` in a fork that sees the copy of the project only; its status, negative where it hung."""
    pid = os.fork()
    if pid == 0:
        status = BROKEN
        try:
            os.setsid()
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.chdir(root)
            said = os.open(root / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
                del sys.modules[name]
            sys.path[:] = [str(root), *(path for path in sys.path if Path(path).resolve() != REPOSITORY)]
            sys.dont_write_bytecode = True
            os.environ |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    killer = threading.Timer(limit, os.killpg, (pid, signal.SIGKILL))
    killer.start()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    killer.cancel()
    os.killpg(pid, signal.SIGKILL)  # what it started and did not end; its number is not given away yet
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status in (BROKEN, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise ValueError(f"no test was run: {(root / 'said').read_text()[-500:]}")
    return status


def equivalents() -> dict[str, str]:
    """Name of a mutant: why nothing can tell it from what it replaces."""
    blocks = filter(None, EQUIVALENTS.read_text().strip().split("\n\n"))
    return dict(block.split("\n", 1) for block in blocks)


def copied(root: Path) -> Path:
    """The project in ``root``, without what Python has compiled."""
    for name in COPIED:
        source, ignored = REPOSITORY / name, shutil.ignore_patterns("__pycache__")
        _ = shutil.copytree(source, root / name, ignore=ignored) if source.is_dir() else shutil.copy(source, root)
    return root.resolve()


def main(words: Sequence[str] | None = None) -> int:
    """Try the mutants of rooms, and tell who survives; 1 if a room has less than 90% killed."""
    parser = argparse.ArgumentParser(prog="campaign.mutants")
    parser.add_argument("rooms", nargs="*", help=f"of {', '.join(ROOMS)}; all without")
    parser.add_argument("--every", type=int, default=1, help="each n-th mutant, for a first look")
    parser.add_argument("--only", action="append", help="mutants with this in their name; may be given again")
    given = parser.parse_args(words)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a mutant may send one to its parent
    memory = Path("/dev/shm")
    poor = 0
    for name in given.rooms or ROOMS:
        with tempfile.TemporaryDirectory(prefix="mutants-", dir=memory if memory.exists() else None) as folder:
            killed, count, spared = _room(copied(Path(folder)), ROOMS[name], given.every, given.only or [""])
        poor += killed < 0.9 * count
        print(f"{name}: {killed} of {count} killed, {100 * killed // max(count, 1)}%; {spared} equivalent", flush=True)
    return 1 if poor else 0


def _room(root: Path, room: Room, every: int, only: Sequence[str]) -> tuple[int, int, int]:
    """Killed, of how many, and how many were not tried as they are equivalent."""
    found, equal = survey(root, room), equivalents()
    killed = count = spared = 0
    for file in room.files:
        for mutant in list(mutants(file, (root / file).read_text()))[::every]:
            if mutant.name in equal:
                spared += 1
            elif any(text in mutant.name for text in only):
                count += 1
                noticed = tried(root, file, mutant, found)
                killed += noticed
                if not noticed:
                    print(f"  survives: {mutant.lines.start or ''} {mutant.name}", flush=True)
    return killed, count, spared


if __name__ == "__main__":
    sys.exit(main())
