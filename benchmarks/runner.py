"""The whole tick of the demo, by five ways to execute its stages, in alternation; and what a quiet tick costs.

    python -m benchmarks.runner --rounds 5

Prints Markdown. Each way runs the first tick of a home of its own (all eight stages, their figures, their pages and
the three commits) as a fresh process, from the shell's start to its end. The runner's own code is the same in all;
what differs is how a notebook is executed and how its page is made.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrition.home import REPOSITORY, Home

PYTHON = sys.executable
WAYS = {
    "forks": "this runner",
    "a": "(a) papermill's command and nbconvert's, a stage",
    "b": "(b) `papermill.execute_notebook` in one process, a page a stage",
    "c": "(c) the same code as plain scripts",
    "d": "(d) the same code in one plain process",
}
DOMAIN = {"PIP_NO_INDEX": "1", "ATTRITION_API_URL": "http://127.0.0.1:9"}  # nothing is asked of any network
Execute = Callable[[Path, Path, Mapping[str, Any]], None]


# ---- the ways


def by_commands(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """Papermill's command line; its page is made by nbconvert's."""
    given = [word for key, value in parameters.items() for word in ("-y", json.dumps({key: value}))]
    command = [PYTHON, "-m", "papermill", "--no-progress-bar", "-k", "python3", *given, str(notebook), str(output)]
    subprocess.run(command, check=True, capture_output=True, cwd=output.parent)


def page_by_command(output: Path) -> None:
    """The page of an executed notebook by ``jupyter nbconvert``."""
    command = [PYTHON, "-m", "nbconvert", "--to", "html", "--log-level", "ERROR", str(output)]
    subprocess.run(command, check=True, capture_output=True)


def by_papermill(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """Papermill in this process, as it comes."""
    import papermill

    papermill.execute_notebook(
        str(notebook), str(output), dict(parameters), kernel_name="python3", progress_bar=False, cwd=str(output.parent)
    )


def by_script(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """A Python process that runs the cells as a script."""
    command = [PYTHON, "-m", "benchmarks.runner", "--script", str(notebook), str(output), json.dumps(parameters)]
    subprocess.run(command, check=True, cwd=REPOSITORY)


def here(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """The cells, one after the other, in this process; what they display is kept as a notebook keeps it."""
    import IPython.display
    import nbformat
    from IPython.core.formatters import DisplayFormatter

    shown: list[Any] = []
    formatter = DisplayFormatter()

    def display(data: Any, *, metadata: Any = None, raw: bool = False) -> None:
        bundle = (data, metadata or {}) if raw else formatter.format(data)
        shown.append(nbformat.v4.new_output("display_data", data=bundle[0], metadata=bundle[1]))

    IPython.display.display = display
    nb = nbformat.read(notebook, as_version=4)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in nb.cells:
        if cell.cell_type == "code":
            shown = cell.outputs = []
            body = ast.parse(cell.source).body
            last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None  # type: ignore[attr-defined]
            exec(compile(ast.Module(body, []), notebook.name, "exec"), names)
            value = eval(compile(last, notebook.name, "eval"), names) if last else None
            if value is not None:
                display(value)
            if "parameters" in cell.metadata.get("tags", ()):
                names.update(parameters)
    nbformat.write(nb, output)


def tick(way: str) -> int:
    """One tick of the demo in this process, its stages executed in this way."""
    import runner
    from attrition import forks, kernels, publish

    ways: dict[str, Execute] = {"a": by_commands, "b": by_papermill, "c": by_script, "d": here}
    if way != "forks":
        execute = ways[way]

        def executed(notebook: Path, output: Path, parameters: Mapping[str, Any], **_: Any) -> float:
            begun = time.monotonic()
            execute(notebook, output, parameters)
            return time.monotonic() - begun

        def page(run: Any, notebook: str) -> str:
            page_by_command(run.folder / notebook)
            return str(Path(notebook).with_suffix(".html"))

        kernels.execute = executed  # type: ignore[assignment]
        forks.Forks.__init__ = lambda self, _: vars(self).update(_server=None, latest=None)  # type: ignore[assignment, method-assign]
        if way == "a":
            publish.stage_page = page
    return runner.main(["tick", "demo"])


# ---- measuring


def timed(words: list[str], home: Path) -> tuple[float, float]:
    """Seconds of wall time and of CPU, children included, of one process."""
    environment = {**os.environ, **DOMAIN, "ATTRITION_HOME": str(home)}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [PYTHON, *words]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fresh(folder: Path) -> Path:
    """A home with the demo's first drop; matplotlib's font cache is there, as after any first run."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "params").mkdir(parents=True)
    shutil.copy(REPOSITORY / "params" / "demo.yaml", folder / "params")
    timed(["runner.py", "simulate"], folder)
    return folder


def recorded(home: Path) -> dict[str, Any]:
    """The scores of the run, and how many values and pictures each stage left."""
    from attrition import record

    (run,) = (home / "executed" / "demo").glob("2*")
    values = {path.name: record.read(path) for path in sorted(run.glob("*.ipynb"))}
    scores = values["40_score.ipynb"]["scores"]
    pictures = {name: (run / name).read_text(encoding="utf-8").count('"image/png": ') for name in values}
    if not any(pictures.values()):
        raise SystemExit("no stage drew anything")
    return {"scores": scores, "pictures": pictures, "values": {name: sorted(found) for name, found in values.items()}}


def whole_ticks(rounds: int, root: Path) -> None:
    """The table of whole ticks."""
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    found = []
    for number in range(rounds + 1):  # the first is not counted
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            home = fresh(root / "home")
            figures = timed(["-m", "benchmarks.runner", "--way", way], home)
            found.append(json.dumps(recorded(home), sort_keys=True))
            if number:
                taken[way].append(figures)
    if len(set(found)) != 1:
        raise SystemExit("the ways came to different scores")
    mine = statistics.median(wall for wall, _ in taken["forks"])
    print("| way | wall, s | from … to | CPU, s | against this runner |\n|---|---|---|---|---|")
    for way, figures in taken.items():
        walls, cpu = [wall for wall, _ in figures], statistics.median(cpu for _, cpu in figures)
        wall = statistics.median(walls)
        print(f"| {WAYS[way]} | {wall:.1f} | {min(walls):.1f} … {max(walls):.1f} | {cpu:.1f} | {wall / mine:.2f} |")


def with_past(home: Path, runs: int) -> Path:
    """A home after so many runs, as the book has them; nothing waits in it."""
    from attrition.book import Book

    shutil.rmtree(home, ignore_errors=True)
    (home / "params").mkdir(parents=True)
    shutil.copy(REPOSITORY / "params" / "demo.yaml", home / "params")
    timed(["runner.py", "tick", "demo"], home)
    with Book.open(Home(home).place("demo").book) as book:
        at = "2026-01-01T00:00:00Z"
        names = ((n, f"20260101T000000Z-{n:04d}") for n in range(1, runs + 1))
        made = ((*name, "completed", 0, "held", "It holds.", at, at) for name in names)
        book._db.execute("BEGIN")
        book._db.executemany(
            "INSERT INTO runs (number, run, status, manual, decision, reason, started_at, finished_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            made,
        )
        book._db.execute("UPDATE state SET runs = ?", (runs,))
        book._db.execute("COMMIT")
    for n in range(1, runs + 1):
        (home / "executed" / "demo" / f"20260101T000000Z-{n:04d}").mkdir(parents=True)
    return home


def quiet_ticks(rounds: int, root: Path) -> None:
    """The table of quiet ticks."""
    homes = {f"{runs:,} past runs": with_past(root / f"quiet-{runs}", runs) for runs in (10, 10_000)}
    many = root / "many"
    (many / "params").mkdir(parents=True)
    for number in range(500):
        shutil.copy(REPOSITORY / "params" / "demo.yaml", many / "params" / f"p{number:03d}.yaml")
    timed(["runner.py", "tick", "--all"], many)
    taken: dict[str, list[float]] = {}
    for _ in range(rounds * 4):
        for name, home in homes.items():
            taken.setdefault(f"a quiet tick after {name}", []).append(timed(["runner.py", "tick", "demo"], home)[0])
        taken.setdefault("python -c pass", []).append(timed(["-c", "pass"], many)[0])
    for _ in range(rounds):
        taken.setdefault("500 quiet portfolios, --all", []).append(timed(["runner.py", "tick", "--all"], many)[0])
    print("\n| | median, ms | from … to |\n|---|---|---|")
    for name, walls in taken.items():
        low, middle, high = (1000 * each for each in (min(walls), statistics.median(walls), max(walls)))
        print(f"| {name} | {middle:,.0f} | {low:,.0f} … {high:,.0f} |")


def main() -> int:
    """Measure, or be one of what is measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--script", nargs=3)
    arguments = parser.parse_args()
    if arguments.way:
        return tick(arguments.way)
    if arguments.script:
        notebook, output, parameters = arguments.script
        here(Path(notebook), Path(output), json.loads(parameters))
        return 0
    with tempfile.TemporaryDirectory() as root:
        whole_ticks(arguments.rounds, Path(root))
        quiet_ticks(arguments.rounds, Path(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
