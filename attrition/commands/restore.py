"""``runner.py restore SRC``: a home, or some portfolios, from a backup, verified before anything is touched."""

from __future__ import annotations

import argparse
from pathlib import Path

from attrition import restoring
from attrition.home import Home

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("src", type=Path, help="what backup made")
    parser.add_argument(
        "--portfolio", action="append", metavar="NAME", default=[], help="only this one; may be repeated"
    )


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Restore; returns the exit status."""
    names = restoring.restore(home, arguments.src.absolute(), arguments.portfolio)
    print(f"restored: {', '.join(names)}. The next tick goes on where the backup was made.")
    return 0
