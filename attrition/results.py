"""What the runs left behind, read only: published folders, recorded values, the ranking of clients.

Nothing here searches through the runs: ``latest.json`` says which run last ran each stage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrition import record
from attrition.home import RUN, Place

__all__ = ["account", "clients", "file", "files", "latest", "values"]

FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHOWN = "COLUMNS(lambda name: name NOT IN ('_row', 'run', 'model_version', 'data_version'))"
_RANKED = "FROM read_parquet($path) WHERE $band::VARCHAR IS NULL OR band = $band"


def latest(place: Place) -> dict[str, str]:
    """Run that last ran each stage, by the stage's name; ``run`` and ``finished_at`` of the newest completed run."""
    try:
        found = json.loads((place.executed / "latest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
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


def clients(place: Place, limit: int, offset: int, band: str | None = None) -> dict[str, Any] | None:
    """Clients by risk, most at risk first: one page of them (of ``band``), how many there are in all, and the
    ``run`` and ``model`` version that they speak of. None before the first assessment.
    """
    while place.ranking.is_file():
        stamp = place.ranking.stat().st_ino
        try:
            found = _page(place.ranking, {"limit": limit, "offset": offset}, band)
        except OSError:  # replaced between its name and its content
            continue
        if place.ranking.stat().st_ino == stamp:  # an assessment may put a new one in its place at any moment
            return found
    return None


def _page(ranking: Path, page: Mapping[str, int], band: str | None) -> dict[str, Any]:
    import duckdb

    given: dict[str, Any] = {"path": str(ranking), "band": band}
    with duckdb.connect(config={"threads": 1, "temp_directory": ""}) as database:
        about = database.execute(
            f"SELECT count(*) AS total, max(run) AS run, max(model_version) AS model {_RANKED}", given
        )
        counted = dict(zip((column[0] for column in about.description), about.fetchall()[0], strict=True))
        rows = database.execute(
            f"SELECT {_SHOWN} {_RANKED} ORDER BY rank LIMIT $limit OFFSET $offset", {**given, **page}
        )
        names = [column[0] for column in rows.description]
        return {**counted, "clients": [dict(zip(names, row, strict=True)) for row in rows.fetchall()]}


def _folder(place: Place, run: str) -> Path | None:
    folder = place.executed / run
    published = RUN.fullmatch(run) and not folder.is_symlink() and (folder / "run.json").is_file()
    return folder if published else None


def _plain(path: Path) -> bool:
    return bool(FILE.fullmatch(path.name)) and not path.is_symlink() and path.is_file()


# A published file does not change, so its time of change is as good as its content.
@lru_cache(maxsize=32)
def _account(path: Path, changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@lru_cache(maxsize=16)
def _values(path: Path, changed: int) -> dict[str, Any]:
    return record.read(path)
