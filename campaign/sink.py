"""Whom alerts reach: each message goes into a file beside the home, whichever way it came.

In the tick's own process by a service of apprise's own kind; from the real runner as a webhook, and its heartbeat too.
Beside the home, not below: no fault of its disk keeps anybody from hearing of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from apprise.decorators import notify

from attrition.home import Place

__all__ = ["BEAT", "SCHEME", "brought", "gone", "heard", "listening", "serving"]

SCHEME = "campaign"
BEAT = "heartbeat"
"""The kind of message that a heartbeat counts as."""
_open: list[Path] = []


@notify(on=SCHEME, name="the campaign")  # type: ignore[no-untyped-call, untyped-decorator]
def _take(body: str, title: str, *_: Any, **_more: Any) -> bool:
    _put(_open[-1], title, body)
    return True


def _put(file: Path, title: str, body: str) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"title": title, "body": body}) + "\n")


def _file(root: Path) -> Path:
    return root.with_name(f"{root.name}-heard")


@contextmanager
def listening(place: Place) -> Iterator[None]:
    """What is sent meanwhile is about this home."""
    _open.append(_file(place.root))
    try:
        yield
    finally:
        _open.pop()


class _Hook(BaseHTTPRequestHandler):
    """A message is posted to, a heartbeat is got from, the path of the home that it is about."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._take(given["title"], given["message"])

    def do_GET(self) -> None:
        self._take(f"Attrition: {BEAT}", "")

    def _take(self, title: str, body: str) -> None:
        _put(_file(Path(unquote(self.path))), title, body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@contextmanager
def serving() -> Iterator[str]:
    """The address of a web server in a process of its own, for as long as the ``with`` block."""
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    pid = os.fork()
    if pid == 0:
        server.serve_forever()
    server.server_close()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def heard(place: Place) -> Counter[str]:
    """How many messages of each kind about the portfolio arrived so far."""
    file = _file(place.root)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return Counter(json.loads(line)["title"].rpartition(": ")[2] for line in lines)


def brought(start: Path, root: Path) -> None:
    """Who reads of the home ``root`` has read what was said of ``start``."""
    if _file(start).exists():
        shutil.copyfile(_file(start), _file(root))


def gone(root: Path) -> None:
    """Remove a home and what was said of it."""
    shutil.rmtree(root, ignore_errors=True)
    _file(root).unlink(missing_ok=True)
