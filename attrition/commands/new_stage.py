"""``runner.py new-stage NAME --after STAGE``: the skeleton of a stage of one's own, and its place in the order."""

from __future__ import annotations

import argparse
import json
import re
from contextlib import ExitStack
from pathlib import Path

from attrition import safe
from attrition.home import CHECKOUT, REPOSITORY, Home, UsageError

__all__ = ["configure", "main"]

HEAD = """# {title}

What this stage is for, in a sentence.

**Reads** `clients/` at `data_version`. **Writes** nothing. **Records** `{name}`."""
PARAMETERS = """home: str = ""  # folder with params/, data/ and models/; empty: the committed sample
portfolio: str = "sample"  # a file of params/, without .yaml
staging: str = ""  # the only folder this stage writes to; empty: a scratch folder
run: str = "by-hand"  # id of the run
data_version: int = 2  # version of clients/ to read"""
IMPORTS = """from attrition import look, record
from attrition.stages import Stage

look.theme()"""
WORK = """stage = Stage.open(home, portfolio, staging)
clients = stage.clients(data_version).frame()
found = {{"rows": len(clients)}}
record.leave("{name}", found)
found"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("name", help="a small letter, then small letters, digits or _")
    parser.add_argument("--after", required=True, metavar="STAGE", help="the stage that it follows")


def main(arguments: argparse.Namespace, _home: Home) -> int:
    """Write the notebook and its entry, or neither; returns the exit status.

    Raises:
        UsageError: no such name, place or folder, or the notebook is there already.
    """
    from runner import NOTEBOOKS, STAGES

    name, after = arguments.name, arguments.after
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) or name in STAGES:
        raise UsageError(f"{name[:40]!r} is no name for a new stage: a small letter, then small letters, digits or _")
    if not CHECKOUT:
        raise UsageError("the order of the stages is in runner.py: a stage of one's own needs a checkout, not a wheel")
    if after not in STAGES:
        raise UsageError(f"no stage {after[:40]!r}; there are {', '.join(STAGES)}")
    file = f"{_number(list(STAGES.values()), STAGES[after])}_{name}.ipynb"
    runner = REPOSITORY / "runner.py"
    order = _entered(runner, f'    "{after}": "{STAGES[after]}",\n', f'    "{name}": "{file}",\n')
    _write(NOTEBOOKS / file, _skeleton(name, file[:2]))
    with ExitStack() as undo:
        undo.callback((NOTEBOOKS / file).unlink, missing_ok=True)
        safe.write(runner, order)  # last: what it names and is not there fails every tick
        undo.pop_all()
    print(f"{NOTEBOOKS / file}: written; runner.py names it after {after}. Its test: pytest tests/test_notebooks.py")
    return 0


def _number(files: list[str], after: str) -> int:
    """A number between that of a stage and the next one's."""
    at = files.index(after)
    low, high = int(after[:2]), int(files[at + 1][:2]) if at + 1 < len(files) else 100
    if high - low < 2:
        raise UsageError(f"no number is free between {low} and {high}: rename a notebook to make room")
    return (low + high) // 2


def _write(notebook: Path, cells: dict[str, object]) -> None:
    if not safe.is_folder(notebook.parent):
        raise UsageError(f"there is no folder {notebook.parent}: make it, or unset ATTRITION_NOTEBOOKS that names it")
    if safe.there(notebook):
        raise UsageError(f"{notebook} is there already: move it away, or choose another name")
    safe.write(notebook, json.dumps(cells, indent=1, ensure_ascii=False) + "\n")


def _entered(runner: Path, before: str, line: str) -> str:
    """The text of runner.py with one line more in its list of stages."""
    source = runner.read_text(encoding="utf-8")
    if source.count(before) != 1:
        raise UsageError(f"{runner}: its list of stages is not in the form that it had: enter {line.strip()} by hand")
    return source.replace(before, before + line)


def _skeleton(name: str, number: str) -> dict[str, object]:
    cells = [
        ("markdown", HEAD.format(title=name.replace("_", " ").capitalize(), name=name), []),
        ("code", PARAMETERS, ["parameters"]),
        ("code", IMPORTS, []),
        ("markdown", "What the next cell shows:", []),
        ("code", WORK.format(name=name), []),
        ("markdown", "**Next:** the stages after this one.", []),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [_cell(f"{number}-{at:02d}", *cell) for at, cell in enumerate(cells)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(key: str, kind: str, source: str, tags: list[str]) -> dict[str, object]:
    own: dict[str, object] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    lines = source.splitlines(keepends=True)
    return {"cell_type": kind, "id": key, "metadata": {"tags": tags} if tags else {}, **own, "source": lines}
