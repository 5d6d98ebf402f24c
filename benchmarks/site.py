"""What publishing a run costs after 10, 1,000 and 10,000 runs: ``python -m benchmarks.site``.

On a copy of the committed sample, whose book is given so many runs and whose history their points. Time is the best of
five, of a run's own page with its comparison and of all that it changes in the portfolio.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

from attrition import chronicle, params, publish, site
from attrition.book import Book
from attrition.home import REPOSITORY, Home, Place
from attrition.runs import Run

SAMPLE = REPOSITORY / "tests" / "data" / "home"
ROUNDS = 5


def main() -> None:
    """Print a line a number of runs."""
    print(f"load {os.getloadavg()[0]:.1f}")
    print(f"{'runs':>8} {'ms':>8} {'files':>6} {'written, KB':>12} {'home, KB':>9}")
    for runs in (10, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
            place = Home(Path(folder)).place("sample")
            _fill(place, runs)
            best = min(_publish(place) for _ in range(ROUNDS))
            written = [path for path in place.executed.rglob("*") if path.suffix in (".html", ".json")]
            size = sum(path.stat().st_size for path in written) / 1024
            home = (place.executed / "index.html").stat().st_size / 1024
            print(f"{runs:>8,} {best * 1000:>8.0f} {len(written):>6} {size:>12.0f} {home:>9.0f}")


def _fill(place: Place, runs: int) -> None:
    newest = next(place.executed.glob("2*"))
    newest = newest.rename(newest.with_name(f"20260106T031500Z-{runs:04}"))
    report = json.loads((newest / "run.json").read_text())
    (newest / "run.json").write_text(json.dumps({**report, "run": newest.name}))
    with sqlite3.connect(place.book) as db:
        line = db.execute("SELECT * FROM runs ORDER BY number DESC LIMIT 1").fetchone()
        db.execute("DELETE FROM runs")
        names = [f"20260101T000000Z-{number:04}" for number in range(1, runs)] + [newest.name]
        marks = ", ".join("?" * len(line))
        db.executemany(
            f"INSERT INTO runs VALUES ({marks})",
            [(number, name, *line[2:]) for number, name in enumerate(names, 1)],
        )
        db.execute("UPDATE state SET runs = ?", (runs,))
    with Book.open(place.book, read_only=True) as book:
        lines = book.runs(limit=min(runs, 3 * chronicle.MOST))[::-1]
    points = [chronicle.point(each, report, Run.read(newest).recorded("70_assess")) for each in lines]
    chronicle.forward(place.executed / "history.json", points, runs - 1)


def _publish(place: Place) -> float:
    folder = max(place.executed.glob("2*"))
    with Book.open(place.book, read_only=True) as book:
        begun = time.perf_counter()
        publish.run_page(place, Run.read(folder), params.load(place.params), book)
        site.write(place, params.load(place.params), book)
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
