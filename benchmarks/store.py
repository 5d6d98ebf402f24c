"""Ingest beside pandas and hand-written SQL, each in a process of its own, in one run: `make bench-store`.

All three read the same files as text, hold each value to its type's pattern, set bad rows aside, drop duplicates,
number what is left by date and write Parquet with zstd. The hand-written SQL makes the same hash; pandas makes none.
With a store all but the hand-written SQL also leave out what that has already: the store by its hashes, pandas by
reading its rows and comparing all of their columns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from attrition.params import Portfolio
from attrition.store.clients import Clients, commit_rows
from attrition.store.engine import ALONE
from attrition.store.ingest import ingest
from attrition.store.upkeep import keep_up

NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
WIDE = 15  # columns more than in the narrow table


def portfolio(wide: int) -> Portfolio:
    """The table: client and day, a number, a count, ``wide`` numbers more, and the outcome."""
    more = {f"n{at}": {"type": "number"} for at in range(wide)}
    columns = {
        **{"client": {"type": "text"}, "day": {"type": "date"}},
        **{"usage": {"type": "number"}, "tenure": {"type": "integer", "min": 0}, **more},
    }
    given = {"id": "client", "as_of": "day", "columns": columns, "target": {"column": "churn"}}
    return Portfolio.model_validate({"name": "bench", "sha256": "0" * 64, "title": "Bench", **given})


def generate(folder: Path, rows: int, files: int, wide: int, first: int = 0) -> None:
    """Files of rows in no order: one in a hundred came before, one in a thousand has a fault."""
    folder.mkdir(parents=True)
    more = "".join(f", round((i * {31 + at}) % 100000 / 100.0, 2) AS n{at}" for at in range(wide))
    for file in range(files):
        low, high = first + rows * file // files, first + rows * (file + 1) // files
        source = (
            f"SELECT CASE WHEN k % 100 = 7 AND k > 1000 THEN k - 950 ELSE k END AS i, k FROM range({low}, {high}) t(k)"
        )
        duckdb.connect().execute(
            "COPY (SELECT 'c' || i AS client, DATE '2026-01-01' + CAST(i * 7919 % 28 AS INT) AS day, "
            "round(i * 31337 % 100000 / 100.0, 2) AS usage, "
            "CASE WHEN k % 1000 = 3 THEN 'x' ELSE CAST(i * 17 % 120 AS VARCHAR) "
            f"END AS tenure{more}, i * 13 % 2 AS churn FROM ({source})) TO '{folder / f'{file:02d}.csv'}' (HEADER)"
        )


def ours(drops: Path, root: Path, wide: int) -> int:
    """The store's own ingest."""
    given, held = portfolio(wide), drops.parent / "held"
    clients = Clients(given, (held if held.exists() else root) / "clients")
    done = ingest(given, clients, sorted(drops.glob("*.csv")), root / "staging", run="run")
    return done.rows["ingested"]


def by_pandas(drops: Path, root: Path, wide: int) -> int:
    """What one writes in pandas, with the pyarrow engine."""
    import pandas as pd

    names = ["usage", *(f"n{at}" for at in range(wide))]
    kept = []
    for path in sorted(drops.glob("*.csv")):
        text = pd.read_csv(path, engine="pyarrow", dtype=str)
        good = text["day"].str.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}") & text["tenure"].str.fullmatch("[+-]?[0-9]+")
        for name in names:
            good &= text[name].str.fullmatch(NUMBER)
        good &= text["client"].notna() & text["churn"].isin(["0", "1"])
        text[~good].to_csv(root / f"{path.name}.bad")
        rows = text[good]
        typed = rows.assign(
            day=pd.to_datetime(rows["day"], format="%Y-%m-%d"),
            tenure=rows["tenure"].astype("int64"),
            churn=rows["churn"].astype("int8"),
            **{name: rows[name].astype("float64") for name in names},
        )
        kept.append(typed[typed["tenure"] >= 0])
    whole = pd.concat(kept, ignore_index=True).drop_duplicates()
    held = Clients(portfolio(wide), drops.parent / "held" / "clients").files
    if held:
        store = pd.concat([pd.read_parquet(path, columns=list(whole.columns)) for path in held])
        store["day"] = store["day"].astype(whole["day"].dtype)
        found = whole.merge(store.drop_duplicates(), how="left", on=list(whole.columns), indicator="_in")
        whole = found[found.pop("_in") == "left_only"]
    whole = whole.sort_values(["day", "client"], ignore_index=True)
    whole["_row"] = range(1, len(whole) + 1)
    whole.to_parquet(root / "rows.parquet", compression="zstd")
    return len(whole)


def by_hand(drops: Path, root: Path, wide: int) -> int:
    """What one writes in DuckDB, with the memory that the store allows itself."""
    kinds = {"client": "VARCHAR", "day": "DATE", "usage": "DOUBLE", "tenure": "BIGINT"}
    kinds |= {f"n{at}": "DOUBLE" for at in range(wide)} | {"churn": "TINYINT"}
    spilt = {
        "temp_directory": str(root / "spilt"),
        "memory_limit": ALONE.memory,
        "threads": 2,
        "preserve_insertion_order": False,
    }
    connection = duckdb.connect(config=spilt)
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in kinds)
    form = f"auto_detect = false, header = true, delim = ',', quote = '\"', columns = {{{columns}}}"
    texts = ", ".join(f"nullif(trim({name}), '') AS {name}" for name in kinds)
    read = f"(SELECT {texts} FROM read_csv({sorted(map(str, drops.glob('*.csv')))}, {form}))"
    rules = ["client IS NOT NULL", "churn IN ('0', '1')", "regexp_full_match(day, '[0-9]{4}-[0-9]{2}-[0-9]{2}')"]
    rules += [
        "TRY_CAST(day AS DATE) IS NOT NULL",
        "regexp_full_match(tenure, '[+-]?[0-9]+')",
        "TRY_CAST(tenure AS BIGINT) >= 0",
    ]
    for name in (name for name, kind in kinds.items() if kind == "DOUBLE"):
        rules += [f"regexp_full_match({name}, '{NUMBER}')", f"isfinite(TRY_CAST({name} AS DOUBLE))"]
    good = " AND ".join(rules)
    connection.execute(f"COPY (FROM {read} WHERE ({good}) IS NOT TRUE) TO '{root}/bad.parquet'")
    typed = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in kinds.items())
    hashed = f"hash({', '.join(kinds)}) AS _hash"
    rows = f"SELECT DISTINCT *, {hashed} FROM (SELECT {typed} FROM {read} WHERE {good})"
    connection.execute(
        f"COPY (SELECT *, row_number() OVER (ORDER BY day, _hash) AS _row FROM ({rows}) ORDER BY _row) "
        f"TO '{root}/rows.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )
    return int(connection.execute(f"SELECT count(*) FROM '{root}/rows.parquet'").fetchone()[0])


WAYS = {"ours": ours, "pandas": by_pandas, "hand": by_hand}


def small(root: Path, rows: int) -> dict[str, float]:
    """A drop of 500 rows into a store of ``rows``: seconds of the ingest itself."""
    given = portfolio(0)
    for tick, (number, files) in enumerate([(rows, 4), (500, 1), (500, 1), (500, 1)]):
        drops = root / f"drops{tick}"
        generate(drops, number, files, 0, first=tick * rows)
        staging, clients = root / f"staging{tick}", Clients(given, root / "clients")
        begun = time.perf_counter()
        ingest(given, clients, sorted(drops.glob("*.csv")), staging, run=f"run{tick}")
        took = time.perf_counter() - begun
        commit_rows(root / "clients", given, staging, json.loads((staging / "ingest.json").read_text()))
        keep_up(given, root / "clients", root / "scores")
    return {"seconds": took}


def fill(root: Path, rows: int, wide: int, first: int) -> None:
    """A store of ``rows`` of a table, from the ``first`` on, beside the drops."""
    generate(root / "first", rows, 4, wide, first)
    given, staging, clients = portfolio(wide), root / "staging", root / "held" / "clients"
    ingest(given, Clients(given, clients), sorted((root / "first").glob("*.csv")), staging, run="run")
    commit_rows(clients, given, staging, json.loads((staging / "ingest.json").read_text()))
    keep_up(given, clients, root / "scores")
    shutil.rmtree(root / "first")
    shutil.rmtree(staging)


def measured(way: str, drops: Path, wide: int) -> dict[str, Any]:
    """One way in a process of its own: seconds, peak of memory in MB, rows."""
    words = [sys.executable, "-m", "benchmarks.store", "--way", way, "--drops", str(drops), "--wide", str(wide)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=3600)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def one(way: str, drops: Path, wide: int) -> None:
    """What `measured` starts."""
    root = Path(tempfile.mkdtemp(dir=drops.parent))
    try:
        begun = time.perf_counter()
        rows = WAYS[way](drops, root, wide)
        took = time.perf_counter() - begun
    finally:
        shutil.rmtree(root)
    status = Path("/proc/self/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024
    print(json.dumps({"seconds": took, "cpu": sum(os.times()[:2]), "peak": peak, "rows": rows}))


def compare(title: str, drops: Path, wide: int, ways: list[str]) -> dict[str, dict[str, Any]]:
    """Print a line a way."""
    found = {way: measured(way, drops, wide) for way in ways}
    for way, each in found.items():
        times = each["seconds"] / found["ours"]["seconds"]
        costs = f"{each['seconds']:.1f} s | {each['cpu']:.1f} s | {each['peak']:,} MB"
        print(f"| {title} | {way} | {costs} | {times:.1f} | {each['rows']:,} |", flush=True)
    if len({each["rows"] for each in found.values()}) > 1:
        raise AssertionError(f"{title}: the ways do not agree on the rows: {found}")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000, help="of the narrow table; the others follow")
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--drops", type=Path)
    parser.add_argument("--wide", type=int, default=0)
    given = parser.parse_args()
    if given.way:
        return one(given.way, given.drops, given.wide)
    rows, root = given.rows, Path(tempfile.mkdtemp(prefix="bench-store-", dir=os.environ.get("TMPDIR")))
    ways = list(WAYS)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        ways.remove("pandas")
        print("pandas is left out: pip install pyarrow")
    try:
        print(
            f"load {os.getloadavg()[0]:.1f}\n\n"
            "| work | way | wall | processor | peak | times ours | rows |\n|---|---|---|---|---|---|---|"
        )
        generate(root / "narrow", rows, 20, 0)
        generate(root / "wide", rows // 20, 1, WIDE)
        works = [
            (f"{rows:,} narrow rows, 20 files", "narrow", 0, rows),
            (f"{rows // 20:,} rows of 20 columns", "wide", WIDE, rows // 20),
        ]
        for title, name, wide, many in works:
            compare(title, root / name, wide, ways)
            fill(root, rows // 4, wide, many * 3 // 4)  # the drops' last quarter is in it
            compare(f"{title}, against a store of {rows // 4:,}", root / name, wide, [w for w in ways if w != "hand"])
            shutil.rmtree(root / "held")
            shutil.rmtree(root / name)
        for part in (rows // 4, rows * 5 // 2):
            generate(root / f"part{part}", part, 20, 0)
            compare(f"{part:,} narrow rows", root / f"part{part}", 0, ["ours"])
            shutil.rmtree(root / f"part{part}")
        print(f"| 500 rows into {rows // 4:,} | ours | {small(root / 'small', rows // 4)['seconds']:.2f} s | | | | |")
    finally:
        shutil.rmtree(root)
    return None


if __name__ == "__main__":
    main()
