"""``runner.py new DIR``: a home of one's own: stages to edit, the portfolio demo, and room for what comes."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from attrition import safe
from attrition.home import MARK, PARTS, Home, UsageError

__all__ = ["configure", "main"]

IGNORED = """# What clients gave and what runs made; stages and portfolios are what a repository should hold.
/data/
/models/
/executed/
/alerts.yaml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="made anew, or an empty one")


def main(arguments: argparse.Namespace, _home: Home) -> int:
    """Lay it out; returns the exit status.

    Raises:
        UsageError: something is there already.
    """
    root = arguments.folder.resolve()
    if safe.exists(root) and (not safe.is_folder(root) or any(root.iterdir())):
        raise UsageError(f"{root} is there already, and is not an empty folder: name another one")
    for name in ("params", "notebooks", "data", "models", "executed"):
        safe.make_folder(root / name)
    shutil.copy(PARTS / "params" / "demo.yaml", root / "params")
    for notebook in safe.entries(PARTS / "notebooks", "*.ipynb"):
        shutil.copy(notebook, root / "notebooks")
    safe.write(root / ".gitignore", IGNORED)
    safe.write(root / MARK, "a home of attrition: known by this file\n")
    print(f"{root}: a home. Next:")
    print(f"  cd {root}")
    print("  attrition init /path/to/clients.csv --target COLUMN     your own clients")
    print("  attrition simulate && attrition                         clients that are made up")
    return 0
