"""``runner.py open PORTFOLIO RUN STAGE``: a stage as it ran, to be looked into in JupyterLab.

The copy has the parameters of that run, so it reads the same version of the data; it writes into a scratch folder
that holds what the earlier stages had left, so nothing of production is touched.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from attrition import safe
from attrition.home import RUN, Home, Place, UsageError
from attrition.runs import ACCOUNT, Run

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument("run")
    parser.add_argument("stage")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Lay the copy down and say where; returns the exit status."""
    place = home.place(arguments.portfolio)
    folder = place.executed / arguments.run
    if not RUN.fullmatch(arguments.run) or not safe.exists(folder / ACCOUNT):
        raise UsageError(f"{place.name}: no run {arguments.run[:40]!r}; the list: runner.py runs {place.name}")
    stages = Run.read(folder).report["stages"]
    notebooks = [line["notebook"] for line in stages]
    found = next((line["notebook"] for line in stages if line["name"] == arguments.stage), "")
    if not found or not safe.exists(folder / found):
        ran = ", ".join(line["name"] for line in stages if safe.exists(folder / line["notebook"]))
        raise UsageError(
            f"{place.name}: {arguments.run} did not execute {arguments.stage[:40]!r}; it did {ran or 'none'}"
        )
    target = place.opened / f"{arguments.run}-{arguments.stage}"
    if safe.exists(target):
        raise UsageError(f"{target} is there already: work on in it, or remove it to open the stage anew")
    later = notebooks[notebooks.index(found) :]
    shutil.copytree(folder, safe.make_folder(target) / "staging", ignore=shutil.ignore_patterns("*.html", *later))
    copy = _copy(place, folder / found, target / "staging", arguments.run)
    safe.write(target / found, json.dumps(copy, indent=1, ensure_ascii=False) + "\n")
    print(f"open it with: jupyter lab {target / found}")
    return 0


def _copy(place: Place, executed: Path, staging: Path, run: str) -> dict[str, Any]:
    """The notebook as it ran, without outputs, its parameters those of the run but for the scratch folder."""
    notebook: dict[str, Any] = json.loads(executed.read_text(encoding="utf-8"))
    given = notebook["metadata"].pop("papermill")["parameters"] | {"home": str(place.root), "staging": str(staging)}
    if "drops" in given:  # they were moved when they had been taken in
        given["drops"] = [str(_drop(place, run, Path(path))) for path in given["drops"]]
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", ())
        cell["metadata"] = {"tags": list(tags)} if tags else {}
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
        if "injected-parameters" in tags:
            lines = [
                f"# Parameters of run {run}; staging is a scratch folder",
                *(f"{k} = {v!r}" for k, v in given.items()),
            ]
            cell["source"] = "\n".join(lines)
    return notebook


def _drop(place: Place, run: str, path: Path) -> Path:
    taken = place.taken / run / path.name
    return taken if safe.exists(taken) and not safe.exists(path) else path
