"""CSV, CSV.gz, JSON lines and Parquet give the same rows, lines and reasons; what is damaged is set aside whole."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_kit import COLUMNS, HEADER, ROW, Shop, csv, portfolio

from attrition.store.check import Checked, bad_rows, check
from attrition.store.engine import connect, literal

NAMES = HEADER.split(",")
RECORD = {"client": "ann", "day": "2026-01-31", "plan": "Team", "seats": 3, "fee": 9.5, "active": True, "left": 1}


@pytest.fixture(scope="module")
def db() -> Iterator[Any]:
    with connect() as connection:
        yield connection


def good(db: Any) -> list[Any]:
    return db.execute("SELECT * EXCLUDE (_raw) FROM good ORDER BY _line").fetchall()


def bad(db: Any) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in bad_rows(db)]


def jsonl(folder: Path, *lines: Any, name: str = "drop.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def packed(path: Path) -> Path:
    target = path.with_name(f"{path.name}.gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def test_a_table_is_the_same_in_every_format(db: Any, tmp_path: Path) -> None:
    seats = ["3", "x", "-1", None, "4"]
    table = [RECORD | {"seats": each} for each in seats]
    plain = csv(tmp_path, *(",".join("" if v is None else str(v) for v in row.values()) for row in table))
    lines = jsonl(tmp_path, *table)
    parquet = tmp_path / "drop.parquet"
    values = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in [f'"{name}"' for name in NAMES])
    db.execute(
        f"CREATE OR REPLACE TABLE t AS SELECT {values} FROM read_json({literal(lines)}, format = 'newline_delimited')"
    )
    db.execute(f"COPY t TO {literal(parquet)} (FORMAT parquet)")
    found = []
    for path, first in [(plain, 2), (packed(plain), 2), (lines, 1), (packed(lines), 1), (parquet, 1)]:
        assert check(db, portfolio(), path).refused is None
        found.append(([(row[0] - first, *row[1:]) for row in good(db)], [(line - first, why) for line, why in bad(db)]))
    assert [line for line, *_ in found[0][0]] == [0, 4]
    assert found[0][1] == [
        (1, "seats: 'x' is not a whole number"),
        (2, "seats: '-1' is below 0"),
        (3, "seats: missing"),
    ]
    assert all(each == found[0] for each in found)


def test_each_fault_of_a_json_line_costs_that_line_only(db: Any, tmp_path: Path) -> None:
    known = {name: RECORD[name] for name in NAMES if name != "fee"}
    path = jsonl(
        tmp_path,
        RECORD,
        "",
        '{"client": ',
        "[1, 2]",
        '{"client": "a", "client": "b"}',
        RECORD | {"fee": [1]},
        RECORD | {"tags": [1, {"a": 2}]},
        known,
        json.dumps(RECORD).replace("ann", "\\ud800"),
        json.dumps(RECORD).replace("ann", "\\u0000"),
        json.dumps(RECORD).replace("9.5", "NaN"),
        json.dumps(RECORD).replace("9.5", "1e999"),
        json.dumps(RECORD).replace("9.5", "9" * 5000),
        "[" * 100_000,
        json.dumps(RECORD).replace("ann", "x" * (2**17 + 1)),
        json.dumps(RECORD).replace("3", "3.0"),
    )
    checked = check(db, portfolio(), path)
    assert checked == Checked(15, ("ignored column: tags", "every outcome is 1"))
    assert [row[0] for row in good(db)] == [1, 7, 8]
    assert [(line, why[:60]) for line, why in bad(db)] == [
        (3, "not JSON"),
        (4, "not a JSON object"),
        (5, "a key stands twice"),
        (6, "a list or an object under 'fee'"),
        (9, "half a surrogate pair, which is no sign"),
        (10, r"client: '\x00' is a text with a zero byte in it"),
        (11, "fee: 'NaN' is not a number"),
        (12, "fee: '1e999' is beyond a double"),
        (13, "fee: '" + "9" * 54),
        (14, "not JSON that can be read: too deep"),
        (15, "more than 131,072 signs under 'client'"),
        (16, "day: '2026-01-3.01' is not a date as YYYY-MM-DD; seats: '3.0'"[:60]),
    ]
    assert [row.raw for row in bad_rows(db)][:2] == [['{"client": '], ["[1, 2]"]]


@pytest.mark.parametrize(
    ("content", "refused", "rows"),
    [
        (b"\n \n", "an empty file", 0),
        (b"x\ny\n", "missing column: client, day, plan, seats, active", 2),
        (b'{"client": "a"}', "missing column: day, plan, seats, active", 1),
        (b'{"a": "\xff"}', "not UTF-8: byte 8; save it as UTF-8", 0),
        (json.dumps({str(n): n for n in range(10_000)}).encode(), "more than 1,000 columns", 0),
    ],
)
def test_json_lines_of_which_nothing_can_be_taken(
    db: Any, tmp_path: Path, content: bytes, refused: str, rows: int
) -> None:
    path = tmp_path / "drop.ndjson"
    path.write_bytes(content)
    assert check(db, portfolio(), path) == Checked(rows, (), refused)


def test_numbers_of_json_have_a_point_wherever_people_write_commas(db: Any, tmp_path: Path) -> None:
    check(db, portfolio(decimal=",", thousands="."), jsonl(tmp_path, RECORD | {"fee": 1.234}))
    assert good(db)[0][5] == 1.234


def test_objects_without_keys_are_no_rows_of_a_table_that_needs_none(tmp_path: Path) -> None:
    (tmp_path / "drop.jsonl").write_bytes(b"{}\nno object\n{}\n")
    free = portfolio(
        columns={"seats": {"type": "integer", "nullable": True}},
        id=None,
        as_of=None,
        target={"column": "left", "unlabelled": "accept"},
    )
    (drop,) = Shop(tmp_path, free).take(tmp_path / "drop.jsonl").drops
    assert (drop.to, drop.reasons) == ("quarantine", {"no line has a key": 3})


def test_the_rows_before_the_end_of_a_gzip_that_is_cut_short_are_not_taken(db: Any, tmp_path: Path) -> None:
    rows = [ROW.replace("ann", f"c{number}") for number in range(20_000)]
    random.Random(1).shuffle(rows)
    path = packed(csv(tmp_path, *rows))
    whole = path.read_bytes()
    assert check(db, portfolio(), path).rows == 20_000
    for size in (5, 20, len(whole) // 2, len(whole) - 4, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert check(db, portfolio(), path) == Checked(0, (), "a gzip that is cut short: nothing of it was taken")
    for spoilt in (whole[:-6] + b"\0" + whole[-5:], whole + b"junk", b"client,day\n"):
        path.write_bytes(spoilt)
        assert check(db, portfolio(), path) == Checked(0, (), "not gzip, or damaged: nothing of it was taken")
    assert (good(db), bad(db)) == ([], [])


def test_a_gzip_bomb_is_not_unpacked(db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attrition.store.raw.UNPACKED", 2**20)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "\n").encode() + (ROW + "\n").encode() * 500_000))
    refused = check(db, portfolio(), path).refused
    assert refused == f"a gzip that unpacks to more than {max(2**20, 250 * path.stat().st_size):,} bytes"


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (gzip.compress(b"a,b\n", mtime=0), "binary content, not text: packed by gzip: name it .csv.gz"),
        (b"PK\x03\x04rest", "binary content, not text: a ZIP archive or a workbook: save it as CSV"),
    ],
)
def test_a_csv_that_is_something_else_says_what_to_do(db: Any, tmp_path: Path, content: bytes, refused: str) -> None:
    path = tmp_path / "drop.csv"
    path.write_bytes(content)
    assert check(db, portfolio(), path).refused == refused


def test_outcomes_alone_may_come_in_any_format(db: Any, tmp_path: Path) -> None:
    path = packed(jsonl(tmp_path, {"client": "ann", "day": "2026-01-31", "left": 1}))
    assert check(db, portfolio(columns=COLUMNS), path).outcomes
