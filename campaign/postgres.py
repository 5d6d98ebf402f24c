"""A real PostgreSQL server, started as a user without rights, on loopback and behind a password."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

__all__ = ["ESCAPED", "PASSWORD", "Server", "binaries", "missing", "running"]

PASSWORD = "s3cret/äpfel"
ESCAPED = "s3cret%2F%C3%A4pfel"
NOBODY: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def binaries() -> Path | None:
    """Where Debian, or the path, has the server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    named = shutil.which("initdb")
    return found[-1].parent if found else Path(named).resolve().parent if named else None


def missing() -> str:
    """Why no server can be started and asked; empty if one can."""
    if binaries() is None:
        return "PostgreSQL is not installed (Debian: postgresql)"
    drivers = all(find_spec(name) for name in ("adbc_driver_postgresql", "pyarrow"))
    return "" if drivers else "no driver for PostgreSQL: pip install 'attrition[postgres]'"


class Server:
    """One server; ``address`` is its connection string."""

    def __init__(self, folder: Path, programs: Path):
        self.folder, self.programs = folder, programs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"postgresql://owner:{ESCAPED}@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *words: str) -> None:
        command = [str(self.programs / program), *words]
        quiet: dict[str, Any] = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "stdin": subprocess.DEVNULL,
        }
        subprocess.run(command, check=True, cwd=self.folder, timeout=60, env={"LANG": "C.UTF-8"}, **quiet, **NOBODY)

    def create(self) -> None:
        """Make its files."""
        word = self.folder / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        given = ["-D", "data", "-U", "owner", "-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={word}", "-N"]
        self._run("initdb", *given)

    def start(self) -> None:
        """Start it, and wait until it lets somebody in."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder}"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """End it at once, as its own command does: connections are cut, and the next start recovers."""
        self._run("pg_ctl", "stop", "-D", "data", "-m", "immediate")

    def kill(self) -> None:
        """SIGKILL to all its processes, and wait until they are gone."""
        first = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        first.suspend()  # or it would start new ones for those that end
        processes = [first, *first.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    def sql(self, *statements: str) -> None:
        """Make changes, each committed."""
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.address, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def running() -> Iterator[Server]:
    """A server for a ``with`` block.

    Raises:
        FileNotFoundError: :func:`missing` says what is.
    """
    programs = binaries()
    if programs is None or missing():
        raise FileNotFoundError(missing())
    with tempfile.TemporaryDirectory(prefix="attrition-pg-") as folder:
        Path(folder).chmod(0o777)  # it is another user's that the server is to run as
        server = Server(Path(folder), programs)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
