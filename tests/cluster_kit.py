"""A Dask cluster on loopback TCP, as its own command starts it: for tests, and for the demonstration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

SCHEDULER = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
WORKER = ["worker", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]


@dataclass
class Cluster:
    """A scheduler and its workers; each worker has a nanny, which starts it anew when it dies."""

    address: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def workers(self) -> list[int]:
        """The process ids of the workers that the scheduler knows."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            return sorted(client.run(os.getpid).values())


@contextmanager
def cluster(workers: int, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """A scheduler and ``workers`` on this machine, over TCP; ended with all that they started."""
    from distributed import Client

    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **(environment or {})}
    with tempfile.TemporaryDirectory(prefix="attrition-dask-") as folder, (Path(folder) / "log").open("wb") as log:
        place = Path(folder) / "scheduler.json"
        scheduler = _start([*SCHEDULER, "--scheduler-file", str(place)], env, log, folder)
        running = Cluster("", Path(folder), [scheduler])
        try:
            running.address = _address(scheduler, place)
            local = ["--local-directory", folder]
            running.processes += [_start([*WORKER, *local, running.address], env, log, folder) for _ in range(workers)]
            with Client(running.address, timeout=60, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=60)
            yield running
        finally:
            for process in reversed(running.processes):
                process.terminate()
            for process in running.processes:
                _ended(process)


def _start(arguments: list[str], env: dict[str, str], log: IO[bytes], folder: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
    return subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=folder)


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for an end in good order; one that a dead worker's nanny does not come to is made."""
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _address(scheduler: subprocess.Popen[bytes], place: Path) -> str:
    """Where the scheduler listens, as it writes it once it does."""
    while scheduler.poll() is None:
        try:
            found: dict[str, Any] = json.loads(place.read_text())
            return str(found["address"])
        except (FileNotFoundError, ValueError):
            continue
    raise RuntimeError("the scheduler ended at once")
