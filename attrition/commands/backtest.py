"""``runner.py backtest PORTFOLIO [--policy FILE] [--json]``: what the rules would have decided on the past.

It reads the client table and the YAML, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrition.home import Home, UsageError

if TYPE_CHECKING:
    from attrition.backtest import Played, Strategy
    from attrition.params import Portfolio

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow ``backtest``."""
    parser.add_argument("portfolio", help="a file of params/, without .yaml")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="YAML with other values of the portfolio's rules")
    parser.add_argument("--json", action="store_true", help="for machines")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Play the past through the rules and what people do without them; the exit status.

    Raises:
        UsageError: no such portfolio, a rule that is none, or nothing to play.
    """
    from attrition import params
    from attrition.backtest import play
    from attrition.store.clients import Clients
    from attrition.store.evidence import counted

    place = home.place(arguments.portfolio)
    portfolio = params.load(place.params)
    if arguments.policy:
        portfolio = params.with_rules(portfolio, arguments.policy)
    rows = counted(Clients(portfolio, place.clients), after_version=0).rows
    if rows.empty:
        raise UsageError(f"{place.name}: no client with an outcome that counts came yet; there is nothing to play")
    played = {name: play(portfolio, rows, strategy) for name, strategy in _strategies(portfolio).items()}
    found = [_line(name, each) for name, each in played.items()]
    if arguments.json:
        print(json.dumps({"portfolio": place.name, "clients": len(rows), "strategies": found}, indent=1))
    else:
        _print(place.name, found, rows["_counted"].nunique())
    return 0


def _strategies(portfolio: Portfolio) -> dict[str, Strategy]:
    from attrition.backtest import Always, Every, Evidence, Naive, Never

    month = round(portfolio.rules.ticks_a_year / 12)
    return {
        "these rules": Evidence(),
        "never": Never(),
        "always": Always(),
        "monthly": Every(month),
        "new F1 below old": Naive(),
    }


def _line(name: str, played: Played) -> dict[str, Any]:
    return {
        "rule": name,
        "clients": played.clients,
        "loss": played.loss if played.clients else None,
        "trained": played.trained,
        "promoted": played.promoted,
    }


def _print(name: str, found: list[dict[str, Any]], versions: int) -> None:
    judged = found[0]["clients"]
    print(f"{name}: {versions} data versions; {judged:,} clients judged before they were learnt from\n")
    print(f"{'rule':<18}{'trained':>9}{'promoted':>10}{'error':>9}{'to these rules':>16}   promoted with data version")
    for line in found:
        own, loss = found[0]["loss"], line["loss"]
        error = "" if loss is None else f"{loss:.4f}"
        more = "" if loss is None or line is found[0] else f"{loss - own:+.4f}"
        when = ", ".join(map(str, line["promoted"][:12])) + (" …" if len(line["promoted"]) > 12 else "")
        counts = f"{len(line['trained']):>9}{len(line['promoted']):>10}"
        print(f"{line['rule']:<18}{counts}{error:>9}{more:>16}   {when}")
    print("\nerror: mean Brier loss, smaller is better; each model promoted is a change that people must be told of")
