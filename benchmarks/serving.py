"""How quick the API is beside others: ``make bench-api``; the table of docs/benchmarks.md.

Each server is one worker on the first core, the caller (wrk) on the second; they take turns, round after round, so that
whatever else the machine does falls on all. CPU a request is the steadier figure: rates move with the machine's load.

``PEERS`` names a folder of virtual environments (``PEERS/mlflow/bin/python``, ``bentoml``, ``litserve``, ``mlserver``,
``fastapi``), made by hand with pip as they are no dependency of ours; those that are not there are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pandas as pd
import psutil
import yaml

from attrition import model, params, registry, safe
from attrition.home import REPOSITORY, Home, Place
from benchmarks import serving_peers as peers

OURS = ("ours", "ours, columns")
OTHERS = ("naive", "hello", "fastapi", "mlflow", "bentoml", "litserve", "mlserver")


@dataclass
class Server:
    """A server at work, and what was measured of it: rates (requests a second) and CPU (µs a request) by rows."""

    name: str
    port: int
    process: psutil.Process
    rates: dict[int, list[float]] = field(default_factory=dict)
    cpus: dict[int, list[float]] = field(default_factory=dict)

    def family(self) -> list[psutil.Process]:
        """The process and those that it started."""
        return [self.process, *self.process.children(recursive=True)] if self.process.is_running() else []

    def spent(self) -> float:
        """Seconds of CPU until now."""
        total = 0.0
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:2])
        return total


def train(place: Place, version: str, seed: int = 0) -> bytes:
    """Train the five-number model, another for each seed; what ``current.json`` holds where it is deployed."""
    portfolio = params.load(place.params)
    x, y = peers.data()
    frame = pd.DataFrame(x + seed * 0.01, columns=peers.NAMES)
    frame["left"] = y.astype(float)
    pipeline = model.fit(portfolio, frame)
    golden = peers.rows(5)
    noted = {"rows": golden, "probabilities": model.probabilities(pipeline, pd.DataFrame(golden)).tolist()}
    folder = place.models / version
    facts = {"version": version, "portfolio": place.name, "data_version": 1, "rows": len(y), "trained_to": len(y)}
    facts |= {
        "features": peers.NAMES,
        "params": {},
        "params_sha256": portfolio.sha256,
        "metrics": {},
        "coefficients": [],
    }
    facts |= {"base": model.baseline(pipeline, frame), "usual": model.usual(portfolio, frame), "golden": noted}
    facts |= {"known": len(y), "left": int(y.sum())}
    about = {"run": "20260101T000000Z-0001", "trained_at": "2026-01-01T00:00:00Z"}
    manifest = registry.write(safe.make_folder(folder), pipeline, **facts, **about)
    current = registry.Current(place.name, version, manifest.sha256, about["run"], about["trained_at"], proven=False)
    return msgspec.json.encode(current)


def home(root: Path) -> Home:
    """A home with one portfolio of five numbers."""
    made = Home(root)
    place = made.place("bench")
    safe.make_folder(place.params.parent)
    columns = {name: {"type": "number"} for name in peers.NAMES}
    place.params.write_text(yaml.safe_dump({"title": "Bench", "columns": columns, "target": {"column": "left"}}))
    safe.write(place.current, train(place, "0001"))
    return made


@contextmanager
def serving(name: str, root: Path, python: str) -> Iterator[Server]:
    """A server on the first core, asked once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = safe.make_folder(root / name)
    script = [str(REPOSITORY / "api.py"), "--port", str(port)]
    if name not in OURS:
        script = [peers.__file__, name, str(port), str(folder)]
    environment = {**os.environ, "ATTRITION_HOME": str(root), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        command = ["taskset", "-c", "0", python, *script]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    server = Server(name, port, psutil.Process(process.pid))
    try:
        end = time.monotonic() + 120
        while not answers(server):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{name} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.3)
        yield server
    finally:
        for member in server.family():
            with suppress(psutil.NoSuchProcess):
                member.terminate()
        process.wait()


def answers(server: Server) -> bool:
    """Whether it does yet."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        body, headers = peers.request(server.name, 2), {"Content-Type": "application/json"}
        connection.request("POST", peers.PATHS.get(server.name, "/prediction"), body, headers)
        response = connection.getresponse()
        text = response.read()
        if response.status not in (200, 503):
            raise SystemExit(f"{server.name} answers {response.status}: {text[:500]!r}")
        return response.status == 200
    except OSError:
        return False
    finally:
        connection.close()


def measure(server: Server, count: int, seconds: float, folder: Path) -> None:
    """One round of wrk with eight connections."""
    script = folder / f"{server.name.replace(', ', '-')}-{count}.lua"
    if not script.exists():
        body = peers.request(server.name, count)
        script.write_text(
            f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body}]==]\n'
        )
    url = f"http://127.0.0.1:{server.port}{peers.PATHS.get(server.name, '/prediction')}"
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c8", f"-d{seconds:g}", "-s", str(script), url]
    before = server.spent()
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu = server.spent() - before
    if "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(f"{server.name}, {count} rows: {told}")
    lines = {line.split(":")[0].strip(): line.split()[-1] for line in told.splitlines() if ":" in line}
    requests = next(int(line.split()[0]) for line in told.splitlines() if " requests in " in line)
    server.rates.setdefault(count, []).append(float(lines["Requests/sec"]))
    server.cpus.setdefault(count, []).append(cpu / requests * 1e6)


def table(servers: list[Server]) -> str:
    """Medians over the rounds, and how many times ours each is."""
    ours = next(server for server in servers if server.name == "ours")
    lines = ["| server | 1 row: requests/s, CPU µs | CPU (rate) to ours | 1,000 rows: requests/s, CPU µs | to ours |"]
    lines.append("|---|---|---|---|---|")
    for server in servers:
        cells = [server.name]
        for count in (1, 1000):
            rate, cpu = statistics.median(server.rates[count]), statistics.median(server.cpus[count])
            mine = statistics.median(ours.rates[count]), statistics.median(ours.cpus[count])
            cells += [f"{rate:,.0f}, {cpu:,.0f}", f"{cpu / mine[1]:.2f} ({mine[0] / rate:.2f})"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def swaps(root: Path, server: Server, count: int) -> str:
    """Deploy ``count`` models under load, each tenth spoilt: what failed, what was mixed, the worst stall."""
    place = Home(root).place("bench")
    waiting = [train(place, f"{number:04d}", number) for number in range(2, count + 2)]
    for number in range(10, count + 2, 10):
        (place.models / f"{number:04d}" / "model.pkl").write_bytes(b"spoilt")
    over, answered, failed, worst = threading.Event(), [], [], [0.0] * 4
    body = peers.request("ours", 2)

    def ask(slot: int) -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        while not over.is_set():
            begun = time.perf_counter()
            try:
                connection.request("POST", "/prediction", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                found = json.loads(response.read())
                worst[slot] = max(worst[slot], time.perf_counter() - begun)
                answered.append(
                    (found["model"]["version"], tuple(each["probability"] for each in found["predictions"]))
                )
            except Exception as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=ask, args=(slot,)) for slot in range(len(worst))]
    for thread in threads:
        thread.start()
    for current in waiting:
        safe.write(place.current, current)
        time.sleep(0.3)
    over.set()
    for thread in threads:
        thread.join()
    each: dict[str, set[tuple[float, ...]]] = {}
    for version, said in answered:
        each.setdefault(version, set()).add(said)
    mixed = sum(len(said) > 1 for said in each.values())
    return (
        f"{count} swaps, {count // 10} of them bad, {len(worst)} callers: {len(answered):,} answers"
        f" by {len(each)} versions, {len(failed)} failed, {mixed} mixed, worst answer after {max(worst) * 1e3:.0f} ms"
    )


def main() -> None:
    """Measure, and print the table."""
    from benchmarks import serving_hostile  # which knows this module

    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=Path, default=os.environ.get("PEERS"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    given = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is needed: apt install wrk")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        root = Path(folder)
        home(root)
        servers = []
        for name in (*OURS, *OTHERS):
            own = Path(given.peers or "", name, "bin", "python")
            python = Path(sys.executable) if name in (*OURS, "naive", "hello") else own
            if python.exists():
                servers.append(running.enter_context(serving(name, root, str(python))))
            else:
                print(f"{name}: left out, there is no {own}", file=sys.stderr)
        for turn in range(given.rounds + 1):
            for server in servers:
                for count in (1, 1000):
                    measure(server, count, given.seconds, root)
                if turn == 0:  # it has only warmed up
                    server.rates, server.cpus = {}, {}
        print(table(servers))
        print({server.name: round(max(each.memory_info().rss for each in server.family()) / 1e6) for server in servers})
        print(swaps(root, servers[0], 100))
        print(serving_hostile.report(servers[0], 10))


if __name__ == "__main__":
    main()
