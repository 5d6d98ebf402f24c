"""A small home with one portfolio, a trained model and two runs, for the tests of what is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import nbformat
import numpy as np
import pandas as pd
import yaml

from attrition import model, params, record, registry, safe
from attrition.book import Book, Outcome
from attrition.home import Home, Place
from attrition.params import Portfolio

COLUMNS = {
    "client": {"type": "text"},
    "usage": {"type": "number", "min": 0, "max": 1000},
    "tenure": {"type": "integer", "min": 0},
    "vip": {"type": "boolean"},
    "plan": {"type": "category", "values": ["basic", "plus"]},
    "region": {"type": "category", "nullable": True},
    "balance": {"type": "number", "nullable": True},
    "since": {"type": "date"},
}
GIVEN = {"title": "Shop", "id": "client", "columns": COLUMNS, "target": {"column": "left"}}
RECORD = {"client": "c-1", "usage": 12.5, "tenure": 3, "vip": True, "plan": "plus", "region": "north", "balance": -4.0}
FIRST, LAST = "20260101T000000Z-0001", "20260102T000000Z-0002"


def portfolio(**changes: Any) -> Portfolio:
    return Portfolio.model_validate({"name": "shop", "sha256": "0" * 64, **GIVEN, **changes})


def clients(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Rows of the portfolio with their outcome."""
    rng = np.random.default_rng(seed)
    usage, vip = rng.uniform(0, 1000, rows), rng.integers(0, 2, rows)
    categories = {"plan": ["basic", "plus"], "region": ["north", "south", None]}
    frame = pd.DataFrame(
        {
            "usage": usage,
            "tenure": rng.integers(0, 90, rows).astype(float),
            "vip": vip.astype(float),
            **{
                name: pd.Series(rng.choice(np.array(of, dtype=object), rows), dtype=object)
                for name, of in categories.items()
            },
            "balance": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(0, 50, rows)),
        }
    )
    frame["left"] = (usage / 500 + vip + rng.normal(0, 0.5, rows) > 1.5).astype(float)
    return frame


def facts(version: str = "0001", **changes: Any) -> dict[str, Any]:
    """What a training stage tells the registry of a model."""
    shop = portfolio()
    numbers = {"data_version": 1, "rows": 60, "known": 60, "left": 24, "trained_to": 60}
    found = {
        "features": shop.features,
        "params": {"C": 1.0},
        "params_sha256": shop.sha256,
        "coefficients": [],
        "base": {},
    }
    about = {"version": version, "portfolio": "shop", "run": FIRST, "trained_at": "2026-01-01T00:00:00Z"}
    return {**numbers, **found, **about, "metrics": {"f1": 0.75, "auc": 0.8}, **changes}


def deploy(place: Place, version: str = "0001", seed: int = 0, **changes: Any) -> registry.Manifest:
    """Train on other rows for each seed, write the version, make it current."""
    folder = place.models / version
    folder.mkdir(parents=True, exist_ok=True)
    trained = clients(seed=seed)
    pipeline = model.fit(portfolio(), trained)
    golden = [RECORD]
    expected = model.probabilities(pipeline, pd.DataFrame(golden)).tolist()
    noted = {"rows": golden, "probabilities": expected}
    told = {"base": model.baseline(pipeline, trained), "usual": model.usual(portfolio(), trained)}
    manifest = registry.write(folder, pipeline, **facts(version, golden=noted, **told, **changes))
    here = registry.Current("shop", version, manifest.sha256, FIRST, "2026-01-01T00:01:00Z", proven=False)
    safe.write(place.current, msgspec.json.encode(here))
    return manifest


def notebook(path: Path, **values: Any) -> None:
    """An executed notebook that recorded ``values``."""
    outputs = [
        nbformat.v4.new_output(
            "display_data", data={record.MIME: {"name": name, "data": data, "encoder": "json", "version": 1}}
        )
        for name, data in values.items()
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)]), path)


def run(place: Place, name: str, manifest: registry.Manifest | None) -> Path:
    """A published run."""
    folder = place.executed / name
    folder.mkdir(parents=True)
    ran = {"version": manifest.version, "sha256": manifest.sha256} if manifest else None
    report = {
        "run": name,
        "portfolio": "shop",
        "status": "completed",
        "decision": "promoted",
        "model": ran,
        "stages": [],
    }
    (folder / "run.json").write_text(json.dumps(report))
    return folder


def book(place: Place, manifest: registry.Manifest) -> None:
    """Two runs, then two quiet ticks."""
    place.data.mkdir(parents=True)
    with Book.open(place.book) as opened:
        for name, at in ((FIRST, "2026-01-01T00:00:00Z"), (LAST, "2026-01-02T00:00:00Z")):
            started, sequence = opened.begin(name[:16], at)
            assert started == name
            held = Outcome(
                "held", "it holds", judged_version=1, champion=None, challenger=None, evidence={}, proven=False
            )
            opened.decided(sequence, name, held, at)
            ended = {"run": name, "status": "completed", "finished_at": at, "reason": held.reason, "data_version": 1}
            unknown = {"decision": None, "model": None, "performance": None, "rows": {}, "stages": []}
            opened.finished(opened.state().sequence, {**ended, **unknown})
        opened.quiet("2026-01-03T00:00:00Z")
        opened.quiet("2026-01-03T00:15:00Z")


def ranking(place: Place) -> None:
    """Three clients by risk, as an assessment stages them."""
    rows = [(1, 7, "c-3", 0.9, "high"), (2, 9, "c-1", 0.4, "medium"), (3, 8, "c-2", 0.1, "low")]
    values = ", ".join(
        f"({rank}, {row}, '{name}', {risk}::DOUBLE, '{band}', ['tenure 3'], DATE '2026-01-01', '{LAST}', '0001')"
        for rank, row, name, risk, band in rows
    )
    table = f"(VALUES {values}) AS clients(rank, _row, id, probability, band, reasons, since, run, model_version)"
    duckdb.connect().sql(f"COPY (SELECT * FROM {table} ORDER BY id) TO '{place.ranking}' (FORMAT parquet)")


def make(root: Path) -> Home:
    """The whole home."""
    home = Home(root)
    place = home.place("shop")
    place.params.parent.mkdir(parents=True)
    place.params.write_text(yaml.safe_dump(GIVEN, sort_keys=False))
    assert params.load(place.params).features == portfolio().features
    manifest = deploy(place)
    run(place, FIRST, None)
    folder = run(place, LAST, manifest)
    (folder / "60_diagnose.html").write_text("<h1>diagnose</h1>")
    (folder / ".hidden").write_text("no")
    notebook(folder / "60_diagnose.ipynb", summary={"rows": 60}, missing={"balance": 0.2}, timings={}, dependencies=[])
    notebook(folder / "40_score.ipynb", scores={"0001": {"f1": 0.8}})
    stages = dict.fromkeys(("diagnose", "assess", "score"), LAST)
    (place.executed / "latest.json").write_text(
        json.dumps({"run": LAST, "finished_at": "2026-01-02T00:01:00Z", **stages})
    )
    book(place, manifest)
    ranking(place)
    return home
