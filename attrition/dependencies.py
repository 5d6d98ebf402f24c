"""The libraries that the project names: installed, locked, newest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["NOT_CHECKED", "Newest", "table"]

NOT_CHECKED = "not checked"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]*))?")


def table(newest: dict[str, str] | None) -> list[dict[str, str | None]]:
    """A row a direct dependency: name, installed, locked, newest (from :class:`Newest`; None: not checked)."""
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


class Newest:
    """Ask the package index for the newest releases, in a process of its own while other work goes on.

    pip asks whatever index this machine is set up with; nothing here names one, and nothing is installed.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        if not os.environ.get("PIP_NO_INDEX"):
            # Ignoring what is installed makes an index that cannot be reached an error, not "all is newest".
            how = "install --dry-run --ignore-installed --no-deps --only-binary :all: --retries 0 --quiet --report -"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pip", "--disable-pip-version-check", *how.split(), *_direct()],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )

    def answer(self, seconds: float) -> dict[str, str] | None:
        """Newest releases by name, after at most ``seconds``; None where the index did not answer."""
        if self._process is None:
            return None
        try:
            text, _ = self._process.communicate(timeout=seconds)
            found = [each["metadata"] for each in json.loads(text)["install"]]
            return {_normal(each["name"]): str(each["version"]) for each in found}
        except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
            self._process.kill()
            self._process.communicate()
            return None


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
    if not path.exists():
        return pins
    for line in path.read_text(encoding="utf-8").splitlines():
        pin = _PIN.match(line)
        if pin and (_normal(pin[1]) not in pins or pin[2] == _installed(pin[1])):
            pins[_normal(pin[1])] = pin[2]
    return pins


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
