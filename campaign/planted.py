"""Defects planted in a copy of the project, one at a time: the campaign, or a test that is named, must see each.

    python -m campaign.planted [NAME]...

The defects stand in `planted.txt`: a line `# name`, the file, who must see it (a row and a count, or a test), then
what is replaced and, after a line `=>`, by what.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from attrition.home import REPOSITORY

__all__ = ["Defect", "defects", "seen", "text_with"]

LIST = Path(__file__).with_name("planted.txt")
COPIED = ("attrition", "campaign", "notebooks", "params", "tests", "runner.py", "api.py", "pyproject.toml")
PATIENCE = 900


@dataclass(frozen=True)
class Defect:
    """What is replaced by what in which file, and who must see it."""

    name: str
    file: str
    by: str
    old: str
    new: str


def defects() -> Iterator[Defect]:
    """All of them."""
    for block in LIST.read_text().split("\n# ")[1:]:
        name, file, by, rest = block.split("\n", 3)
        old, _, new = rest.rstrip("\n").partition("\n=>")
        yield Defect(name, file, by, old, new.removeprefix("\n"))


def text_with(defect: Defect, root: Path = REPOSITORY) -> str:
    """The file with the defect in it.

    Raises:
        ValueError: what it replaces is not there, once.
    """
    text = (root / defect.file).read_text()
    if text.count(defect.old) != 1:
        raise ValueError(f"{defect.name}: what it replaces is {text.count(defect.old)} times in {defect.file}")
    return text.replace(defect.old, defect.new)


def seen(defect: Defect) -> bool:
    """Whether who must see the defect does: a test fails, or a row of the campaign tells of a failure.

    Raises:
        AssertionError: the test or the row fails without the defect too, or came to no end of its own.
    """
    if (control := _asked(defect.by, "", "")).returncode != 0:
        raise AssertionError(f"{defect.by} fails without any defect: {control.stdout[-500:]}{control.stderr[-1500:]}")
    done = _asked(defect.by, defect.file, text_with(defect))
    if done.returncode not in (0, 1):
        raise AssertionError(f"{defect.by} ended with {done.returncode}: {done.stderr[-1500:]}")
    kind, row, *_ = defect.by.split()
    refused = re.search("^AssertionError", done.stderr, re.MULTILINE)  # by a row: an undisturbed tick is wrong already
    told = f"| {row} |" in done.stdout or bool(refused)
    return done.returncode == 1 and (kind == "test" or told)


@cache
def _asked(by: str, file: str, text: str) -> subprocess.CompletedProcess[str]:
    """A row or a test in a copy of the project, with ``text`` in the place of ``file``; as it is if none is named."""
    with tempfile.TemporaryDirectory(prefix="attrition-planted-") as folder:
        root = Path(folder)
        for name in COPIED:
            source = REPOSITORY / name
            _ = shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root)
        if file:
            (root / file).write_text(text)
        kind, *rest = by.split()
        row = ["campaign", "--row", rest[0], "--count", *rest[1:]]
        words = row if kind == "row" else ["pytest", "-q", "-n", "0", *rest]
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=root,
            env={**os.environ, "PYTHONPATH": folder, "CAMPAIGN_FIRST": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def main(names: Sequence[str]) -> int:
    """Plant them all, or those named; 1 if one was not seen."""
    missed = 0
    for defect in defects():
        if not names or defect.name in names:
            found = seen(defect)
            missed += not found
            print(f"{'seen' if found else 'MISSED'}: {defect.name} ({defect.by})", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
