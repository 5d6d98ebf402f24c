"""What the tests of the API share: a client that reads to the end, the form of a problem, the real server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import homes
from flask import Flask
from flask.testing import FlaskClient

import api
from attrition.home import REPOSITORY, Home

RUN = f"/runs/{homes.LAST}"
RECORDED = ["/scoring", "/summarystats", "/diagnostics", "/clients", "/model", "/runs", RUN, f"{RUN}/60_diagnose.html"]
PAGES = [*RECORDED, "/", "/livez", "/readyz", "/metrics", "/openapi.json", f"{RUN}/60_diagnose.ipynb"]


class Client(FlaskClient):
    """Reads every answer to its end, so that files are closed as a server closes them."""

    def open(self, *given: Any, **options: Any) -> Any:
        return super().open(*given, buffered=True, **options)


def app(home: Home) -> Flask:
    """The application on a home; it looks at ``current.json`` with each request."""
    made = api.create_app({"HOME": home.root})
    made.extensions["server"].pause = 0
    made.test_client_class = Client
    return made


def problem(response: Any, status: int) -> dict[str, Any]:
    """The problem that a response is, checked for its form."""
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    found: dict[str, Any] = response.get_json()
    assert found["status"] == status
    assert {"type", "title", "detail", "request"} <= found.keys()
    return found


class Running(NamedTuple):
    """The real server."""

    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker(self) -> int:
        """The process that answers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(
            pid for pid in map(int, children) if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        )

    @property
    def megabytes(self) -> float:
        """What the worker has in memory."""
        return int(Path(f"/proc/{self.worker}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running(home: Home, *arguments: str, **environment: str) -> Iterator[Running]:
    """``python api.py`` on a home, at a port that is free; stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "api.py"), "--port", str(port), *arguments]
    given = {**os.environ, "ATTRITION_HOME": str(home.root), **environment}
    with subprocess.Popen(
        command, env=given, cwd=home.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            while not _listens(port):
                assert process.poll() is None, process.stdout.read()
            yield Running(port, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()


def _listens(port: int) -> bool:
    """Whether anyone does; every loopback address is this machine."""
    with socket.socket() as caller:
        return not all(caller.connect_ex((address, port)) for address in ("127.0.0.1", "127.0.0.2"))
