"""Where pure functions run: in this process, or on a Dask cluster. The portfolio's YAML alone says which.

What runs is a module-level function of one argument that can be pickled: paths and plain values. It reads and writes
only what that names, so that on a cluster those paths must lie on storage that all machines share. A task may run
twice, when a worker dies: it writes to a name of its own and renames that when all is written.
"""

from __future__ import annotations

import atexit
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrition.params import Portfolio

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Dask", "Engine", "EngineError", "Here", "of"]

Task = TypeVar("Task")
Result = TypeVar("Result")

PATIENCE = 10
"""Seconds within which the scheduler must answer, and a first worker be there."""
AHEAD = 4
"""Tasks a thread of the cluster that are under way or wait there; the others have not left this process."""


class EngineError(RuntimeError):
    """The cluster that the portfolio names cannot be used; the message says what to do."""


class Engine(Protocol):
    """Where functions run."""

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, ordered: bool = True
    ) -> Iterator[Result]:
        """What ``function`` makes of each task, in their order, or with ``ordered=False`` as each is done.

        Tasks are taken from the iterable as room for them comes free. An exception of the function is raised here.

        Raises:
            EngineError: the cluster cannot be used, or has lost workers over one task again and again.
        """


@dataclass(frozen=True)
class Here:
    """This process, ``abreast`` tasks at a time.

    DuckDB uses all cores within a task, but where it looks through a file, sorts or waits for a disk, one is idle; a
    second task beside it fills that. Few rows do not need it, and one after another they take the same steps each time.
    """

    abreast: int = 1

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, ordered: bool = True
    ) -> Iterator[Result]:
        """See `Engine.map`; in order either way."""
        return map(function, tasks) if self.abreast == 1 else self._map_abreast(function, tasks)

    def _map_abreast(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        with ThreadPoolExecutor(self.abreast) as pool:
            yield from _in_order((pool.submit(function, task) for task in tasks), 2 * self.abreast)


@dataclass(frozen=True)
class Dask:
    """The workers of the Dask scheduler at ``address``, such as ``tcp://10.0.0.5:8786``."""

    address: str

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, ordered: bool = True
    ) -> Iterator[Result]:
        """See `Engine.map`. A task whose worker died runs again on another."""
        client = _client(self.address, os.getpid())
        job = _Job(function, _code())
        room = AHEAD * max(1, sum(client.nthreads().values()))
        futures = (client.submit(job, task, pure=False) for task in tasks)
        try:
            yield from _in_order(futures, room) if ordered else _as_done(client, futures, room)
        except Exception as error:
            raise _told(self.address, error) from error


def of(portfolio: Portfolio, abreast: int = 1) -> Engine:
    """The engine that a portfolio names under ``engine``: a Dask cluster, or this process if it names none.

    Args:
        abreast: tasks at a time in this process; what each may use, it is told itself. A cluster has its own number.
    """
    return Dask(portfolio.engine.dask) if portfolio.engine else Here(abreast)


@dataclass(frozen=True)
class _Job:
    """A function with the code that it must be run by: two versions of this package need not agree on a row."""

    function: Callable[[Any], Any]
    code: str

    def __call__(self, task: Any) -> Any:
        if _code() != self.code:
            raise EngineError(
                "a worker has another version of this package than the runner: install the same on all machines"
            )
        return self.function(task)


@cache
def _code() -> str:
    """A hash of this package's modules as they are installed here."""
    here = Path(__file__).parent
    found = hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        found.update(f"{path.relative_to(here).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def _in_order(futures: Iterator[Any], room: int) -> Iterator[Any]:
    """Results in the order of ``futures``, of which no more than ``room`` are made ahead."""
    waiting = deque(islice(futures, room))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(islice(futures, 1))


def _as_done(client: Client, futures: Iterator[Any], room: int) -> Iterator[Any]:
    """Results as they come, of ``futures`` of which no more than ``room`` are under way."""
    from distributed import as_completed

    under_way = as_completed(islice(futures, room), loop=client.loop)
    for future in under_way:
        yield future.result()
        for following in islice(futures, 1):
            under_way.add(following)


@cache
def _client(address: str, process: int) -> Client:
    """This process's connection to a scheduler, kept until it ends; a forked process makes its own."""
    try:
        from distributed import Client
    except ImportError as error:
        raise EngineError(
            f"engine.dask names {address}, but the package distributed is not installed here: install the extra "
            "cluster (pip install -r locks/cluster.txt), on the runner's machine and on each worker"
        ) from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"no Dask scheduler answers at {address} (engine.dask): start one there with `dask scheduler`, mend the "
            "address, or leave engine out to run on this machine alone"
        ) from error
    atexit.register(client.close)
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise EngineError(f"{address} has no workers: start some with `dask worker {address}`") from error
    return client


def _told(address: str, error: Exception) -> Exception:
    """An error of a task as it is; of the cluster, with what to do."""
    kind = type(error).__name__
    if kind == "KilledWorker":
        why = "several workers died over the same task; their logs say why (often: not enough memory)"
        return EngineError(f"{address}: {why}: {error}")
    if kind in ("CancelledError", "FutureCancelledError", "CommClosedError"):
        return EngineError(f"{address}: the connection to the scheduler was lost: {error}")
    if "deserialization of the task graph" in str(error):
        return EngineError(
            f"{address}: the scheduler cannot read the tasks: install this package there too, of the same commit as "
            f"here ({error.__cause__ or 'its log says why'})"
        )
    return error
