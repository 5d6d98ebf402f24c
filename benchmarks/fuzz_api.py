"""Requests that schemathesis makes up from ``/openapi.json``: ``make fuzz-api``. Exits with 1 where one got a 5xx.

The server is the real one, on a copy of the sample home; it counts itself how many requests it had, and of what status.
``--short`` is a minute's worth. schemathesis has an environment of its own, from ``locks/peers-schemathesis.txt``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from attrition.home import REPOSITORY
from benchmarks import peers

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
COUNTED = re.compile(r'attrition_requests_total\{route="([^"]+)",status="(\d+)"\} (\d+)')
AGES = str(100 * 365 * 86_400)
"""Seconds between ticks: those of the sample are long past, and /readyz?fresh=1 is meant to be 503 then."""


def counted(url: str) -> Counter[str]:
    """How many answers of each status the server says it gave."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        found = COUNTED.findall(response.read().decode())
    statuses: Counter[str] = Counter()
    for _, status, number in found:
        statuses[status] += int(number)
    return statuses


def wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/livez", timeout=30).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("api.py did not start")


def main() -> int:
    """Ask, count, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    python = peers.install("schemathesis", REPOSITORY / ".bench")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        home = shutil.copytree(REPOSITORY / "tests" / "data" / "home", Path(folder) / "home")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        url = f"http://127.0.0.1:{port}"
        environment = {**os.environ, "ATTRITION_HOME": str(home), "ATTRITION_INTERVAL": AGES}
        command = [sys.executable, str(REPOSITORY / "api.py"), "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait(url, process)
            failed = False
            for seed in range(given.seed, given.seed + 1000):
                asked = [str(python.with_name("st")), "run", f"{url}/openapi.json", "--checks", CHECKS, "--no-color"]
                asked += ["--max-examples", "300", "--continue-on-failure", "--seed", str(seed)]
                asked += ["--suppress-health-check", "all", "--generation-database", "none"]
                said = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=folder)
                found = counted(url)
                print(f"seed {seed}: {found.total():,} requests so far, by status {dict(sorted(found.items()))}")
                if said.returncode:
                    failed = True
                    print(said.stdout[-6000:], said.stderr[-2000:])
                if failed or found.total() >= given.requests:
                    break
            return int(failed or any(status >= "500" for status in found))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
