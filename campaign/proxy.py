"""A proxy before a PostgreSQL server: it forwards whole messages, and at some of them does as it is told.

Messages as in chapter 55 of PostgreSQL's manual: a type, a length of four bytes that counts itself, a body; only the
first one of a client has no type. The connection must not ask for TLS.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CLIENT", "SERVER", "Act", "At", "before", "noted"]

CLIENT, SERVER = "client", "server"
Act = Callable[[bytes], bytes]
"""From a message to what is forwarded of it, after all before it was; less than the whole cuts the connection."""


@dataclass(frozen=True)
class At:
    """A message: who sends it, and its number among that side's, over all connections, from 0."""

    side: str
    number: int

    def __str__(self) -> str:
        return f"{self.side}'s message {self.number}"


RESET = struct.pack("ii", 1, 0)
PIECE = 2**16


@contextmanager
def before(port: int, acts: Mapping[At, Act], *, log: Path | None = None, resets: bool = False) -> Iterator[int]:
    """The port of a proxy before the server at ``port``, a process of its own.

    At the end of the block all that its client has sent was looked at. ``log``: a file for the messages' kinds.
    ``resets``: what is cut is reset (RST), not closed (FIN).

    Raises:
        RuntimeError: an act failed.
    """
    with socket.create_server(("127.0.0.1", 0)) as door:
        ending, end = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(end)
                _serve(door, ending, port, _Link(acts, log), resets)
                status = 0
            finally:
                os._exit(status)
        try:
            yield door.getsockname()[1]
        finally:
            os.close(end)
            _, status = os.waitpid(pid, 0)
            os.close(ending)
        if status:
            raise RuntimeError(f"the proxy ended with {os.waitstatus_to_exitcode(status)}")


def noted(log: Path) -> list[tuple[str, str]]:
    """Sides and kinds of the messages in a log."""
    return [(side, kind) for side, _, kind in (line.partition(" ") for line in log.read_text().splitlines())]


def _serve(door: socket.socket, ending: int, port: int, link: _Link, resets: bool) -> None:
    signal.alarm(120)  # whatever happens, nobody is waited for longer
    while door.fileno() in select.select([door.fileno(), ending], [], [])[0]:
        client = door.accept()[0]
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", port))
            except OSError:
                continue
            with server:
                if not link.through(client, server) and resets:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


class _Link:
    """What lies between the two, over one connection after the other."""

    def __init__(self, acts: Mapping[At, Act], log: Path | None):
        self._acts, self._counts = acts, Counter[str]()
        self._log = log.open("w", buffering=1) if log else None

    def through(self, client: socket.socket, server: socket.socket) -> bool:
        """Forward until one side closes; False if an act cut it."""
        sides = {client: (CLIENT, server, _messages(typed=False)), server: (SERVER, client, _messages(typed=True))}
        for _, _, messages in sides.values():
            next(messages)
        while True:
            for ready in select.select([client, server], [], [])[0]:
                side, other, messages = sides[ready]
                try:
                    data = ready.recv(PIECE)
                    if not self._forwarded(side, messages.send(data), other):
                        return False
                except (ConnectionResetError, BrokenPipeError):
                    data = b""
                if not data:
                    return True

    def _forwarded(self, side: str, messages: list[bytes], to: socket.socket) -> bool:
        whole = b""
        for message in messages:
            act = self._acts.get(At(side, self._counts[side]))
            self._counts[side] += 1
            if self._log:
                self._log.write(f"{side} {message[:1].decode()}\n")
            if act:
                to.sendall(whole)
                whole = act(message)
                if whole != message:
                    to.sendall(whole)
                    return False
            else:
                whole += message
        to.sendall(whole)
        return True


def _messages(*, typed: bool) -> Generator[list[bytes], bytes, None]:
    """A coroutine from pieces of a stream to the messages that are whole by then."""
    left = b""
    found: list[bytes] = []
    while True:
        left += yield found
        found, at = [], 0
        while len(left) - at >= 4 + typed:
            end = at + typed + struct.unpack_from("!i", left, at + typed)[0]
            if len(left) < end:
                break
            found.append(left[at:end])
            at, typed = end, True
        left = left[at:]
