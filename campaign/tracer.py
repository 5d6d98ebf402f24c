"""strace in the place of the library: a call fails where the kernel takes it, by whichever way it comes there.

What is linked statically, calls the kernel by itself, or stays within glibc (`readdir`) passes the library by; nothing
passes strace by. A tick takes six times as long under it, and of a call it can make no half.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from campaign.harness import Ended, Started
from campaign.shim import Kind

__all__ = ["Call", "available", "child", "failing", "injected", "made"]

KINDS: dict[str, Kind | None] = {
    **dict.fromkeys(("open", "openat"), Kind.LOOK),
    **dict.fromkeys(("write", "pwrite64", "writev"), Kind.WRITE),
    **dict.fromkeys(("read", "pread64"), Kind.READ),
    **dict.fromkeys(("rename", "renameat", "renameat2"), Kind.RENAME),
    **dict.fromkeys(("link", "linkat"), Kind.LINK),
    **dict.fromkeys(("unlink", "unlinkat"), Kind.UNLINK),
    **dict.fromkeys(("mkdir", "mkdirat"), Kind.MKDIR),
    **dict.fromkeys(("fsync", "fdatasync"), Kind.SYNC),
    **dict.fromkeys(("stat", "lstat", "newfstatat", "statx", "access", "faccessat"), Kind.ASK),
    **{"ftruncate": Kind.CUT, "rmdir": Kind.RMDIR},
    **dict.fromkeys(("getdents64", "readlink", "readlinkat", "flock", "fcntl"), None),  # not seen by the library
}
CALL = re.compile(r"^(\d+) +(\w+)\((.*)")
INJECTED = "(INJECTED)"


@dataclass(frozen=True)
class Call:
    """One that a tick made below its home; ``number``: among those of its thread that have the name, from 1."""

    name: str
    kind: Kind | None
    number: int


def available() -> str:
    """Why it cannot be done; empty if it can."""
    if shutil.which("strace") is None:
        return "no strace (Debian: strace)"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"nobody is traced here: {tried.stderr[-100:].strip()}" if tried.returncode else ""


def child(work: Callable[[], Any], log: Path, options: Sequence[str]) -> Ended:
    """Do ``work`` in a fork that strace looks at from the first call on, with what ``options`` say."""
    begun = Started(partial(_stopped, work))
    begun.held()
    command = ["strace", "-f", "-y", "-qq", "-s", "0", "-e", "signal=none", "-o", str(log), *options]
    with subprocess.Popen([*command, "-p", str(begun.pid)], stderr=subprocess.DEVNULL) as tracer:
        status = Path(f"/proc/{begun.pid}/status")
        while tracer.poll() is None and "TracerPid:\t0\n" in status.read_text():
            time.sleep(0.002)
        return begun.ended()


def _stopped(work: Callable[[], Any]) -> Any:
    os.kill(os.getpid(), signal.SIGSTOP)  # until it is traced
    return work()


def made(work: Callable[[], Any], root: Path, log: Path) -> tuple[list[Call], list[str]]:
    """Which calls ``work`` makes below ``root``, and on which paths, relative to it."""
    ended = child(work, log, ["-e", "trace=" + ",".join(f"?{name}" for name in KINDS)])
    lines = [line for line in log.read_text(errors="replace").splitlines() if re.search(f'{root}[/>"]', line)]
    if ended.status or not lines:
        raise AssertionError(f"nothing was traced: {ended.said[-2000:]}")
    names = re.findall(f'["<]{root}/([^">]+)[">]', "\n".join(lines))
    return [*_calls(lines)], sorted(set(names))


def _calls(lines: list[str]) -> Iterator[Call]:
    numbers: Counter[tuple[str, str]] = Counter()
    for thread, name, words in (match.groups() for match in map(CALL.match, lines) if match):
        numbers[thread, name] += 1
        kind = KINDS[name]
        if kind is Kind.LOOK and "O_RDONLY" not in words:
            kind = Kind.CREATE if "O_CREAT" in words else Kind.OPEN
        elif kind is Kind.UNLINK and "AT_REMOVEDIR" in words:
            kind = Kind.RMDIR
        yield Call(name, kind, numbers[thread, name])


def failing(call: Call, error: str, root: Path, names: Sequence[str], *, lasting: bool) -> list[str]:
    """The options by which this call fails, and all later ones if ``lasting``; on these paths only, in each thread."""
    paths = [f"-P{root / name}" for name in ("", *names)]
    when = f"{call.number}{'+' if lasting else ''}"
    return [*paths, "-e", f"trace={call.name}", "-e", f"inject={call.name}:error={error}:when={when}"]


def injected(log: Path) -> int:
    """How many calls failed: strace counts in each thread by itself."""
    return log.read_text(errors="replace").count(INJECTED)
