"""What the command line says, and the exit status that it ends with. Standard library only.

The log may be on the very disk that is full: what cannot be said must neither fail a run nor silence an alert.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from attrition.home import Place, UsageError
from attrition.safe import Held, exists
from attrition.signals import Interrupted

__all__ = [
    "DONE",
    "FAILED",
    "HELD",
    "LOG",
    "USAGE",
    "attach",
    "complain",
    "first_words",
    "integer",
    "now",
    "plain",
    "say",
    "stamp",
    "status_of",
    "told",
    "turn_over",
    "user",
    "words_of",
    "write",
]

DONE, FAILED, USAGE, HELD = 0, 1, 2, 75
LOG, LOG_MOST = "cron.log", 4_000_000
"""The log of the ticks that a schedule starts, in ``executed/``; bytes, beyond which it is begun anew."""
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
"""Of a terminal (ECMA-48): colours, cursor, titles."""


def attach() -> None:
    """Give a process that was started without stdin, stdout or stderr (``>&-``) the null device for it.

    Else the next file that it opens has that number, and whoever writes to the number writes into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # of the numbers that are free it has the lowest
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def now() -> datetime:
    """The time of a tick, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """A moment as the book and run.json write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def user() -> str:
    """Who calls, for the record; by number where the system has no name for them, as in a container (``--user``)."""
    import getpass  # here, as few verbs ask and every quiet tick would pay

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError: from Python 3.13 on
        return f"uid {os.getuid()}"


def integer(least: int, most: int = 10**9) -> Callable[[str], int]:
    """The type of a word on the command line that counts something: within what SQLite, dates and slices can take."""

    def read(word: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,18}", word) and least <= int(word) <= most:
            return int(word)
        raise argparse.ArgumentTypeError(f"{word[:40]!r} is no whole number from {least:,} to {most:,}")

    return read


def plain(text: str) -> str:
    """Text that a cell or a client's file brought, without what a terminal would obey."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in ESCAPES.sub("", text))


def say(place: Place, text: str) -> None:
    """One line for a person: with the time where nobody watches, without it on a terminal."""
    prefix = "" if sys.stdout.isatty() else f"{stamp(now())} "
    write(f"{prefix}{place.name}: {plain(text)}\n")


def write(text: str) -> None:
    """Put text on stdout. A log that is full, or that nobody reads any more, is told of once, and fails no run."""
    if trouble := _put(sys.stdout, text):
        complain(f"nothing more is said here, as it cannot be written: {trouble}")


def complain(text: str) -> None:
    """One line, or what is known of an error, on stderr; where it cannot be written neither, alerts and status tell."""
    _put(sys.stderr, f"{plain(text)}\n")


def _put(stream: TextIO, text: str) -> OSError | None:
    """Write it all, or nothing more to this stream: what it keeps would fail again when the process ends."""
    encoding = stream.encoding or "ascii"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def _unread(stream: TextIO) -> bool:
    """Whether nobody is at the other end of it any more."""
    asked = select.poll()
    asked.register(stream.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in asked.poll(0))


def turn_over(log: Path) -> int:
    """Begin a log anew that has grown too large. The one before is kept beside it; who writes to it goes on there.

    Raises:
        OSError: the folder cannot be written to.
    """
    if exists(log) and log.stat().st_size > LOG_MOST:
        log.replace(log.with_name(f"{log.name}.1"))
    return DONE


def status_of(stopped: Interrupted) -> int:
    """The exit status of what a signal stopped, as a shell has it."""
    return 128 + stopped.number


def first_words(name: str, message: str) -> str:
    """An error's name and the first line of its words, of which a MemoryError has none."""
    return ": ".join([name, *message.strip().splitlines()[:1]])


def words_of(error: Exception) -> str:
    """The same of an error that was raised here."""
    return first_words(type(error).__name__, str(error))


def told(work: Callable[[], int]) -> int:
    """The exit status of ``work``; what it raises is told on stderr."""
    try:
        status = work()
        sys.stdout.flush()  # here, not at the interpreter's end, which has a traceback for whatever goes wrong
        return status
    except Held as held:
        complain(f"{held}; nothing was started")
        return HELD
    except UsageError as error:
        complain(str(error))
        return USAGE
    except Interrupted as stopped:
        complain(f"stopped by {stopped}; nothing was started")
        return status_of(stopped)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _unread(sys.stdout):  # `doctor | head`: who reads has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        complain(f"{error}. Mend the folder or the disk; nothing is lost, the next tick goes on.")
        return FAILED
    except Exception:
        import traceback

        complain(traceback.format_exc().rstrip())
        return FAILED
