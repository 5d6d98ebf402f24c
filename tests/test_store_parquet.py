from __future__ import annotations

import datetime
import re
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
    assert db.execute("SELECT * EXCLUDE (_line, _raw) FROM good").fetchall() == [
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
    flips = [(place, 0xFF) for place in range(0, len(whole), 37)]
    # A column's footer: 50 rows (0x64), two sizes. The second one negative makes DuckDB give up its whole database.
    flips += [(found.end(), 0x01) for found in re.finditer(rb"\x16\x64\x16.\x16", whole, re.DOTALL)]
    for place, bits in flips:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
        checked = check(db, portfolio(), path)
        kept = db.execute("SELECT count(*) FROM good").fetchone()[0] + len(list(bad_rows(db)))
        assert kept == (0 if checked.refused else checked.rows)
    path.write_bytes(whole)
    assert check(db, portfolio(), path).rows == 50, "damage to one file costs no other"


def test_a_folder_is_no_column(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "fee=2" / "drop.parquet"
    path.parent.mkdir()
    names = [name for name in HEADER.split(",") if name != "fee"]
    values = [value for value in ROW.split(",") if value != "9.5"]
    texts = ", ".join(f"'{value}' AS \"{name}\"" for value, name in zip(values, names, strict=True))
    db.execute(f"COPY (SELECT {texts}) TO {literal(path)} (FORMAT parquet)")
    assert "no column fee: taken as missing" in check(db, portfolio(), path).notes


def test_a_huge_field_costs_its_row_only(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.parquet"
    values = ", ".join(
        f"'{value}' AS \"{name}\"" for value, name in zip(ROW.split(",")[1:], HEADER.split(",")[1:], strict=True)
    )
    db.execute(
        f"COPY (SELECT repeat('x', n) AS client, {values} FROM (VALUES (3), (10000000), (131072)) AS t(n)) "
        f"TO {literal(path)} (FORMAT parquet)"
    )
    assert check(db, portfolio(), path).rows == 3
    assert [(row.line, row.reason) for row in bad_rows(db)] == [
        (2, f"client: {'x' * 80!r} is longer than 524,288 bytes")
    ]
