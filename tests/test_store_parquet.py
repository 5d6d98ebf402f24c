from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from store_kit import HEADER, ROW, Shop, csv, portfolio

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


def test_what_pandas_makes_of_columns_is_read_as_what_it_was(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.parquet"
    values = (
        "CAST(7 AS DOUBLE) AS client, TIMESTAMP '2026-01-31' AS day, 'Team' AS plan, CAST(n AS DOUBLE) AS seats, "
        "CAST(f AS FLOAT) AS fee, CAST(1 AS DOUBLE) AS active, CAST(0 AS FLOAT) AS left"
    )
    rows = "('3', 'nan'), ('3.5', '1'), ('1e300', '.5'), ('nan', '2'), ('inf', '2'), ('4', '-0')"
    db.execute(f"COPY (SELECT {values} FROM (VALUES {rows}) AS t(n, f)) TO {literal(path)} (FORMAT parquet)")
    assert check(db, portfolio(), path).rows == 6
    day = datetime.date(2026, 1, 31)
    good = db.execute("SELECT * EXCLUDE (_line, _raw) FROM good").fetchall()
    assert good == [("7", day, "Team", 3, None, True, 0), ("7", day, "Team", 4, 0.0, True, 0)]
    assert [(row.line, row.reason) for row in bad_rows(db)] == [
        (2, "seats: '3.5' is not a whole number"),
        (3, "seats: '1e+300' is not a whole number"),
        (4, "seats: missing"),
        (5, "seats: 'inf' is not a whole number"),
    ]


def test_decimals_that_are_whole_and_midnights_with_a_time_zone(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.parquet"
    values = (
        "'ann' AS client, CAST(moment AS TIMESTAMPTZ) AS day, 'Team' AS plan, CAST(n AS DECIMAL(18, 2)) AS seats, "
        "CAST(n AS DECIMAL(18, 2)) AS fee, true AS active, 1 AS left"
    )
    rows = "('2026-01-31 00:00:00+00', 3), ('2026-01-31 12:00:00+00', 3), ('2026-01-31 00:00:00+00', 3.5)"
    db.execute(f"COPY (SELECT {values} FROM (VALUES {rows}) AS t(moment, n)) TO {literal(path)} (FORMAT parquet)")
    check(db, portfolio(), path)
    found = db.execute("SELECT day, seats, fee FROM good").fetchall()
    assert found == [(datetime.date(2026, 1, 31), 3, 3.0)]
    assert [row.reason for row in bad_rows(db)] == [
        "day: '2026-01-31 12:00:00+00' is not a date as YYYY-MM-DD",
        "seats: '3.50' is not a whole number",
    ]


def test_a_time_of_day_is_no_date(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.parquet"
    values = ROW.split(",")
    given = zip(values, HEADER.split(","), strict=True)
    texts = ", ".join(f"'{value}' AS \"{name}\"" for value, name in given if name != "day")
    db.execute(f"COPY (SELECT {texts}, TIMESTAMP '2026-01-31 12:00' AS day) TO {literal(path)} (FORMAT parquet)")
    check(db, portfolio(), path)
    assert [row.reason for row in bad_rows(db)] == ["day: '2026-01-31 12:00:00' is not a date as YYYY-MM-DD"]


def test_what_the_store_gives_it_takes_back(tmp_path: Path) -> None:
    shop, path = Shop(tmp_path, portfolio()), tmp_path / "back.parquet"
    shop.take(csv(tmp_path, ROW, "bob,2026-01-31,Basic,4,,no,", "cat,2026-01-31,Basic,5,0.1,no,0"))
    with connect() as connection:
        connection.register("frame", shop.clients.frame())
        connection.execute(f"COPY (SELECT * EXCLUDE (_row, _version) FROM frame) TO {literal(path)} (FORMAT parquet)")
    assert shop.take(path).rows == {"in": 3, "ingested": 0, "duplicates": 3, "quarantined": 0}


def test_a_column_with_the_name_of_the_row_number_is_told(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.parquet"
    db.execute(f"COPY (SELECT 1 AS file_row_number) TO {literal(path)} (FORMAT parquet)")
    assert check(db, portfolio(), path).refused == "a column called file_row_number: give it another name"


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


def test_a_zero_byte_in_a_text_is_told(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.parquet"
    values = "chr(0) AS client, '2026-01-31' AS day, 'Team' AS plan, 3 AS seats, 9.5 AS fee, true AS active, 1 AS left"
    db.execute(f"COPY (SELECT {values}) TO {literal(path)} (FORMAT parquet)")
    _, staging = Shop(tmp_path, portfolio()).stage(path)
    (line,) = (staging / "quarantine" / "drop.parquet.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == r"client: '\x00' is a text with a zero byte in it"


def test_columns_alike_but_for_case_are_two_and_the_same_twice_is_refused(db: Any, tmp_path: Path) -> None:
    require(find_spec("pyarrow") is not None, "DuckDB cannot write such a file: make .venv/bench")
    import pyarrow.parquet

    columns = {"client": ["ann"], "day": ["2026-01-31"], "plan": ["Team"], "seats": [3], "active": [True], "left": [1]}
    values, folded = [["gross"], [{"a": [1, 2]}], *columns.values(), [9.5]], ["Fee", "nested", *columns, "fee"]
    path = tmp_path / "drop.parquet"
    for names in (folded, [name.lower() for name in folded]):
        table = pyarrow.Table.from_arrays([pyarrow.array(each) for each in values], names=names)
        pyarrow.parquet.write_table(table, path)
        if names == folded:
            assert check(db, portfolio(), path) == Checked(1, ("ignored column: Fee, nested", "every outcome is 1"))
            assert db.execute("SELECT fee FROM good").fetchall() == [(9.5,)]
        else:
            assert check(db, portfolio(), path).refused == "column twice in the header: fee"


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
