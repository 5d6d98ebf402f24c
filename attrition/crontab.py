"""A person's crontab: its lines, read and written whole, and those of a home among them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from attrition.home import Home, UsageError

__all__ = ["lines", "mark", "write"]


def mark(home: Home) -> str:
    """What a line of this home ends with, so that it is known again. To cron a bare % would be the end of the line."""
    return f" # attrition {home.root}".replace("%", r"\%")


def lines() -> list[str]:
    """The lines that there are.

    Raises:
        UsageError: there is no crontab on this machine, or it may not be used.
    """
    done = subprocess.run([_command(), "-l"], capture_output=True, text=True, check=False)
    if done.returncode and "no crontab" not in done.stderr:
        raise UsageError(f"crontab -l: {done.stderr.strip()}")
    return done.stdout.splitlines()


def write(lines: Sequence[str]) -> None:
    """Put these in the place of all lines.

    Raises:
        UsageError: as ``lines``.
    """
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run([_command(), "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"crontab: {done.stderr.strip()}")


def _command() -> str:
    found = shutil.which("crontab") or shutil.which("crontab", path="/usr/bin:/bin:/usr/local/bin")
    if found is None:
        raise UsageError(
            "there is no crontab on this machine: install cron, or see docs/operations.md for other timers"
        )
    return found
