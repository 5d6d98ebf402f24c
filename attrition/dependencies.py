"""The libraries that the project names: installed, locked, newest."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from attrition import safe

__all__ = ["NOT_CHECKED", "asking", "newest", "table"]

NOT_CHECKED = "not checked"
AGAIN = 3600.0  # seconds until a question that had no answer is put again
BESIDE = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: None)(1, 9)  # killed with the runner, where there is Linux's prctl(2)
if os.getppid() == int(sys.argv[1]):
    os.nice(19)
    os.execv(sys.executable, [sys.executable, "-m", "pip", *sys.argv[2:]])
"""
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]*))?")


def table(newest: dict[str, str] | None) -> list[dict[str, str | None]]:
    """A row a direct dependency: name, installed, locked, newest (by :func:`newest`; None: not checked)."""
    locked = _locked(Path(__file__).parent.parent / "requirements.txt")
    return [
        {
            "name": name,
            "installed": _installed(name),
            "locked": locked.get(name),
            "newest": NOT_CHECKED if newest is None else newest.get(name),
        }
        for name in _direct()
    ]


def newest(answers: Path) -> tuple[datetime, dict[str, str]] | None:
    """When the index last answered, and the newest releases by name; None where it never did."""
    try:
        found = json.loads(answers.read_text(encoding="utf-8"))
        return datetime.fromisoformat(found["at"]), found["newest"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def asking(answers: Path) -> Iterator[None]:
    """Ask the package index, beside what a ``with`` block does, which nothing waits for: its end is the question's.

    Asked is at most once an hour until there is an answer, then once a day, whatever portfolio is at work. pip asks
    whatever index this machine is set up with; nothing here names one, and nothing is installed.

    Args:
        answers: the file that keeps the answer.
    """
    if os.environ.get("PIP_NO_INDEX") or not _time_to_ask(answers):
        yield
        return
    safe.make_folder(answers.parent)
    answers.with_suffix(".asked").touch()
    # Ignoring what is installed makes an index that cannot be reached an error, not "all is newest".
    how = "install --dry-run --ignore-installed --no-deps --only-binary :all: --retries 0 --quiet --report -"
    words = ["--disable-pip-version-check", *how.split(), *_direct()]
    pip = subprocess.Popen(
        [sys.executable, "-c", BESIDE, str(os.getpid()), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    listening = threading.Thread(target=_listen, args=(pip, answers))
    listening.start()
    try:
        yield
    finally:
        pip.kill()
        listening.join()


def _time_to_ask(answers: Path) -> bool:
    known, asked = newest(answers), answers.with_suffix(".asked")
    if known and timedelta(0) <= datetime.now(UTC) - known[0] < timedelta(days=1):
        return False
    return not safe.exists(asked) or not 0 <= time.time() - asked.stat().st_mtime < AGAIN


def _listen(pip: subprocess.Popen[str], answers: Path) -> None:
    text, _ = pip.communicate()
    with contextlib.suppress(ValueError, KeyError, TypeError, OSError):  # killed, no answer, no room for it: no answer
        found = [each["metadata"] for each in json.loads(text)["install"]]
        known = {_normal(each["name"]): str(each["version"]) for each in found}
        safe.write(answers, json.dumps({"at": datetime.now(UTC).isoformat(), "newest": known}, indent=1))


def _direct() -> list[str]:
    try:
        required = metadata.requires("attrition") or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(
        _normal(re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0]) for line in required if "extra ==" not in line
    )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _locked(path: Path) -> dict[str, str]:
    """Pinned versions; of a package pinned once a Python version, the pin that this Python would install."""
    pins: dict[str, str] = {}
    if not safe.exists(path):
        return pins
    for line in path.read_text(encoding="utf-8").splitlines():
        pin = _PIN.match(line)
        if pin and (_normal(pin[1]) not in pins or pin[2] == _installed(pin[1])):
            pins[_normal(pin[1])] = pin[2]
    return pins


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
