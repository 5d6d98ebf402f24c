"""The runner's side: ask the sources of a portfolio before a tick looks into ``incoming/``. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from attrition.book import Book
from attrition.home import REPOSITORY, Place
from attrition.signals import Interrupted, Stop

__all__ = ["ask"]

LATER = "nothing is lost, the next tick asks again"


def ask(place: Place, book: Book, stop: Stop, say: Callable[[str], None]) -> bool:
    """Fetch what is new under the portfolio's lock; whether every source answered.

    Raises:
        Interrupted: a signal came meanwhile.
    """
    command = [sys.executable, "-m", "attrition.sources.fetch", str(place.root), place.name, str(os.getpid())]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            answer = _answer(process, stop)
        except Interrupted:
            process.kill()
            raise
    if process.returncode:
        say(f"the sources could not be asked: {_ended(process.returncode)}; {LATER}")
        return False
    found = json.loads(answer)
    if "refused" in found:
        say(f"the sources could not be asked: {found['refused']}; {LATER}")
        return False
    book.marked(found["seen"])
    for name, account in found["sources"].items():
        if account["drops"]:
            say(f"source {name}: {account['drops']} new")
        if account["failed"]:
            say(f"source {name}: {account['failed']}; {LATER}")
    return not any(account["failed"] for account in found["sources"].values())


def _answer(process: subprocess.Popen[bytes], stop: Stop) -> bytes:
    while True:
        stop.check()
        try:
            return process.communicate(timeout=0.1)[0]
        except subprocess.TimeoutExpired:
            continue


def _ended(status: int) -> str:
    if status == -signal.SIGALRM:
        return "they took longer than deadline allows"
    return f"the process ended with {status}"
