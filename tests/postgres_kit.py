"""A real PostgreSQL server, started as a user without rights, on loopback and behind a password."""

from __future__ import annotations

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

from conftest import require

PASSWORD = "s3cret/äpfel"
ESCAPED = "s3cret%2F%C3%A4pfel"
NOBODY: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def binaries() -> Path | None:
    """Where Debian, or the path, has the server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    named = shutil.which("initdb")
    return found[-1].parent if found else Path(named).resolve().parent if named else None


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
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self.folder, timeout=60, env={"LANG": "C.UTF-8"}, **quiet, **NOBODY)

    def create(self) -> None:
        word = self.folder / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        given = ["-D", "data", "-U", "owner", "-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={word}", "-N"]
        self._run("initdb", *given)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder}"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-D", "data", "-m", "immediate")

    def sql(self, *statements: str) -> None:
        """Make changes, each committed."""
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.address, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def running() -> Iterator[Server]:
    """A server for a ``with`` block; the test is skipped where the programs or the driver are missing."""
    programs = binaries()
    require(programs is not None, "PostgreSQL is not installed (Debian: postgresql)")
    drivers = all(find_spec(name) for name in ("adbc_driver_postgresql", "pyarrow"))
    require(drivers, "no driver for PostgreSQL: pip install 'attrition[postgres]'")
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="attrition-pg-") as folder:
        Path(folder).chmod(0o777)  # it is another user's that the server is to run as
        server = Server(Path(folder), programs)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
