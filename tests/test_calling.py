"""Whom to call first: the lists of a ranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import homes
import pandas as pd
import pytest

from attrition import calling

COSTS = {"call": 30, "client": 400, "kept": 0.25, "currency": "EUR"}


def ranked(folder: Path, owners: list[str | None], **columns: Any) -> Path:
    """A ranking with a client an owner, the riskiest first."""
    size = len(owners)
    frame = pd.DataFrame(
        {
            "rank": range(1, size + 1),
            "id": [f"c-{n}" for n in range(size)],
            "as_of": pd.Timestamp("2026-03-20"),
            "probability": [1 - n / size for n in range(size)],
            "owner": owners,
            **{"hold_out": False, "gone": False, **columns},
        }
    )
    frame["band"] = ["high" if p >= 0.6 else "medium" if p >= 0.3 else "low" for p in frame["probability"]]
    path = folder / "ranking.parquet"
    duckdb.connect().sql(f"COPY (SELECT *, ['usage 3'] AS reasons FROM frame) TO '{path}' (FORMAT parquet)")
    return path


def made(path: Path, **changes: Any) -> dict[str, Any]:
    columns = {**homes.COLUMNS, "owner": {"type": "text", "label": "account manager"}}
    portfolio = homes.portfolio(columns=columns, show=["owner"], **changes)
    return calling.lists(portfolio, path, run="r", model="0001", data_version=3)


def listed(found: dict[str, Any], kind: str, name: str = "") -> dict[str, Any]:
    return next(each for each in found["lists"] if (each["kind"], each["name"]) == (kind, name))


def test_a_list_is_of_everybody_of_each_band_and_of_each_owner(tmp_path: Path) -> None:
    found = made(ranked(tmp_path, ["Ann", "Bo"] * 10), costs=COSTS)
    assert listed(found, "everybody")["ranks"] == [*range(1, 21)]
    assert listed(found, "band", "high")["ranks"] == [*range(1, 10)]
    assert listed(found, "value", "Bo")["ranks"] == [*range(2, 21, 2)]
    assert found["clients"]["1"] == {
        **{"id": "c-0", "as_of": "2026-03-20", "probability": 1.0, "band": "high", "gain": 70.0, "change": None},
        **{"reasons": ["usage 3"], "shown": {"owner": "Ann"}},
    }
    assert (found["newest"], found["currency"]) == ("2026-03-20", "EUR")


def test_who_has_left_or_is_held_out_is_counted_and_not_listed(tmp_path: Path) -> None:
    gone = [n == 0 for n in range(20)]
    found = made(ranked(tmp_path, ["Ann", "Bo"] * 10, gone=gone, hold_out=[n == 1 for n in range(20)]))
    everybody = listed(found, "everybody")
    assert (everybody["clients"], everybody["callable"]) == (20, 18)
    assert everybody["ranks"][0] == 3
    assert found["clients"]["3"]["gain"] is None, "without costs nobody says what a call is worth"


def test_what_is_written_is_bounded_whatever_the_number_of_clients(tmp_path: Path) -> None:
    found = made(ranked(tmp_path, [f"owner {n % 200}" for n in range(30_000)]))
    by_owner = [each for each in found["lists"] if each["kind"] == "value"]
    assert len(by_owner) == calling.MOST_VALUES
    assert sum(len(each["ranks"]) for each in by_owner) <= calling.MOST_BY_VALUE
    assert len(listed(found, "everybody")["ranks"]) == len(listed(found, "band", "medium")["ranks"]) == calling.MOST
    assert len(found["clients"]) <= 3 * calling.MOST + 100 + calling.MOST_BY_VALUE


@pytest.mark.parametrize("owners", [[f"name {n}" for n in range(20)], [None] * 20, ["Ann"] * 20])
def test_a_column_that_does_not_part_the_clients_makes_no_lists(tmp_path: Path, owners: list[str | None]) -> None:
    assert {each["kind"] for each in made(ranked(tmp_path, owners))["lists"]} == {"everybody", "band"}


def test_a_ranking_of_nobody_makes_empty_lists(tmp_path: Path) -> None:
    path = ranked(tmp_path, ["Ann"])
    duckdb.connect().sql(
        f"COPY (SELECT * FROM read_parquet('{path}') WHERE false) TO '{tmp_path}/none.parquet' (FORMAT parquet)"
    )
    found = made(tmp_path / "none.parquet")
    assert listed(found, "everybody") == {
        **{"kind": "everybody", "column": "", "name": "", "clients": 0, "callable": 0, "ranks": []}
    }
    assert found["newest"] is None
