"""``runner.py try PORTFOLIO``: the stages as edited on the last drops, beside what production made of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from datetime import datetime
from typing import Any

from attrition import safe, trying
from attrition.console import DONE, FAILED, integer, plain
from attrition.home import Home, UsageError
from attrition.runs import Run
from attrition.wishes import Wish

__all__ = ["configure", "main"]

SHOWN = ("decision", "model", "judged", "brier", "auc")


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument(
        "--last", type=integer(1), default=1, metavar="N", help="on the last N data versions (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="for programs: one JSON document")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Try; the exit status is 1 where the stages fail."""
    place = home.place(arguments.portfolio)
    if not safe.exists(place.book):
        raise UsageError(f"{place.name}: no tick has run yet: there is nothing to try on")
    with contextlib.redirect_stdout(sys.stderr):
        found = trying.attempt(place, arguments.last, _tick)
    if arguments.json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        _tell(found)
    return FAILED if found.failed else DONE


def _tick(home: Home, name: str, run: Run) -> int:
    from runner import tick

    begun, wish = datetime.fromisoformat(run.report["started_at"]), Wish(force=bool(run.report.get("forced")))
    return tick(home, name, wish=wish, clock=lambda: begun)


def _tell(found: trying.Tried) -> None:
    print(f"{'data':>5} {'':<11}" + "".join(f"{name:>14}" for name in SHOWN))
    for each in found.runs:
        for who, said in (("production", each.production), ("now", each.now)):
            first = f"{each.data_version:>5}" if who == "production" else " " * 5
            print(f"{first} {who:<11}" + "".join(f"{_short(said[name]):>14}" for name in SHOWN))
        if each.production["reason"] != each.now["reason"]:
            print(plain(f"      then: {each.production['reason']}\n      now:  {each.now['reason']}"))
    if found.failed:
        print(f"the stages fail: {plain(found.failed)}")
    if (moves := found.moves) is not None:
        print(f"{moves.moved:,} of {moves.clients:,} clients have another rank")
        print(f"{moves.entered:,} of the first 100 are others")
        for row in moves.most:
            risks = f"risk {row['risk_then']:.0%} to {row['risk_now']:.0%}"
            print(f"  {plain(row['id']):<24} rank {row['rank_then']:>6,} to {row['rank_now']:>6,}, {risks}")


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
