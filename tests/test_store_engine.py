"""Databases that are used again: nothing of one block is in the next, and none that is in doubt comes back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from store_kit import ROW, Shop, csv, portfolio

from attrition.store import engine
from attrition.store.engine import ALONE, BESIDE, Room, connect, database, setting

SETTINGS = "SELECT name, value FROM duckdb_settings() WHERE name <> 'temp_directory' ORDER BY name"


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The databases made in a test, which begins with none."""
    found: list[Any] = []

    def counted(*given: Any) -> Any:
        found.append(database(*given))
        return found[-1]

    monkeypatch.setattr(engine, "database", counted)
    monkeypatch.setattr(engine, "_idle", {})
    yield found
    for each in found:
        each.close()


def test_nothing_of_a_block_is_in_the_next(made: list[Any]) -> None:
    frame = pd.DataFrame({"a": [1]})
    for _ in range(2):
        with connect() as db:
            db.register("frame", frame)
            db.execute(
                "CREATE TABLE made AS FROM frame; CREATE VIEW seen AS FROM made; CREATE TEMP TABLE t AS FROM made"
            )
    with connect() as db:
        assert db.execute("SELECT table_name FROM duckdb_tables()").fetchall() == []
        assert db.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall() == []
        assert db.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    assert len(made) == 1


def test_blocks_within_each_other_and_of_other_rooms_have_databases_of_their_own(made: list[Any]) -> None:
    with connect(ALONE) as outer, connect(ALONE) as inner, connect(BESIDE) as other:
        outer.execute("CREATE TABLE made (a INT)")
        with pytest.raises(duckdb.CatalogException):
            inner.execute("FROM made")
        assert [db.execute("SELECT current_setting('threads')").fetchall() for db in (inner, other)] == [[(2,)], [(1,)]]
    assert len(made) == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_one_in_which_something_failed_does_not_come_back(made: list[Any], error: type[BaseException]) -> None:
    def failing() -> None:
        with connect() as db:
            db.execute("CREATE TABLE made (a INT)")
            raise error

    with pytest.raises(error):
        failing()
    with connect() as db, pytest.raises(duckdb.CatalogException):
        db.execute("FROM made")
    assert len(made) == 2


def test_one_that_went_on_in_files_does_not_come_back(tmp_path: Path, made: list[Any]) -> None:
    room, sort = Room("20MB", 1), "CREATE TABLE sorted AS SELECT hash(range) AS a FROM range(4_000_000) ORDER BY a"
    with connect(room, tmp_path / "first") as db:
        db.execute(sort)
        assert [*(tmp_path / "first").iterdir()]
    with connect(room, tmp_path / "second") as db:
        db.execute(sort)
        assert [*(tmp_path / "second").iterdir()]
    assert len(made) == 2


def test_one_that_is_used_again_goes_on_in_the_files_of_its_block(tmp_path: Path, made: list[Any]) -> None:
    room = Room("20MB", 1)
    with connect(room, tmp_path / "first"):
        pass
    with connect(room, tmp_path / "second") as db:
        db.execute("CREATE TABLE sorted AS SELECT hash(range) AS a FROM range(4_000_000) ORDER BY a")
        assert [each.name for each in tmp_path.iterdir()] == ["second"]
    assert len(made) == 1


def test_one_that_gives_up_does_not_come_back(tmp_path: Path, made: list[Any]) -> None:
    path = tmp_path / "damaged.parquet"
    with connect() as db:
        db.execute(f"COPY (SELECT 'text' AS a FROM range(50)) TO '{path}' (FORMAT parquet)")
    whole = path.read_bytes()
    # A column's footer: 50 rows (0x64), two sizes. The second one negative makes DuckDB give up its whole database.
    (size,) = (found.end() for found in re.finditer(rb"\x16\x64\x16.\x16", whole, re.DOTALL))
    path.write_bytes(whole[:size] + bytes([whole[size] ^ 1]) + whole[size + 1 :])
    with connect() as db, setting(db, preserve_insertion_order=False), suppress(duckdb.Error):
        db.execute(f"SELECT * FROM '{path}'").fetchall()
    with connect() as db:
        assert db.execute("SELECT 1").fetchall() == [(1,)]
    assert len(made) == 2


def test_one_whose_block_took_much_memory_does_not_come_back(tmp_path: Path, made: list[Any]) -> None:
    sort = f"COPY (SELECT hash(range) AS a FROM range(10_000_000) ORDER BY a) TO '{tmp_path / 'x.parquet'}'"
    for room, sizes in ((Room("1GB", 2), [1, 2]), (Room("1GB", 2, keeps=True), [3, 3])):
        for size in sizes:
            with connect(room, tmp_path / "spilt") as db:
                db.execute(sort)
            assert len(made) == size
    assert not (tmp_path / "spilt").exists()


def test_work_that_is_done_is_done_though_its_block_cannot_be_emptied(made: list[Any]) -> None:
    with connect() as db:
        db.execute("BEGIN")
    with connect() as db:
        assert db.execute("SELECT 1").fetchall() == [(1,)]
    assert len(made) == 2


def test_none_lies_idle_through_a_fork(made: list[Any]) -> None:
    with connect():
        pass
    if not (child := os.fork()):
        os._exit(bool(engine._idle))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(duckdb.ConnectionException, match="closed"):
        made[0].execute("SELECT 1")


def test_a_setting_ends_with_its_block_also_by_an_exception() -> None:
    asked, seen = "SELECT current_setting('preserve_insertion_order')", []

    def failing(db: Any) -> None:
        with setting(db, preserve_insertion_order=False):
            seen.extend(db.execute(asked).fetchall())
            raise ZeroDivisionError

    with connect() as db:
        with pytest.raises(ZeroDivisionError):
            failing(db)
        assert [*seen, *db.execute(asked).fetchall()] == [(False,), (True,)]


def test_after_an_ingest_a_database_is_set_as_a_new_one(tmp_path: Path, made: list[Any]) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    Shop(tmp_path / "shop", portfolio()).take(csv(tmp_path, ROW), tmp_path / "damaged.parquet")
    idle = [(room, db) for room, each in engine._idle.items() for db in each]
    assert idle
    for room, db in idle:
        assert db.execute(SETTINGS).fetchall() == database(room).execute(SETTINGS).fetchall()
