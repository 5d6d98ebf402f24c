"""A cluster on this machine's loopback: the same rows and the same model as without, though a worker is killed.

    python -m benchmarks.cluster --rows 20_000_000 --kills 1

A scheduler and two workers (Dask's own commands, over TCP) take in 20 files and fit the portfolio's model on them; half
way through, a worker is killed with SIGKILL, and its nanny starts it anew. The rows that were written and the model are
compared with those of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import yaml
from distributed import Client

from attrition import engine
from attrition.home import REPOSITORY
from attrition.params import Portfolio
from attrition.scale import Table, fit
from attrition.store.clients import Clients, commit_rows
from attrition.store.ingest import ingest
from benchmarks.scale import PARAMS, drops

sys.path.insert(0, str(REPOSITORY / "tests"))
from cluster_kit import Cluster, cluster


def portfolio(address: str | None) -> Portfolio:
    """The portfolio of the benchmark, on a cluster or here."""
    given: dict[str, Any] = {"name": "large", "sha256": "", **yaml.safe_load(PARAMS)}
    return Portfolio.model_validate({**given, "engine": {"dask": address}} if address else given)


def work(given: Portfolio, incoming: Path, home: Path) -> tuple[dict[str, int], str, Any]:
    """Take in the drops and fit: how many rows went where, a hash of the rows that were written, and the model."""
    clients = Clients(given, home / "clients")
    done = ingest(given, clients, sorted(incoming.glob("*.csv")), home / "staging", run="run")
    commit_rows(home / "clients", given, home / "staging", json.loads((home / "staging" / "ingest.json").read_text()))
    store = Clients(given, home / "clients")
    listing = ", ".join(f"'{path}'" for path in store.files)
    row = "md5_number_lower(_row::VARCHAR || ':' || _hash::VARCHAR)"
    ((seen, count),) = duckdb.sql(f"SELECT bit_xor({row}), count(*) FROM read_parquet([{listing}])").fetchall()
    return done.rows, f"{count} {seen}", fit(Table(given, tuple(store.files), engine.of(given)))


def kill_one(running: Cluster, work: threading.Thread, looks: int) -> bool:
    """Kill a worker with a task in hand, the ``looks``-th time that one is seen; whether it came to that."""
    with Client(running.address, set_as_default=False) as client:
        while work.is_alive():
            busy = [worker for worker, tasks in client.processing().items() if tasks]
            looks -= bool(busy)
            if busy and looks <= 0:
                pids = client.run(os.getpid, workers=busy[:1])
                os.kill(*pids.values(), signal.SIGKILL)
                return True
    return False


def main() -> None:
    """Run it, and print what was the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=20_000_000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--kills", type=int, default=1, help="how many times a worker is killed, each in a new run")
    given = parser.parse_args()
    same = 0
    with tempfile.TemporaryDirectory(prefix="attrition-cluster-") as folder, cluster(workers=2) as running:
        incoming = Path(folder, "incoming")
        incoming.mkdir()
        drops(incoming, given.rows, given.files)
        begun = time.monotonic()
        alone = work(portfolio(None), incoming, Path(folder, "alone"))
        took = time.monotonic() - begun
        print(f"one process: {alone[0]}, {took:.1f} s", flush=True)
        for number in range(given.kills):
            begun, made = time.monotonic(), []
            there = (portfolio(running.address), incoming, Path(folder, f"cluster{number}"))
            working = threading.Thread(target=lambda: made.append(work(*there)))  # noqa: B023 - joined below
            working.start()
            killed = kill_one(running, working, 1 + number)
            working.join()
            found, seconds = made[0], time.monotonic() - begun
            off = np.abs(found[2][-1].coef_ - alone[2][-1].coef_).max()
            agree = killed and bool(off < 1e-6) and found[:2] == alone[:2]
            same += agree
            words = "the same rows" if found[:2] == alone[:2] else f"OTHER ROWS: {found[0]}"
            whom = "a busy worker killed" if killed else "NOBODY KILLED"
            said = f"coefficients within {off:.0e}, {seconds:.1f} s, {whom}"
            print(f"run {number + 1}: {words}, {said}", flush=True)
        engine._client(running.address, os.getpid()).close()
    print(f"{same} of {given.kills} the same, a worker killed in each; load {os.getloadavg()[0]:.1f}")
    sys.exit(int(same) != given.kills)


if __name__ == "__main__":
    main()
