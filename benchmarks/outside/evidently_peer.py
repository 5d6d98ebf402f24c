"""Evidently on streams: ``python evidently_peer.py FOLDER``; leaves FOLDER/NAME.json beside each NAME.npz.

Each tick is a report of its own against the reference: features, the champion's probability, the outcome, with the
tests that the library chooses by itself. Two readings: drift of the data set (half of the columns), of any column.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")

from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.metrics import DriftedColumnsCount  # noqa: E402


def table(stream, part, rows):
    """Rows of a part as the library wants them."""
    X = stream[f"{part}_X"][rows]
    found = pd.DataFrame(X, columns=[f"x{column}" for column in range(X.shape[1])])
    found["p"], found["y"] = 1 / (1 + np.exp(-stream[f"{part}_l"][rows])), stream[f"{part}_y"][rows].astype(int)
    numbers = [name for name in found.columns if name != "y"]
    return Dataset.from_pandas(found, DataDefinition(numerical_columns=numbers, categorical_columns=["y"]))


for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    stream = dict(np.load(path))
    reference, half, one, began = table(stream, "reference", slice(None)), [], [], time.process_time()
    ticks = range(int(stream["tick"].max()) + 1)
    for tick in ticks:
        report = Report([DriftedColumnsCount()]).run(table(stream, "tick", stream["tick"] == tick), reference)
        value = report.dict()["metrics"][0]["value"]
        half += [tick] if value["share"] >= 0.5 else []
        one += [tick] if value["count"] >= 1 else []
    cost = 1000 * (time.process_time() - began) / len(ticks)
    said = {"Evidently, half of the columns": half, "Evidently, any column": one}
    path.with_suffix(".json").write_text(json.dumps({name: {"alarms": a, "cost": cost} for name, a in said.items()}))
