"""``runner.py doctor [--json]``: whether all is well, line by line, and what to do where it is not."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from attrition.console import plain
from attrition.home import Home

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("--json", action="store_true", help="for programs: one JSON document")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Look at everything; returns 0 where all is well, else 1."""
    from attrition import health

    found = []
    for each in health.examine(home):
        found.append(each)
        if not arguments.json:
            print(f"{'ok ' if each.ok else 'NO '} {each.check:<22} {plain(each.said)}")
            if each.remedy:
                print(f"    {'':<22} → {plain(each.remedy)}", flush=True)
    well = all(each.ok for each in found)
    if arguments.json:
        print(json.dumps({"home": str(home.root), "ok": well, "findings": [asdict(each) for each in found]}, indent=1))
    return 0 if well else 1
