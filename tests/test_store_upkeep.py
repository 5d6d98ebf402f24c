"""Tables stay quick: small files become few, the log is summed up, and every version reads as it did."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st
from store_kit import ROW, Shop, csv, portfolio, predictions

from attrition.store import delta, hashes, upkeep
from attrition.store.clients import Clients
from attrition.store.upkeep import keep_up

MONTHS = 40 * 24 * 3600


def filled(root: Path, ticks: int) -> Shop:
    """A store of one version a tick, three rows each."""
    root.mkdir(exist_ok=True)
    shop = Shop(root, portfolio())
    for tick in range(ticks):
        rows = [f"c{tick}-{n},2026-01-{tick + 1:02d},Team,{n},,yes,{n % 2}" for n in range(3)]
        shop.take(csv(root, *rows, name=f"{tick}.csv"))
    return shop


def kept_up(shop: Shop, **how: Any) -> int:
    return keep_up(shop.portfolio, shop.folder, shop.root / "scores", **how)


def test_compacted_summed_up_and_cleaned_each_version_that_a_model_names_is_read_as_before(tmp_path: Path) -> None:
    shop = filled(tmp_path, 12)
    wanted = {version: Clients(shop.portfolio, shop.folder, version).frame() for version in range(13)}
    assert kept_up(shop, many=4) == 12
    log = shop.folder / "_delta_log"
    for path in [*log.glob("*.json"), *shop.folder.glob("part-*.parquet")]:
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - MONTHS))
    shop.take(csv(tmp_path, ROW, name="later.csv"))
    table = DeltaTable(str(shop.folder))
    table.create_checkpoint()
    table.cleanup_metadata()
    kept_up(shop)
    assert len(list(log.glob("*.json"))) < 5, "the log of the first versions is gone"
    assert [
        path.name for path in shop.folder.glob("*.parquet") if path.name not in {f.name for f in shop.clients.files}
    ] == []
    for version, frame in wanted.items():
        pd.testing.assert_frame_equal(Clients(shop.portfolio, shop.folder, version).frame(), frame)
    done = shop.take(*(tmp_path / f"{tick}.csv" for tick in range(12)))
    assert done.rows == {"in": 36, "ingested": 0, "duplicates": 36, "quarantined": 0}
    assert (done.data_version, done.ingest) == (14, 13), "of the last rows, not of the compaction"


def test_a_file_that_is_out_of_the_table_stays_for_a_week(tmp_path: Path) -> None:
    shop = filled(tmp_path, 4)
    old = {path: path.stat().st_mtime - MONTHS for path in shop.folder.glob("*.parquet")}
    for path, when in old.items():
        os.utime(path, (when, when))
    assert kept_up(shop, many=4) == 4
    assert all(path.exists() for path in old), "somebody may be reading them"
    for path in old:
        os.utime(path, (0, 0))
    kept_up(shop)
    assert not any(path.exists() for path in old)


def test_one_call_does_a_bounded_piece(tmp_path: Path) -> None:
    shop = filled(tmp_path, 6)
    assert kept_up(shop, many=3, budget=9) == 3
    assert kept_up(shop, many=3, budget=9) == 3
    assert [part.bounds["max._row"] for part in delta.parts(shop.folder, DeltaTable(str(shop.folder)))] == [9, 18]
    assert kept_up(shop, many=3, budget=9) == 0, "two are not many"


def test_a_log_never_grows_long(tmp_path: Path) -> None:
    shop = filled(tmp_path, delta.LOGS + 1)
    kept_up(shop)
    pointer = json.loads((shop.folder / "_delta_log" / "_last_checkpoint").read_text())
    assert pointer["version"] == delta.LOGS + 1
    assert DeltaTable(str(shop.folder)).transaction_version("ingest") == delta.LOGS + 1
    assert shop.take(csv(tmp_path, ROW)).data_version == delta.LOGS + 2


def test_predictions_are_kept_up_too(tmp_path: Path) -> None:
    shop = filled(tmp_path, 1)
    for number in range(1, 4):
        predictions(tmp_path / "scores", [(number, "ann", "2026-01-01", number, "0001", 0.5)], number)
    before = (
        duckdb.connect()
        .execute("SELECT * FROM read_parquet($1) ORDER BY ALL", [_files(tmp_path / "scores")])
        .fetchall()
    )
    assert kept_up(shop, many=3) == 3
    files = _files(tmp_path / "scores")
    assert len(files) == 1
    assert duckdb.connect().execute("SELECT * FROM read_parquet($1) ORDER BY ALL", [files]).fetchall() == before


def _files(folder: Path) -> list[str]:
    return DeltaTable(str(folder)).file_uris()


class Power(BaseException):
    """The machine stops here."""


def test_a_machine_that_stops_in_it_loses_nothing(tmp_path: Path) -> None:
    start = filled(tmp_path / "start", 5)
    wanted = start.clients.frame()
    names = ["os.fsync", "os.utime", "pathlib.Path.replace", "deltalake.DeltaTable.create_write_transaction"]
    for number in range(100):
        root = tmp_path / str(number)
        shutil.copytree(start.root, root)
        shop = Shop(root, start.portfolio)
        with pytest.MonkeyPatch.context() as patch:
            made: list[str] = []
            for name in names:
                _stop(patch, name, made, number)
            try:
                kept_up(shop, many=5)
            except Power:
                stopped = True
            else:
                stopped = False
        pd.testing.assert_frame_equal(shop.clients.frame(), wanted)
        kept_up(shop, many=5)
        assert len(shop.clients.files) == 1
        pd.testing.assert_frame_equal(shop.clients.frame(), wanted)
        again = csv(root, "c0-0,2026-01-01,Team,0,,yes,0", ROW)
        assert shop.take(again).rows == {"in": 2, "ingested": 1, "duplicates": 1, "quarantined": 0}
        shutil.rmtree(root)
        if not stopped:
            break
    assert 8 < number < 99


def _stop(patch: pytest.MonkeyPatch, name: str, made: list[str], at: int) -> None:
    owner, _, attribute = name.rpartition(".")
    holder: Any = {"os": os, "pathlib.Path": Path, "deltalake.DeltaTable": DeltaTable}[owner]
    real = getattr(holder, attribute)

    def step(*given: Any, **named: Any) -> Any:
        if len(made) == at:
            raise Power
        made.append(name)
        return real(*given, **named)

    patch.setattr(holder, attribute, step)


def test_rows_that_were_put_together_count_once_for_whoever_reads_the_table(tmp_path: Path) -> None:
    shop = filled(tmp_path, 16)
    assert kept_up(shop) > 0
    files = DeltaTable(str(shop.folder)).file_uris()
    assert duckdb.sql(f"SELECT count(*), count(DISTINCT _row) FROM read_parquet({files})").fetchall() == [(48, 48)]
    assert len(list(shop.folder.glob("*.parquet"))) > len(files), (
        "what they were made of lies there for whoever reads it"
    )


@pytest.mark.parametrize("spoilt", [b"", b"short", None, b"\1" * 12])
def test_hashes_that_are_gone_or_cut_short_are_made_anew(tmp_path: Path, spoilt: bytes | None) -> None:
    shop = filled(tmp_path, 2)
    kept_up(shop)
    beside = sorted((shop.folder / hashes.FOLDER).iterdir())
    assert len(beside) == 2
    beside[0].unlink() if spoilt is None else beside[0].write_bytes(spoilt)
    assert shop.take(tmp_path / "0.csv", tmp_path / "1.csv").rows["duplicates"] == 6
    kept_up(shop)
    held = np.fromfile(beside[0], dtype="<i8")
    assert (held[0], len(held)) == (3, 4)
    assert (np.diff(held[1:]) > 0).all()


HASHES = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 9)).map(lambda made: np.array(made, dtype=np.int64))


@given(HASHES, st.lists(HASHES, min_size=1))
def test_hashes_are_put_together_and_found_among_others(few: hashes.Hashes, given: list[hashes.Hashes]) -> None:
    every = hashes.merged(given)
    assert every.tolist() == sorted({each for some in given for each in some.tolist()})
    assert hashes.among(every, few).tolist() == [each for each in few.tolist() if each in every.tolist()]


def test_hashes_answer_for_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = filled(tmp_path, 3)
    kept_up(shop)
    monkeypatch.setattr(hashes, "_sorted", lambda part: pytest.fail(f"{part} was read"))
    asked = shop.clients.sql("SELECT _hash FROM clients ORDER BY _row DESC")["_hash"].to_numpy()
    where, found = hashes.known(shop.clients.files, np.sort(np.append(asked, [1, -1])))
    assert (where, sorted(found)) == (shop.clients.files, sorted(asked))
    where, found = hashes.known(shop.clients.files, np.sort(asked[:3]))
    assert (where, sorted(found)) == (shop.clients.files[2:], sorted(asked[:3]))
    few = np.sort(np.append(asked[:1], 7))
    assert [each.tolist() for each in hashes.known(shop.clients.files, few)[1:]] == [asked[:1].tolist()]


def test_upkeep_leaves_no_files_of_its_own(tmp_path: Path) -> None:
    shop = filled(tmp_path, upkeep.MANY)
    kept_up(shop)
    assert [path.name for path in shop.folder.iterdir() if path.name.startswith(".")] == []
