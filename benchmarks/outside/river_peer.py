"""river's detectors on streams: ``python river_peer.py FOLDER``; leaves FOLDER/NAME.json beside each NAME.npz.

Each is fed row by row, the reference first: DDM and HDDM_W the champion's 0/1 error, ADWIN and Page-Hinkley, which take
real numbers, its squared loss. All settings are the library's. An alarm in the reference is forgotten.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from river import drift

METHODS = {
    "ADWIN (squared loss)": (drift.ADWIN, "loss"),
    "Page-Hinkley (squared loss)": (drift.PageHinkley, "loss"),
    "DDM (0/1 error)": (drift.binary.DDM, "error"),
    "HDDM_W (0/1 error)": (getattr(drift.binary, "HDDM_W", None) or drift.binary.HDDMW, "error"),
}


def fed(stream, what):
    """The numbers of the reference, then of each tick."""
    for part in ("reference", "tick"):
        p, y = 1 / (1 + np.exp(-stream[f"{part}_l"])), stream[f"{part}_y"]
        values = (p - y) ** 2 if what == "loss" else ((p > 0.5) != (y == 1)).astype(float)
        yield values


for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    stream, said = np.load(path), {}
    for name, (method, what) in METHODS.items():
        detector, (before, after) = method(), fed(stream, what)
        for value in before.tolist():
            detector.update(value)
        began, alarmed = time.process_time(), set()
        for tick, value in zip(stream["tick"].tolist(), after.tolist(), strict=True):
            detector.update(value)
            if detector.drift_detected:
                alarmed.add(tick)
        cost = 1000 * (time.process_time() - began) / (int(stream["tick"].max()) + 1)
        said[name] = {"alarms": sorted(alarmed), "cost": cost}
    path.with_suffix(".json").write_text(json.dumps(said))
