"""What hostile callers do to the others: part of ``make bench-api``; alone: ``python -m benchmarks.serving_hostile``.

All at once, for some seconds: bodies of a gigabyte, JSON 10,000 deep, a million columns, millions of empty rows, and
3,000 clients that send half a request. Meanwhile one well-behaved client asks for a prediction, again and again.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import serving
from benchmarks import serving_peers as peers
from benchmarks.serving import Server

HEAD = b"POST /prediction HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODIES = {
    "10,000 deep": b"[" * 10_000,
    "1e6 columns": b"{" + b",".join(b'"c%d":1' % number for number in range(600_000)) + b"}",
    "3e6 empty rows": b"[" + b"{}," * 3_000_000 + b"{}]",
    "a column of 5e6": b'{"x0":[' + b"1," * 4_900_000 + b"1]}",
    "10 MB of text": b'["' + b"x" * 10_000_000 + b'"]',
    "10,000 wrong rows": json.dumps([{"x0": "wrong"}] * 10_000).encode(),
}


def gigabyte(port: int, over: threading.Event, told: Counter[str]) -> None:
    """Send a gigabyte, as it was announced or in pieces, until the server hangs up."""
    piece = b" " * (1 << 20)
    while not over.is_set():
        for announced in (b"Content-Length: 1000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(HEAD + announced)
                for _ in range(1000):
                    connection.sendall(piece if b"Length" in announced else b"%x\r\n%s\r\n" % (len(piece), piece))
            told["1 GB"] += 1


def hostile(port: int, over: threading.Event, told: Counter[str]) -> None:
    """Send the bodies in turn; each must be refused."""
    while not over.is_set():
        for name, body in BODIES.items():
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            with suppress(OSError):
                connection.request("POST", "/prediction", body, {"Content-Type": "application/json"})
                status = connection.getresponse().status
                told[f"{name}: {status}"] += 1
            connection.close()


def slow(port: int, count: int) -> list[socket.socket]:
    """So many clients that send half a request and wait."""
    held = []
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(HEAD + (b"Content-Length: 1000\r\n\r\n{" if number % 2 else b"Content-Length: 10"))
        held.append(connection)
    return held


def report(server: Server, seconds: float, clients: int = 3000) -> str:
    """What the well-behaved client had to wait, and the memory of the server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    over, told, waits, memory = threading.Event(), Counter[str](), [], []
    body, headers = peers.request("ours", 1), {"Content-Type": "application/json"}
    held = slow(server.port, clients)
    callers = [threading.Thread(target=hostile, args=(server.port, over, told)) for _ in range(4)]
    callers += [threading.Thread(target=gigabyte, args=(server.port, over, told)) for _ in range(2)]
    for caller in callers:
        caller.start()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        connection.request("POST", "/prediction", body, headers)
        response = connection.getresponse()
        response.read()
        waits.append(time.perf_counter() - begun)
        if response.status != 200:
            raise SystemExit(f"a good request got {response.status}")
        memory.append(max(each.memory_info().rss for each in server.family()))
        time.sleep(0.01)
    over.set()
    for caller in callers:
        caller.join()
    for each in held:
        each.close()
    p99 = statistics.quantiles(waits, n=100)[98]
    return (
        f"{clients} slow clients, 4 + 2 hostile ones for {seconds:g} s: {len(waits)} good requests answered, "
        f" p99 {p99 * 1e3:.0f} ms, worst {max(waits) * 1e3:.0f} ms, at most {max(memory) / 1e6:.0f} MB;"
        f" they got {dict(told)}"
    )


def main() -> None:
    """Start a server, and be hostile to it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        serving.home(Path(folder))
        with serving.serving("ours", Path(folder), sys.executable) as server:
            print(report(server, given.seconds))


if __name__ == "__main__":
    main()
