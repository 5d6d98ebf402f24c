from __future__ import annotations

import csv as python_csv
import datetime
import io
import itertools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import COLUMNS, HEADER, ROW, csv, portfolio

from attrition.params import Portfolio
from attrition.store import raw
from attrition.store import rules as sql
from attrition.store.check import SPACES, Checked, bad_rows, check, reasons
from attrition.store.engine import connect
from attrition.store.raw import FIELD
from attrition.store.rules import Texts


def examples(times: int) -> settings:
    return settings(
        max_examples=times,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.fixture(scope="module")
def db() -> Iterator[Any]:
    with connect() as connection:
        yield connection


def good(db: Any) -> list[tuple[Any, ...]]:
    return db.execute("SELECT * EXCLUDE (_line, _raw) FROM good ORDER BY _line").fetchall()


def only(portfolio_: Portfolio, db: Any, folder: Path, row: str) -> str | None:
    """Why one row is refused; None if it is not."""
    check(db, portfolio_, csv(folder, row))
    found = list(bad_rows(db))
    return found[0].reason if found else None


def test_a_row_is_typed(db: Any, tmp_path: Path) -> None:
    assert check(db, portfolio(), csv(tmp_path, " ann ,2026-01-31, Team,+03,-0.0,YES,1 ")).rows == 1
    (row,) = good(db)
    assert row == ("ann", datetime.date(2026, 1, 31), "Team", 3, 0.0, True, 1)
    assert math.copysign(1, row[4]) == 1, "two zeros would be two rows"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("client", "", "client: missing"),
        ("client", "  ", "client: missing"),
        ("day", "2026-02-30", "day: '2026-02-30' is not a date as YYYY-MM-DD"),
        ("day", "2026-01-31 00:00", "day: '2026-01-31 00:00' is not a date as YYYY-MM-DD"),
        ("day", "0000-01-01", "day: '0000-01-01' is not a date as YYYY-MM-DD"),
        ("day", "31.01.2026", "day: '31.01.2026' is not a date as YYYY-MM-DD"),
        ("plan", "team", "plan: 'team' is not one of Basic, Team"),
        ("seats", "3.7", "seats: '3.7' is not a whole number"),
        ("seats", "1e3", "seats: '1e3' is not a whole number"),
        ("seats", "1_000", "seats: '1_000' is not a whole number"),
        ("seats", "٣", "seats: '٣' is not a whole number"),
        ("seats", "9223372036854775808", "seats: '9223372036854775808' is beyond 64 bits"),
        ("seats", "-1", "seats: '-1' is below 0"),
        ("seats", "1001", "seats: '1001' is above 1000"),
        ("fee", "abc", "fee: 'abc' is not a number"),
        ("fee", "NaN", "fee: 'NaN' is not a number"),
        ("fee", "-Infinity", "fee: '-Infinity' is not a number"),
        ("fee", "0x1F", "fee: '0x1F' is not a number"),
        ("fee", "1e999", "fee: '1e999' is beyond a double"),
        ("active", "maybe", "active: 'maybe' is not one of 1, true, yes, 0, false, no"),
        ("left", "2", "left: '2' is neither '1' nor '0'"),
        ("fee", "", None),
        ("fee", ".5e-1", None),
        ("fee", "7.", None),
        ("left", "", None),
        ("seats", "007", None),
    ],
)
def test_each_fault_is_told_with_its_value(
    db: Any, tmp_path: Path, column: str, value: str, reason: str | None
) -> None:
    fields = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {column: value}
    assert only(portfolio(), db, tmp_path, ",".join(fields.values())) == reason


def test_reasons_are_grouped_without_the_value_and_rows_keep_theirs(db: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, ROW, "ann,2026-01-31,Team,x,y,yes,1", '"a\nb",2026-01-31,Team,z,1,yes,1', "", "ann,1")
    assert check(db, portfolio(), path) == Checked(4, ("every outcome is 1",))
    assert reasons(db) == {"seats: not a whole number": 2, "expected 7 fields, found 2": 1, "fee: not a number": 1}
    found = list(bad_rows(db))
    assert [row.line for row in found] == [3, 4, 7]
    assert found[0].reason == "seats: 'x' is not a whole number; fee: 'y' is not a number"
    assert found[1].raw[0] == "a\nb"
    assert found[2].raw == ["ann", "1"]


def test_an_outcome_is_mapped_and_may_be_demanded(db: Any, tmp_path: Path) -> None:
    target = {"column": "left", "positive": "it's so", "negative": "No", "unlabelled": "quarantine"}
    strict = portfolio(target=target)
    rows = [ROW[:-1] + outcome for outcome in ("it's so", "No", "")]
    check(db, strict, csv(tmp_path, *rows))
    assert [row[-1] for row in good(db)] == [1, 0]
    assert reasons(db) == {"left: missing": 1}


@pytest.mark.parametrize("value", ["'); DROP TABLE good; --", '"', "it's", "$1", "{x}", "%s", "\\'", "=1+1", "<b>"])
def test_hostile_texts_are_texts(db: Any, tmp_path: Path, value: str) -> None:
    hostile = portfolio(columns=COLUMNS | {value: {"type": "category", "values": [value, "other"]}})
    path = tmp_path / "drop.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        python_csv.writer(file).writerows([[*HEADER.split(","), value], [*ROW.split(","), value]])
    assert check(db, hostile, path).refused is None
    assert [row[-2] for row in good(db)] == [value]


@pytest.mark.parametrize(
    ("content", "refused", "rows"),
    [
        (b"", "an empty file", 0),
        (b"\xef\xbb\xbf", "an empty file", 0),
        (b"\n\n", "an empty file", 0),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary content, not text: byte 9 is zero", 0),
        (b'{"client": "ann"}\n', "JSON, and by its name a CSV: write an object a line, and name it .jsonl", 0),
        (b'[{"client": "ann"}]\n', "JSON, and by its name a CSV: write an object a line, and name it .jsonl", 0),
        (HEADER.encode() + b"\nJos\xe9,x\n", f"not UTF-8: byte {len(HEADER) + 5}; save it as UTF-8", 0),
        (HEADER.encode("utf-16"), "UTF-16, not UTF-8: save it as UTF-8", 0),
        (
            HEADER.replace(",", ";").encode() + b"\na;b\nc;d\n",
            "found ';' between the columns, not ',': set delimiter in the YAML",
            2,
        ),
        (b"client,day\nann,2026-01-31\n\nbob,x\n", "missing column: plan, seats, active", 2),
        (b"client," + HEADER.encode() + b"\n" + ROW.encode(), "column twice in the header: client", 1),
        (HEADER.encode() + b"\n" + b'ann,"', "a quote opened in the record of line 2 is never closed", 0),
        (
            HEADER.encode() + b"\n" + ROW.encode() + b"\n" + b"x" * (2**17 + 1),
            "a field of more than 131,072 signs in the record of line 3",
            0,
        ),
        (HEADER.encode() + b"\n" + b"," * 2**22, "a line of more than 4,194,304 signs", 0),
        (b"," * 1000, "more than 1,000 columns", 0),
    ],
)
def test_a_file_that_cannot_be_taken_says_why(db: Any, tmp_path: Path, content: bytes, refused: str, rows: int) -> None:
    path = tmp_path / "drop.csv"
    path.write_bytes(content)
    assert check(db, portfolio(), path) == Checked(rows, (), refused)
    assert good(db) == []
    assert list(bad_rows(db)) == []


def test_a_bad_byte_is_counted_across_pieces(db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attrition.store.raw.PIECE", 5)
    path = tmp_path / "drop.csv"
    path.write_bytes(b"abcd\xc3(")
    assert check(db, portfolio(), path).refused == "not UTF-8: byte 5; save it as UTF-8"


def test_what_is_no_regular_file_is_not_opened(db: Any, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(csv(tmp_path, ROW))
    found = {name: check(db, portfolio(), tmp_path / name).refused for name in ("folder.csv", "pipe.csv", "link.csv")}
    assert found == {
        "folder.csv": "a folder, not a file",
        "pipe.csv": "not a regular file",
        "link.csv": "not a regular file",
    }


def test_an_outcome_that_is_demanded_must_have_its_column(db: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, ROW.rpartition(",")[0], header=HEADER.rpartition(",")[0])
    strict = portfolio(target={"column": "left", "unlabelled": "quarantine"})
    assert check(db, strict, path) == Checked(1, (), "missing column: left")
    assert check(db, portfolio(), path) == Checked(1, ("no column left: outcomes not known yet",))
    assert good(db)[0][-1] is None


def test_columns_may_be_reordered_added_and_left_out(db: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, "1,nobody asked,yes,3,Team,2026-01-31,ann", header="left, extra,active,seats,plan,day,client")
    assert check(db, portfolio(), path).notes == (
        "ignored column: extra",
        "no column fee: taken as missing",
        "every outcome is 1",
    )
    assert good(db) == [("ann", datetime.date(2026, 1, 31), "Team", 3, None, True, 1)]


def test_a_header_alone_is_a_file_of_no_rows(db: Any, tmp_path: Path) -> None:
    assert check(db, portfolio(), csv(tmp_path)) == Checked(0, ("no rows",))


def test_bom_line_ends_and_delimiter(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "drop.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([HEADER, ROW, ROW]).replace(",", ";").encode())
    assert check(db, portfolio(delimiter=";"), path).rows == 2
    assert len(good(db)) == 2


def test_text_after_a_closing_quote_costs_that_record_only(db: Any, tmp_path: Path) -> None:
    check(db, portfolio(), csv(tmp_path, ROW, '"an"n,2026-01-31,Team,3,9.5,yes,1', ROW))
    assert len(good(db)) == 2
    assert [(row.line, row.reason, row.raw) for row in bad_rows(db)] == [
        (3, "text after a closing quote", ['"an"n,2026-01-31,Team,3,9.5,yes,1'])
    ]


def test_the_limit_of_the_whole_process_is_left_as_it_is(db: Any, tmp_path: Path) -> None:
    before = python_csv.field_size_limit()
    check(db, portfolio(), csv(tmp_path, ROW))
    assert python_csv.field_size_limit() == before == FIELD


def test_a_record_that_goes_on_over_the_whole_file_is_not_held(db: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, ROW, *['x,"'] + ['",x,"'] * 1_000_000)
    assert check(db, portfolio(), path).refused == "a record of more than 4,194,304 signs, on lines 3 to 699054"


def test_records_of_many_signs_are_held_a_few_at_a_time(
    db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    add = raw._add

    def noted(connection: Any, names: Any, batch: Any) -> None:
        held.append(len(batch))
        add(connection, names, batch)

    monkeypatch.setattr("attrition.store.raw._add", noted)
    monkeypatch.setattr("attrition.store.raw.SIGNS", 100)
    check(db, portfolio(), csv(tmp_path, *[ROW] * 8, ROW.replace("ann", "n" * 200), ROW))
    assert held == [5, 4, 1]
    assert len(good(db)) == 10


def test_more_records_than_a_batch(db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attrition.store.raw.BATCH", 3)
    check(db, portfolio(), csv(tmp_path, *(ROW.replace("ann", f"c{n}") for n in range(10)), "x"))
    assert [row[0] for row in good(db)] == [f"c{n}" for n in range(10)]
    assert [row.line for row in bad_rows(db)] == [12]


WHOLE = "\n".join([HEADER, ROW, 'bob,2026-01-31,"Ba""sic",x,,no,0', "", '"c,d",2026-02-28,Basic,9,1e3,0,']).encode()


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good file with pieces cut, repeated and overwritten."""
    content = WHOLE
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 20)))
        new = draw(st.one_of(st.binary(max_size=6), st.text('",;\r\n\t 1-é', max_size=6).map(str.encode)))
        content = content[:start] + new + content[end:]
    return content


@examples(150)
@given(content=st.one_of(spoilt(), st.binary(max_size=60)))
def test_no_bytes_raise_and_every_record_is_accounted_for(db: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "drop.csv"
    path.write_bytes(content)
    checked = check(db, portfolio(), path)
    found, bad = good(db), list(bad_rows(db))
    assert len(found) + len(bad) == (0 if checked.refused else checked.rows)
    assert all(row.reason for row in bad)
    assert sum(reasons(db).values()) >= len(bad)


def expected(fields: list[str]) -> bool:
    """Whether a row of texts is good, said a second time in Python."""
    client, day, plan, seats, fee, active, left = (field.strip(SPACES) for field in fields)
    try:
        real = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day) and datetime.date.fromisoformat(day)
        number = not fee or (re.fullmatch("[-+.0-9eE]+", fee) and math.isfinite(float(fee)))
        whole = re.fullmatch("[+-]?[0-9]+", seats) and 0 <= int(seats) <= 1000
    except ValueError:
        return False
    known = active.lower() in ("1", "0", "true", "false", "yes", "no") and left in ("", "0", "1")
    return bool(client and real and plan in ("Basic", "Team") and whole and number and known)


digits = st.text("0123456789.eE+-", max_size=5)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
rows = st.tuples(
    st.one_of(st.just("ann"), texts),
    st.one_of(st.dates().map(str), st.just("2023-02-29"), texts),
    st.sampled_from(["Basic", "Team", "team"]),
    st.one_of(st.integers(0, 1000).map(str), digits),
    st.one_of(st.floats().map(repr), digits, texts),
    st.sampled_from(["1", "no", "TRUE", "y"]),
    st.sampled_from(["1", "0", "", "01"]),
).map(list)


@examples(60)
@given(table=st.lists(rows, min_size=1, max_size=12))
def test_good_rows_and_lines_are_those_of_a_second_opinion(db: Any, tmp_path: Path, table: list[list[str]]) -> None:
    text = io.StringIO()
    writer = python_csv.writer(text, lineterminator="\n", quoting=python_csv.QUOTE_ALL)
    writer.writerow(HEADER.split(","))
    lines, fit = [], []
    for fields in table:
        lines.append(len(re.findall("\r\n|\r|\n", text.getvalue())) + 1)
        fit.append(expected(fields))
        writer.writerow(fields)
    path = tmp_path / "drop.csv"
    path.write_bytes(text.getvalue().encode())
    assert check(db, portfolio(), path).rows == len(table)
    assert [row.line for row in bad_rows(db)] == [line for line, is_fit in zip(lines, fit, strict=True) if not is_fit]
    assert len(good(db)) == sum(fit)


def spelt() -> Iterator[str]:
    """Texts that a cast may take for a number or a date and the rules may not, or the other way round."""
    for length in range(1, 6):
        yield from map("".join, itertools.product("01.+-eE_", repeat=length))
    for sign in map(chr, range(1, 0x300)):
        yield from (f"{sign}1", f"1{sign}", f"1{sign}1", f"1.5{sign}2")
    for year in ("0000", "0001", "1969", "2024", "9999", "10000", "20240", "-001", "+024", "20_4"):
        for month, day in itertools.product(("00", "01", "1", "02", "13", "1_"), ("00", "1", "29", "30", "31", "32")):
            yield from (f"{year}{mark}{month}{mark}{day}{end}" for mark in "-/. " for end in ("", " ", "T", " (BC)"))
    yield from ("inf", "-inf", "nan", "Infinity", "1e308", "1e309", "-1e-400", "9" * 400, "epoch", "infinity", "today")
    yield from (str(2**63 - 1), str(2**63), str(-(2**63)), str(-(2**63) - 1), "0x1f", "1e3", "3.7", "1" + "0" * 400)


@pytest.mark.parametrize(("decimal", "thousands"), [(".", None), (",", "."), (".", ",")])
@pytest.mark.parametrize("kind", ["integer", "number", "date"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_value_is_bad_just_where_it_has_a_fault(plain: bool, kind: str, decimal: str, thousands: str | None) -> None:
    more = {"min": 0, "leading_zeros": "refuse"} if kind == "integer" else {}
    columns = {"value": {"type": kind, "nullable": True, **more}, "seats": {"type": "integer"}}
    rules = portfolio(columns=columns, decimal=decimal, thousands=thousands, id=None, as_of=None)
    texts = {text.strip(SPACES) for text in spelt() if not (plain and set(text) & set("_+"))} - {""}
    with connect() as db:  # its own: DuckDB registers nothing where a test before has left rows unread
        db.register("spelt", pd.DataFrame({"text": sorted(texts)}))
        typed = f"SELECT text, {sql.typed(rules, 'value', 'text')} AS value FROM spelt"
        good, fault = sql.good(rules, "value", "text", Texts(plain=plain)), sql.fault(rules, "value", "text")
        found = db.execute(f"SELECT text FROM ({typed}) WHERE {good} IS DISTINCT FROM ({fault} IS NULL)").fetchall()
        assert found == []
        assert len(db.execute(f"SELECT text FROM ({typed}) WHERE {good} LIMIT 5").fetchall()) == 5
