"""Whatever a drop is like, it is judged in bounded memory, or set aside by itself with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from store_kit import HEADER, ROW, Shop, csv, portfolio

from attrition.store import arrivals, canonical, check
from attrition.store.engine import WIDE, Room, fields, quoted

NARROW = Room("24MB", 1)
KINDS = ("integer", "number", "boolean", "text", "date")


def wide(columns: int) -> dict[str, Any]:
    return {"client": {"type": "text"}} | {f"n{at}": {"type": "number"} for at in range(columns)}


def drop(folder: Path, columns: int, rows: int, value: str = "1.5", name: str = "drop.csv") -> Path:
    lines = [",".join([f"c{row}", *[value] * columns, "1"]) for row in range(rows)]
    return csv(folder, *lines, name=name, header=",".join(["client", *(f"n{at}" for at in range(columns)), "left"]))


def test_hundreds_of_columns_get_more_room_and_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    for room in (WIDE, NARROW):
        monkeypatch.setattr("attrition.store.ingest.ALONE", room)
        folder = tmp_path / room.memory
        folder.mkdir()
        shop = Shop(folder, portfolio(columns=wide(300), as_of=None))
        assert shop.take(drop(folder, 300, 50)).rows == {"in": 50, "ingested": 50, "duplicates": 0, "quarantined": 0}
        frames.append(shop.clients.frame())
    assert frames[0].equals(frames[1])


def test_what_no_room_is_enough_for_is_set_aside_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("attrition.store.ingest.ALONE", "attrition.store.arrivals.WIDE"):
        monkeypatch.setattr(room, NARROW)
    shop = Shop(tmp_path, portfolio())
    more = ",".join(f"e{at}" for at in range(900))
    wide = csv(tmp_path, *[ROW.replace("3", "x") + ",1" * 900] * 100, name="wide.csv", header=f"{HEADER},{more}")
    done = shop.take(wide, csv(tmp_path, ROW, name="good.csv"))
    good, bad = done.drops
    assert (good.ingested, bad.to, bad.quarantined) == (1, "quarantine", 100)
    assert bad.reasons == {"its rows take more memory than 24MB: split it": 100}


@pytest.mark.parametrize("quick", [True, False])
def test_faults_in_every_field_are_told_however_many_are_judged_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    if not quick:
        monkeypatch.setattr("attrition.store.fast.source", lambda *_: None)
    found = []
    for several, signs, many in ((2**19, 2**24, 2**18), (60, 2**24, 25), (2**19, 100, 1)):
        monkeypatch.setattr(check, "FIELDS", several)
        monkeypatch.setattr(check, "BYTES", signs)
        monkeypatch.setattr(check, "AT_ONCE", many)
        folder = tmp_path / str(len(found))
        folder.mkdir()
        done, staging = Shop(folder, portfolio(columns=wide(25), as_of=None)).stage(drop(folder, 25, 9, "x"))
        assert done.rows == {"in": 9, "ingested": 0, "duplicates": 0, "quarantined": 9}
        assert done.drops[0].reasons == {f"n{at}: not a number": 9 for at in range(25)}
        found.append((staging / "quarantine" / "drop.csv.jsonl").read_text())
    assert found[0] == found[1] == found[2]
    first = json.loads(found[0].splitlines()[0])
    assert first["reason"].endswith("; n19: 'x' is not a number; and 5 more")


def test_many_columns_have_the_hash_of_few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    many = {f"{kind}{at}": {"type": kind, "nullable": True} for kind in KINDS for at in range(2)}
    given = portfolio(columns=many, id=None, as_of=None)
    one_by_one = canonical.hashed(given)
    monkeypatch.setattr(canonical, "MANY", 0)
    as_lists = canonical.hashed(given)
    assert one_by_one != as_lists
    values = {
        "integer": "-n",
        "number": "n / 7.0",
        "boolean": "n % 2 = 0",
        "text": "repeat('é', n)",
        "date": "DATE '1969-12-30' + n",
    }
    columns = [
        f"CASE WHEN n % 5 != {at} THEN CAST({values.get(name.rstrip('01'), 'n % 2')} AS {kind}) END AS {quoted(name)}"
        for at, (name, kind) in enumerate(fields(given).items())
    ]
    rows = f"(SELECT {', '.join(columns)} FROM (SELECT CAST(range AS INTEGER) AS n FROM range(40)))"
    found = duckdb.connect().execute(f"SELECT {one_by_one}, {as_lists} FROM {rows}").fetchall()
    assert len({one for one, _ in found}) == 40
    assert all(one == other for one, other in found)


def test_nothing_is_left_of_an_attempt_that_ran_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = arrivals.bad_rows, []

    def runs_out(connection: Any) -> Any:
        calls.append(1)
        for row in real(connection):
            yield row
            if len(calls) < 3:
                raise duckdb.OutOfMemoryException("in the middle of writing what is rejected")

    monkeypatch.setattr(arrivals, "bad_rows", runs_out)
    shop = Shop(tmp_path, portfolio())
    shop.take(csv(tmp_path, ROW[:-1], ROW[:-1].replace("ann", "bob"), name="first.csv"))
    told = {name: [f"{name},2026-01-31,1"] for name in ("ann", "bob")}
    told["ann"].append("ann,never,1")
    drops = [csv(tmp_path, *lines, name=f"{name}.csv", header="client,day,left") for name, lines in told.items()]
    done, staging = shop.stage(*drops)
    counts = [(drop.to, drop.rows_in, drop.ingested, drop.duplicates, drop.quarantined) for drop in done.drops]
    assert counts == [("quarantine", 2, 0, 0, 2), ("taken", 1, 1, 0, 0)]
    assert [path.name for path in (staging / "quarantine").iterdir()] == []
