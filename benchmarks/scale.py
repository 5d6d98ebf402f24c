"""One tick of a large portfolio: seconds and peak memory of each stage.

    python -m benchmarks.scale --rows 2_000_000

Prints Markdown. The memory of every process that the runner starts is read from /proc twenty times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import duckdb
import psutil

from attrition.home import REPOSITORY, Home

PARAMS = """\
title: Large
id: client
columns:
  client: {type: integer}
  seats: {type: integer, nullable: true}
  fee: {type: number}
  spread: {type: number}
  plan: {type: category, nullable: true}
target: {column: left}
deadline: 7200
run_deadline: 14400
settle: 0
"""
MEAN = "-1.5 + 0.8 * a - 0.5 * b + (plan = 'Team')::INT * 0.4"
NORMAL = "sqrt(-2 * ln(random() + 1e-12)) * cos(2 * pi() * random())"


def drops(folder: Path, rows: int, files: int = 20, first: int = 0) -> None:
    """CSV files of clients whose outcome follows a logistic regression; from a seed, in one thread."""
    with duckdb.connect(config={"threads": 1, "memory_limit": "500MB"}) as db:
        db.execute("SELECT setseed(0.5)")
        for number in range(files):
            begin, end = (first + rows * at // files for at in (number, number + 1))
            drawn = f"""SELECT range AS client, {NORMAL} AS a, {NORMAL} AS b, random() AS c, random() AS u,
                ['Basic', 'Team', 'Pro'][1 + floor(random() * 3)::INT % 3] AS plan FROM range({begin}, {end})"""
            values = """client, CASE WHEN c < 0.05 THEN NULL ELSE 250 + round(80 * a)::BIGINT END AS seats,
                round(20 + 5 * b, 2) AS fee, round(c, 4) AS spread,
                CASE WHEN c > 0.98 THEN NULL ELSE plan END AS plan"""
            left = f"(u < 1 / (1 + exp(-({MEAN}))))::INT"
            path = folder / f"clients-{number:03d}.csv"
            db.execute(f"COPY (SELECT {values}, {left} AS \"left\" FROM ({drawn})) TO '{path}' (HEADER)")


class Watch(threading.Thread):
    """The largest resident memory of each process below ``root``, in MB, and what it was called then."""

    def __init__(self, root: int):
        super().__init__(daemon=True)
        self.root, self.peaks, self.done = psutil.Process(root), {}, threading.Event()

    def run(self) -> None:
        """Read until it is done."""
        while not self.done.wait(0.05):
            try:
                for process in [self.root, *self.root.children(recursive=True)]:
                    found = process.memory_info().rss // 2**20
                    if found > self.peaks.get(process.pid, 0):
                        self.peaks[process.pid] = found
            except psutil.Error:
                continue


def tick(home: Home, name: str) -> tuple[dict, Watch]:
    """The report of one tick, and what it took."""
    environment = {**os.environ, "ATTRITION_HOME": str(home.root), "PIP_NO_INDEX": "1"}
    runner = subprocess.Popen([sys.executable, str(REPOSITORY / "runner.py"), "tick", name], env=environment)
    watch = Watch(runner.pid)
    watch.start()
    runner.wait()
    watch.done.set()
    runs = sorted(home.place(name).executed.glob("*/run.json"))
    if runner.returncode or not runs:
        raise SystemExit(f"the tick failed ({runner.returncode}); its home is {home.root}")
    return json.loads(runs[-1].read_text()), watch


def main() -> None:
    """Run the ticks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=2_000_000)
    parser.add_argument("--folder", help="where the home is made; it needs some 300 bytes a row")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="attrition-scale-", dir=parser.parse_args().folder) as folder:
        home = Home(Path(folder))
        place = home.place("large")
        for made in (place.params.parent, place.incoming):
            made.mkdir(parents=True)
        place.params.write_text(PARAMS)
        ticks = []
        for first, count in ((0, rows), (rows, max(1000, rows // 100))):
            drops(place.incoming, count, files=20 if not first else 1, first=first)
            ticks.append(tick(home, "large"))
            for stage in ticks[-1][0]["stages"]:
                print(stage["name"], stage["status"], stage.get("seconds"), flush=True)
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"\n{rows:,} rows, then {max(1000, rows // 100):,}; {cores} cores, load {load:.1f}\n")
    print("| stage | first tick, s | second tick, s |\n|---|---|---|")
    seconds = [{stage["name"]: stage["seconds"] or 0 for stage in report["stages"]} for report, _ in ticks]
    for stage in seconds[0]:
        print(f"| {stage} | {seconds[0][stage]:.1f} | {seconds[1].get(stage, 0):.1f} |")
    peaks = [max(watch.peaks.values()) for _, watch in ticks]
    print(f"| **peak RSS of any process, MB** | {peaks[0]:,} | {peaks[1]:,} |")


if __name__ == "__main__":
    main()
