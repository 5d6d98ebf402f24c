from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_kit import HEADER, ROW, portfolio

from attrition.store.check import Checked, bad_rows, check
from attrition.store.engine import connect, literal


@pytest.fixture(scope="module")
def db() -> Iterator[Any]:
    with connect() as connection:
        yield connection


def test_parquet_is_checked_by_the_same_rules(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "it's [a] *.parquet"
    values = (
        "'ann' AS client, DATE '2026-01-31' AS day, 'Team' AS plan, n AS seats, 9.5 AS fee, true AS active, 1 AS left"
    )
    db.execute(f"COPY (SELECT {values} FROM (VALUES (3), (-3), (NULL)) AS t(n)) TO {literal(path)} (FORMAT parquet)")
    assert check(db, portfolio(), path).rows == 3
    assert db.execute("SELECT * EXCLUDE (_line) FROM good").fetchall() == [
        ("ann", datetime.date(2026, 1, 31), "Team", 3, 9.5, True, 1)
    ]
    assert [(row.line, row.reason) for row in bad_rows(db)] == [(2, "seats: '-3' is below 0"), (3, "seats: missing")]
    path.write_bytes(path.read_bytes()[:-20])
    assert check(db, portfolio(), path) == Checked(0, (), "not Parquet, or damaged")


def test_parquet_with_any_byte_spoilt_raises_nothing(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.parquet"
    names = HEADER.replace("left", '"left"').split(",")
    values = ", ".join(f"'{value}' AS {name}" for value, name in zip(ROW.split(","), names, strict=True))
    db.execute(f"COPY (SELECT {values} FROM range(50)) TO {literal(path)} (FORMAT parquet)")
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        checked = check(db, portfolio(), path)
        kept = db.execute("SELECT count(*) FROM good").fetchone()[0] + len(list(bad_rows(db)))
        assert kept == (0 if checked.refused else checked.rows)
