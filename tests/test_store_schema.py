"""What a portfolio's YAML says of empty fields, zeros, decimal signs, headers and equal rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from store_kit import COLUMNS, HEADER, ROW, Shop, csv, portfolio

from attrition.store.check import bad_rows, check
from attrition.store.engine import connect

BARE: dict[str, Any] = {"plan": COLUMNS["plan"], "seats": COLUMNS["seats"]}


@pytest.fixture(scope="module")
def db() -> Iterator[Any]:
    with connect() as connection:
        yield connection


def changed(name: str, **keys: Any) -> dict[str, Any]:
    return COLUMNS | {name: COLUMNS[name] | keys}


def read(db: Any, given: Any, path: Path, column: str) -> list[Any]:
    """The values of a column, and the reasons of rows that have none."""
    checked = check(db, given, path)
    assert checked.refused is None
    good = db.execute(f'SELECT _line, "{column}" FROM good').fetchall()
    return [value for _, value in sorted([*good, *((row.line, row.reason) for row in bad_rows(db))])]


@pytest.mark.parametrize(
    ("empty", "values"), [("missing", [None, None, "x"]), ("text", ["", "", "x"])], ids=["missing", "text"]
)
def test_an_empty_text_is_what_the_yaml_says(db: Any, tmp_path: Path, empty: str, values: list[Any]) -> None:
    given = portfolio(columns=COLUMNS | {"note": {"type": "text", "nullable": True, "empty": empty}})
    path = csv(tmp_path, f'{ROW},""', f"{ROW}, ", f"{ROW},x", header=f"{HEADER},note")
    assert read(db, given, path, "note") == values


def test_an_empty_category_must_be_one_of_its_values(db: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, ROW.replace("Team", ""))
    given = portfolio(columns=changed("plan", empty="text"))
    assert read(db, given, path, "plan") == ["plan: '' is not one of Basic, Team"]
    given = portfolio(columns=changed("plan", empty="text", values=["", "Team"]))
    assert read(db, given, path, "plan") == [""]


def test_empty_and_missing_are_two_rows(tmp_path: Path) -> None:
    columns = COLUMNS | {"note": {"type": "text", "nullable": True, "empty": "text"}}
    shop = Shop(tmp_path, portfolio(columns=columns))
    done = shop.take(csv(tmp_path, f"{ROW},", header=f"{HEADER},note"), csv(tmp_path, ROW, name="b.csv"))
    assert done.rows["ingested"] == 2


def test_leading_zeros_are_what_the_yaml_says(db: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, *(ROW.replace(",3,", f",{seats},") for seats in ("007", "0", "-00", "10")))
    assert read(db, portfolio(), path, "seats") == [7, 0, 0, 10]
    refusing = portfolio(columns=changed("seats", leading_zeros="refuse"))
    fault = "seats: '{}' is written with leading zeros"
    assert read(db, refusing, path, "seats") == [fault.format("007"), 0, fault.format("-00"), 10]
    kept = portfolio(columns=COLUMNS | {"seats": {"type": "text"}})
    assert read(db, kept, path, "seats") == ["007", "0", "-00", "10"]


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "value"),
    [
        (",", None, "1234,5", 1234.5),
        (",", None, ",5e1", 5.0),
        (",", None, "1.234", "fee: '1.234' is not a number"),
        (",", ".", "-1.234.567,25", -1234567.25),
        (",", ".", "1.23,4", "fee: '1.23,4' is not a number"),
        (",", ".", "1234567", 1234567.0),
        (",", " ", "1\u00a0234,5", 1234.5),
        (",", " ", "1\u202f234", 1234.0),
        (".", "'", "1’234.5", 1234.5),
        (".", ",", "1,234.5", 1234.5),
        (".", ",", "1,2345", "fee: '1,2345' is not a number"),
        (".", None, "1,5", "fee: '1,5' is not a number"),
    ],
)
def test_a_number_as_people_write_it(
    db: Any, tmp_path: Path, decimal: str, thousands: str | None, text: str, value: Any
) -> None:
    path = csv(tmp_path, ROW.replace(",", ";").replace("9.5", text), header=HEADER.replace(",", ";"))
    given = portfolio(delimiter=";", decimal=decimal, thousands=thousands)
    assert read(db, given, path, "fee") == [value]


def test_bounds_and_integers_know_groups(db: Any, tmp_path: Path) -> None:
    header, row = HEADER.replace(",", ";"), ROW.replace(",", ";").replace("9.5", "9,5")
    path = csv(tmp_path, *(row.replace(";3;", f";{seats};") for seats in ("1.000", "1.001", "1.5")), header=header)
    given = portfolio(delimiter=";", decimal=",", thousands=".")
    assert read(db, given, path, "seats") == [
        1000,
        "seats: '1.001' is above 1000",
        "seats: '1.5' is not a whole number",
    ]


@pytest.mark.parametrize(
    ("header", "names", "refused", "noted"),
    [
        ({}, HEADER.replace("client", "Client"), "missing column: client; found 'Client': with header: {case: ig", ""),
        ({"case": "ignore"}, HEADER.upper(), None, ""),
        ({"case": "ignore"}, f"{HEADER},CLIENT", "column twice in the header: client", ""),
        ({"case": "ignore"}, f"{HEADER},Colour", None, "ignored column: Colour"),
        ({"extra": "refuse"}, f"{HEADER},colour", "unknown column: colour", ""),
        ({}, f"{HEADER},colour,", None, "ignored column: colour, (no name)"),
        ({}, HEADER.replace(",fee", ""), None, "no column fee: taken as missing"),
        ({"missing": "refuse"}, HEADER.replace(",fee", ""), "missing column: fee", ""),
        ({"missing": "refuse"}, HEADER.replace(",left", ""), "missing column: left", ""),
        ({"order": "refuse"}, HEADER, None, ""),
        ({"order": "refuse"}, "left,client,day,plan,extra,seats,fee,active", None, "ignored column: extra"),
        ({"order": "refuse"}, "day,client,plan,seats,fee,active,left", "columns in another order than client, day", ""),
        ({}, "day,client,plan,seats,fee,active,left", None, ""),
    ],
)
def test_a_header_that_differs_is_handled_as_the_yaml_says(
    db: Any, tmp_path: Path, header: dict[str, str], names: str, refused: str | None, noted: str
) -> None:
    record = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    row = ",".join(record.get(name.lower(), "x") for name in names.split(","))
    checked = check(db, portfolio(header=header), csv(tmp_path, row, header=names))
    assert checked.rows == 1
    assert (checked.refused or "").startswith(refused or "")
    assert (checked.refused is None) == (refused is None)
    assert noted == "" or noted in checked.notes
    good = db.execute("SELECT client, seats FROM good").fetchall()
    assert good == ([] if refused else [("ann", 3)])


def test_a_changed_row_of_a_client_and_day_is_a_new_observation(tmp_path: Path) -> None:
    shop = Shop(tmp_path, portfolio())
    shop.take(csv(tmp_path, ROW))
    done = shop.take(csv(tmp_path, ROW.replace(",3,", ",4,"), name="next.csv"))
    assert done.rows == {"in": 1, "ingested": 1, "duplicates": 0, "quarantined": 0}
    assert shop.clients.frame()["seats"].tolist() == [3, 4], "history stays"
    assert shop.clients.current()["seats"].tolist() == [4], "the newest is current"
    again = shop.take(csv(tmp_path, ROW, name="again.csv"))
    assert again.rows["duplicates"] == 1
    assert shop.clients.current()["seats"].tolist() == [4], "the old row again changes nothing"


def keeping() -> Any:
    return portfolio(id=None, as_of=None, columns=BARE, repeats="keep")


A, B = "Team,3,1", "Basic,4,0"


def test_equal_rows_of_one_file_are_kept_and_counted_once_over_files(tmp_path: Path) -> None:
    shop, header = Shop(tmp_path, keeping()), "plan,seats,left"
    first = csv(tmp_path, A, A, B, A, header=header)
    assert shop.take(first).rows["ingested"] == 4
    assert shop.take(first).rows == {"in": 4, "ingested": 0, "duplicates": 4, "quarantined": 0}
    more = csv(tmp_path, B, B, A, A, name="more.csv", header=header)
    assert shop.take(more).rows == {"in": 4, "ingested": 1, "duplicates": 3, "quarantined": 0}
    assert sorted(shop.clients.frame()["plan"]) == ["Basic"] * 2 + ["Team"] * 3


def test_equal_rows_are_one_where_the_yaml_drops_them(tmp_path: Path) -> None:
    shop = Shop(tmp_path, keeping().model_copy(update={"repeats": "drop"}))
    done = shop.take(csv(tmp_path, A, A, B, A, header="plan,seats,left"))
    assert (done.rows["ingested"], done.rows["duplicates"]) == (2, 2)


@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ticks=st.lists(st.lists(st.lists(st.sampled_from([A, B]), max_size=4), min_size=1, max_size=3), max_size=3))
def test_the_store_has_a_row_as_often_as_the_file_that_has_it_most(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[list[list[str]]]
) -> None:
    root = tmp_path_factory.mktemp("shop")
    shop = Shop(root, keeping())
    for number, files in enumerate(ticks):
        paths = [
            csv(root, *rows, name=f"{number}-{place}.csv", header="plan,seats,left") for place, rows in enumerate(files)
        ]
        shop.take(*paths)
    every = [file for files in ticks for file in files]
    wanted = {row: max((file.count(row) for file in every), default=0) for row in (A, B)}
    found = shop.clients.frame()["plan"].tolist()
    assert {A: found.count("Team"), B: found.count("Basic")} == wanted


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"columns": changed("seats", empty="text")}, "empty: text belongs to a text or a category"),
        ({"columns": changed("plan", leading_zeros="refuse")}, "a category keeps them as they stand"),
        ({"columns": changed("client", empty="text")}, "'client' must not have empty: text"),
        ({"repeats": "keep"}, "repeats: keep is for tables without an id"),
        ({"thousands": "."}, "thousands: '.' is the decimal sign already"),
        ({"header": {"case": "any"}}, "Input should be 'exact' or 'ignore'"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        portfolio(**changes)
