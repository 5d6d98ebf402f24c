"""Fit and statistics of many rows beside scikit-learn and pandas, each in a process of its own, from the same Parquet.

    python -m benchmarks.fit --rows 20_000_000

Prints Markdown. Three numbers (one with gaps) and a category, one file. Seconds are those of the work from the file to
the answer, without imports; memory is the process's peak. Fits: L2, C = 1.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

NORMAL = "sqrt(-2 * ln(random() + 1e-12)) * cos(2 * pi() * random())"
NUMBERS = ["a", "b", "c"]


def make(path: Path, rows: int) -> None:
    """The rows: `a`, `b`, `c` standardised and complete; `gaps` is `b` in other units, with one in twenty missing."""
    with duckdb.connect(config={"memory_limit": "1GB", "threads": 2, "preserve_insertion_order": False}) as db:
        drawn = f"SELECT {NORMAL} AS a, {NORMAL} AS b, {NORMAL} AS c, random() AS r, random() AS u FROM range({rows})"
        plan = "CASE WHEN r > 0.98 THEN NULL ELSE ['Basic', 'Team', 'Pro'][1 + floor(r * 3)::INT % 3] END AS plan"
        gaps = "CASE WHEN u * 997 % 1 < 0.05 THEN NULL ELSE 40 + 20 * b END AS gaps"
        left = '(u < 1 / (1 + exp(-(-1 + 0.8 * a - 0.5 * b + 0.2 * c))))::TINYINT AS "left"'
        db.execute(f"COPY (SELECT a, b, c, {gaps}, {plan}, {left} FROM ({drawn})) TO '{path}' (FORMAT parquet)")


def portfolio(names: list[str]) -> Any:
    """A portfolio with these features."""
    from attrition.params import Portfolio

    kinds = {name: {"type": "category" if name == "plan" else "number", "nullable": True} for name in names}
    facts = {"name": "bench", "sha256": "", "title": "", "columns": kinds, "target": {"column": "left"}}
    return Portfolio.model_validate(facts)


def ours(path: Path, names: list[str]) -> list[float]:
    """The fit of `attrition.scale`."""
    from attrition.scale import Table, fit

    return contrasts(fit(Table(portfolio(names), (path,)))[-1].coef_[0])


def alone(path: Path) -> list[float]:
    """The search for coefficients alone, on numbers that are complete and standardised."""
    from attrition.scale import Table
    from attrition.scale.fitting import FIRST, coefficients
    from attrition.scale.sums import Encoding, Number

    table = Table(portfolio(NUMBERS), (path,))
    ((rows,),) = duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()
    encoding = Encoding("left", tuple(Number(name, 0.0, 0.0, 1.0) for name in NUMBERS), (), (), ((),))
    with tempfile.TemporaryDirectory() as folder:
        few = table.sample(100.0 * FIRST / rows, Path(folder, "rows.parquet"))
        beta, _ = coefficients(table, few, encoding)
    return beta[1:].tolist()


def sklearns(path: Path, names: list[str], tol: float = 1e-4) -> list[float]:
    """scikit-learn's, with lbfgs: bare on numbers that are standardised already, else the whole pipeline."""
    from sklearn.linear_model import LogisticRegression

    from attrition import model

    columns = ", ".join(f'"{name}"' for name in [*names, "left"])
    frame = duckdb.sql(f"SELECT {columns} FROM read_parquet('{path}')").df()
    y = frame["left"].to_numpy(dtype=np.int64)
    if names == NUMBERS:
        return LogisticRegression(C=1.0, tol=tol).fit(frame[names].to_numpy(), y).coef_[0].tolist()
    pipeline = model.build(portfolio(names)).set_params(classifier__tol=1e-4)
    return contrasts(pipeline.fit(model._inputs(pipeline, frame), y)[-1].coef_[0])


def contrasts(coefficients: np.ndarray) -> list[float]:
    """With the category's against their mean: the penalty hardly parts it from the intercept; lbfgs stops before."""
    return [*coefficients[:3].tolist(), *(coefficients[3:] - coefficients[3:].mean()).tolist()]


class Asked:
    """A table ``clients`` of the file."""

    def __init__(self, path: Path):
        from attrition.store.engine import database

        self.portfolio, self.db = portfolio(["a", "gaps", "c"]), database()
        self.db.execute(f"CREATE VIEW clients AS SELECT *, 1 AS _version FROM read_parquet('{path}')")

    def sql(self, query: str, **parameters: Any) -> pd.DataFrame:
        """Answer."""
        return self.db.execute(query, parameters).df()


def statistics_here(path: Path) -> list[float]:
    """Mean, median, deviation and share missing by `attrition.summary`."""
    from attrition.summary import summarise_store

    found = summarise_store(Asked(path))["columns"].values()
    return [each[key] for each in found for key in ("mean", "median", "std", "missing")]


def statistics_pandas(path: Path) -> list[float]:
    """The same by pandas."""
    columns = ["a", "gaps", "c"]
    try:
        frame = pd.read_parquet(path, columns=columns)
    except ImportError:  # without pyarrow
        frame = duckdb.sql(f"SELECT a, gaps, c FROM read_parquet('{path}')").df()
    measured = [frame.mean(), frame.median(), frame.std(), frame.isna().mean()]
    return [float(each[name]) for name in columns for each in measured]


WORK = {
    "fit alone": (alone, lambda path: sklearns(path, NUMBERS)),
    "fit alone, as exact": (alone, lambda path: sklearns(path, NUMBERS, 1e-8)),
    "with imputation, scaling, a category": (
        lambda path: ours(path, ["a", "gaps", "c", "plan"]),
        lambda path: sklearns(path, ["a", "gaps", "c", "plan"]),
    ),
    "mean, median, std, missing": (statistics_here, statistics_pandas),
}


def measure(path: Path, work: str, who: int) -> None:
    """In this process: seconds, seconds of CPU with imports, MB and the answer, as JSON."""
    import sklearn.linear_model  # noqa: F401 - imports are not measured

    import attrition.scale
    import attrition.summary  # noqa: F401

    begun = time.monotonic()
    answer = WORK[work][who](path)
    seconds = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mb": used.ru_maxrss / 1024, "answer": answer}))


def main() -> None:
    """Measure both sides of each, in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=20_000_000)
    parser.add_argument("--one", nargs=3, metavar=("PATH", "WORK", "WHO"))
    given = parser.parse_args()
    if given.one:
        return measure(Path(given.one[0]), given.one[1], int(given.one[2]))
    print(f"{given.rows:,} rows; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    print(
        "| work | here: s / CPU s / MB | beside: s / CPU s / MB | ratio | largest difference |\n|---|---|---|---|---|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.parquet")
        make(path, given.rows)
        for work in WORK:
            sides = []
            for who in (0, 1):
                command = [sys.executable, "-m", "benchmarks.fit", "--one", str(path), work, str(who)]
                sides.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            here, beside = sides
            off = np.abs(np.array(here["answer"]) - np.array(beside["answer"])).max()
            times = [f"{side['seconds']:.1f} / {side['cpu']:.1f} / {side['mb']:,.0f}" for side in sides]
            ratio = beside["seconds"] / here["seconds"]
            print(f"| {work} | {times[0]} | {times[1]} | {ratio:.1f} × | {off:.0e} |", flush=True)
    return None


if __name__ == "__main__":
    main()
