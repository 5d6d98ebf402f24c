"""NannyML on streams: ``python nannyml_peer.py FOLDER``; leaves FOLDER/NAME.json beside each NAME.npz.

A tick is a chunk, the thresholds are the library's (three standard deviations of the reference's chunks). Two readings
of the ROC AUC: realised, from the outcomes, and estimated without them (CBPE).
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")

import nannyml  # noqa: E402

ASKED = {"y_true": "y", "y_pred": "called", "y_pred_proba": "p", "problem_type": "classification_binary"}


def table(stream, part):
    """Rows of a part as the library wants them."""
    p = 1 / (1 + np.exp(-stream[f"{part}_l"]))
    return pd.DataFrame({"p": p, "y": stream[f"{part}_y"].astype(int), "called": (p > 0.5).astype(int)})


def alarmed(result):
    """The ticks that alerted."""
    found = result.filter(period="analysis").to_df()
    return [int(tick) for tick in np.flatnonzero(found[("roc_auc", "alert")].to_numpy(dtype=bool))]


for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    stream, said = dict(np.load(path)), {}
    reference, rows, ticks = table(stream, "reference"), table(stream, "tick"), int(stream["tick"].max()) + 1
    asked = {**ASKED, "metrics": ["roc_auc"], "chunk_size": len(rows) // ticks}
    began = time.process_time()
    realised = alarmed(nannyml.PerformanceCalculator(**asked).fit(reference).calculate(rows))
    between = time.process_time()
    estimated = alarmed(nannyml.CBPE(**asked).fit(reference).estimate(rows))
    ended = time.process_time()
    said["NannyML, realised AUC"] = {"alarms": realised, "cost": 1000 * (between - began) / ticks}
    said["NannyML, estimated AUC"] = {"alarms": estimated, "cost": 1000 * (ended - between) / ticks}
    path.with_suffix(".json").write_text(json.dumps(said))
