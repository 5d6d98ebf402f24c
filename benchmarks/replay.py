"""Every run of a history of the demo replayed: ``python -m benchmarks.replay [HOME]``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from attrition import replaying
from attrition.commands import simulate
from attrition.home import Home
from attrition.signals import Stop

VISITS = (60, *range(70, 105, 10), *range(104, 140, 4), *range(140, 200, 10), 208)
"""Weeks after which a tick looks: 22 runs."""


def main() -> int:
    """Replay all; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/home").resolve()
        if not root.exists():
            simulate.VISITS, simulate.QUIET = VISITS, 0  # type: ignore[assignment]
            simulate.main(argparse.Namespace(history=root), Home(root))
        place = Home(root).place(simulate.PORTFOLIO)
        same, compared, begun = 0, 0, time.monotonic()
        names = sorted(path.parent.name for path in place.executed.glob("2*/run.json"))
        for name in names:
            found = replaying.replay(place, name, Stop(), print)
            compared += sum(stage.compared for stage in found.stages)
            same += found.same
            for stage in found.stages:
                for line in stage.differences:
                    print(f"{name} {stage.stage}: {line}")
            for line in found.lost:
                print(f"{name} lost: {line}")
        took = (time.monotonic() - begun) / max(1, len(names))
        load = f"{took:.1f} s a run; load {os.getloadavg()[0]:.1f}"
        print(f"{same} of {len(names)} runs the same, {compared:,} comparisons, {load}")
    return 0 if same == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
