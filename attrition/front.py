"""Between the server and Flask: a request's body is read here, within limits, before a thread is given to it.

A WSGI server's threads wait for bodies, so that as many slow clients as it has threads stop it. Here they wait in
an event loop, and only for so long. The application behind gets whole bodies; one kind of request, the lane, is
answered without it. This is an application for Granian's own interface, RSGI.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrition import answers
from attrition.answers import Answered, Counts
from attrition.body import MOST_BYTES, Refused

__all__ = ["LONGEST_BODY", "SECONDS", "Front", "Lane"]

SECONDS = 10.0
"""That a client may take to send its body."""
LONGEST_BODY = MOST_BYTES + 64 * 1024
"""Bytes of a body: the largest CSV, and what an upload has around it."""
SMALL = 64 * 1024
"""Bytes up to which a body is read in one piece, and not counted."""
QUICK = 256 * 1024
"""Bytes up to which a body may be answered in the event loop: some milliseconds."""
MOST_WAITING = 64 * 1024 * 1024
"""Bytes of larger bodies in memory at one time."""
THREADS = 4
LOG = logging.getLogger(__name__)

Lane = Callable[[Any, bytes], tuple[Answered, list[tuple[str, str]]] | None]
"""Answers a request, of which it is given the scope and the body, at once; None: it is for the application."""


class Front:
    """An RSGI application over a WSGI one."""

    def __init__(self, application: Callable[..., Any], lane: Lane, counts: Counts, seconds: float = SECONDS):
        self._application, self._lane, self._counts, self._seconds = application, lane, counts, seconds
        self._threads = ThreadPoolExecutor(THREADS, "request")
        self._waiting = 0

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        taken = 0
        try:
            async with asyncio.timeout(self._seconds):
                data, taken = await self._body(scope, protocol)
            sent = self._lane(scope, data) if len(data) <= QUICK else None
            if sent is None:
                loop = asyncio.get_running_loop()
                status, headers, content = await loop.run_in_executor(self._threads, self._ask, scope, data)
            else:
                (status, _, content), headers = sent
        except TimeoutError:
            status, headers, content = self._refusal(Refused(408, f"the body was not there after {self._seconds:g} s"))
        except Refused as refused:
            status, headers, content = self._refusal(refused)
        except ConnectionError:
            return  # the client has gone: nobody is there to be answered
        except Exception:
            status, headers, content = self._failure()
        finally:
            self._waiting -= taken
        protocol.response_bytes(status, headers, content)

    async def _body(self, scope: Any, protocol: Any) -> tuple[bytes, int]:
        """The whole body, and how much of it is counted as waiting."""
        given = scope.headers.get
        declared, chunked = given("content-length"), given("transfer-encoding")
        if declared is None and chunked is None:
            return b"", 0
        size = int(declared) if declared and declared.isdecimal() and len(declared) < 20 else LONGEST_BODY
        if size > LONGEST_BODY:
            raise _too_large()
        if chunked is None and size <= SMALL:
            data = await _whole(protocol)
        else:
            data = await self._pieces(protocol)
        if chunked is None and len(data) != size:
            raise ConnectionError
        counted = len(data) if len(data) > SMALL else 0
        self._waiting += counted
        return data, counted

    async def _pieces(self, protocol: Any) -> bytes:
        data = bytearray()
        try:
            async for piece in protocol:
                data += piece
                self._waiting += len(piece)
                if len(data) > LONGEST_BODY:
                    raise _too_large()
                if self._waiting > MOST_WAITING:
                    raise Refused(503, "too many large requests at once: send this one again")
        finally:
            self._waiting -= len(data)
        return bytes(data)

    def _ask(self, scope: Any, data: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the application answers."""
        started: list[tuple[int, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started.append((int(status[:3]), [(name.lower(), value) for name, value in headers]))

        pieces = self._application(_environment(scope, data), start)
        try:
            content = b"".join(pieces)
        finally:
            if close := getattr(pieces, "close", None):
                close()
        return *started[-1], content

    def _refusal(self, refused: Refused) -> tuple[int, list[tuple[str, str]], bytes]:
        """Before the body is whole, nothing can follow it on the connection."""
        status, headers, content = self._problem(refused, answers.request_id())
        return status, [*headers, ("connection", "close")], content

    def _failure(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Of what nobody thought of; the log has it, under the request's id."""
        request = answers.request_id()
        LOG.exception("request %s failed", request)
        return self._problem(Refused(500, answers.FAILED), request)

    def _problem(self, refused: Refused, request: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """An answer without a route, counted as such."""
        status, media_type, content = answers.problem(refused, request)
        self._counts.answered("none", status, 0.0)
        return status, answers.headers(media_type, request), content


async def _whole(protocol: Any) -> bytes:
    try:
        data: bytes = await protocol()
    except RuntimeError:  # RSGIProtocolClosed
        raise ConnectionError from None
    return data


def _too_large() -> Refused:
    return Refused(413, f"a request has at most {MOST_BYTES} bytes: send the rows in several")


def _environment(scope: Any, data: bytes) -> dict[str, Any]:
    """A request as WSGI has it."""
    client, _, _ = scope.client.rpartition(":")
    name, _, port = scope.server.rpartition(":")
    environment = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "REMOTE_ADDR": client,
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(data),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for key, value in scope.headers.items():
        if "_" not in key:  # another header could pass for the one with a -
            environment["HTTP_" + key.upper().replace("-", "_")] = value
    environment["CONTENT_TYPE"] = environment.pop("HTTP_CONTENT_TYPE", "")
    environment.pop("HTTP_TRANSFER_ENCODING", None)
    environment["CONTENT_LENGTH"] = str(len(data))
    environment.pop("HTTP_CONTENT_LENGTH", None)
    return environment
