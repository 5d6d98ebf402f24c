"""What the runs left behind, read only: published folders, recorded values.

Nothing here searches through the runs: ``latest.json`` says which run last ran each stage.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrition import record, safe
from attrition.home import RUN, Place

__all__ = ["account", "file", "files", "latest", "values"]

FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def latest(place: Place) -> dict[str, str]:
    """Run that last ran each stage, by the stage's name; ``run`` and ``finished_at`` of the newest completed run.

    Raises:
        ValueError: it is not JSON, or no object.
    """
    try:
        found = json.loads((place.executed / "latest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"latest.json: expected names and values, found {type(found).__name__}")  # noqa: TRY004 - of a file
    return {str(key): str(value) for key, value in found.items() if value is not None}


def files(place: Place, run: str) -> list[str]:
    """Names of the files that a published run left, in order; none where there is no such run."""
    folder = _folder(place, run)
    return sorted(path.name for path in folder.iterdir() if _plain(path)) if folder else []


def file(place: Place, run: str, name: str) -> Path | None:
    """A file of a published run; None where the run, or the file in it, is not there."""
    folder = _folder(place, run)
    return folder / name if folder and FILE.fullmatch(name) and _plain(folder / name) else None


def account(place: Place, run: str) -> dict[str, Any] | None:
    """The account (run.json) of a published run; None where there is no such run."""
    path = file(place, run, "run.json")
    return _account(path, path.stat().st_mtime_ns) if path else None


def values(place: Place, run: str, stage: str) -> dict[str, Any] | None:
    """The values that a stage such as ``60_diagnose`` recorded in a published run; None where it left no notebook."""
    path = file(place, run, f"{stage}.ipynb")
    return _values(path, path.stat().st_mtime_ns) if path else None


def _folder(place: Place, run: str) -> Path | None:
    folder = place.executed / run
    published = RUN.fullmatch(run) and not safe.is_link(folder) and safe.is_file(folder / "run.json")
    return folder if published else None


def _plain(path: Path) -> bool:
    return bool(FILE.fullmatch(path.name)) and safe.is_regular(path)


# A published file does not change, so its time of change is as good as its content.
@lru_cache(maxsize=32)
def _account(path: Path, changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@lru_cache(maxsize=16)
def _values(path: Path, changed: int) -> dict[str, Any]:
    return record.read(path)
