"""A table as it was is laid down anew, whatever became of its files and its log since."""

import shutil

import pandas as pd
import pytest
from deltalake import DeltaTable
from store_kit import ROW, Shop, csv, portfolio

from attrition.store import past, torn
from attrition.store.clients import Clients
from attrition.store.upkeep import keep_up

TICKS = 5


@pytest.fixture
def shop(tmp_path):
    """Five versions of three rows each; then the files of all became one, and those that it replaced are gone."""
    shop = Shop(tmp_path, portfolio())
    for tick in range(TICKS):
        rows = [f"c{tick}-{n},2026-01-{tick + 1:02d},Team,{n},,yes,{n % 2}" for n in range(3)]
        shop.take(csv(tmp_path, *rows, name=f"{tick}.csv"))
    return shop


def compacted(shop):
    assert keep_up(shop.portfolio, shop.folder, shop.root / "scores", many=TICKS) == TICKS
    named = {path.name for path in shop.clients.files}
    for path in shop.folder.glob("*.parquet"):
        if path.name not in named:
            path.unlink()


@pytest.mark.parametrize("then", [lambda shop: None, compacted], ids=["as it came", "compacted"])
@pytest.mark.parametrize("version", range(1, TICKS + 1))
def test_each_version_is_what_it_was_and_the_next_ingest_makes_the_one_after_it(shop, tmp_path, version, then):
    wanted = Clients(shop.portfolio, shop.folder, version).frame()
    then(shop)
    folder = tmp_path / "past" / "clients"
    past.clients(shop.folder, folder, to_version=version, ingests=version, at=version + 2, put=shutil.copy)
    assert torn.mend(folder) is None  # its log is short, and whole
    again = Shop(tmp_path / "past", shop.portfolio)
    pd.testing.assert_frame_equal(again.clients.frame(), wanted)
    assert (again.clients.rows, again.clients.ingests) == (3 * version, version)
    assert DeltaTable(str(folder)).version() == version + 2
    drops = [tmp_path / f"{tick}.csv" for tick in range(version)]
    done = again.take(*drops, csv(tmp_path, ROW, name="later.csv"))
    assert done.rows == {"in": 3 * version + 1, "ingested": 1, "duplicates": 3 * version, "quarantined": 0}
    assert (done.data_version, done.ingest) == (version + 3, version + 1)
    assert keep_up(again.portfolio, folder, tmp_path / "past" / "scores", many=2)


def test_before_the_first_rows_there_was_no_table(shop, tmp_path):
    past.clients(shop.folder, tmp_path / "none", to_version=0, ingests=0, at=0, put=shutil.copy)
    past.predictions(tmp_path / "scores", tmp_path / "neither", to_run=3, put=shutil.copy)
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "neither").exists()


def test_version_and_ingests_are_of_one_moment_though_rows_come_right_after_each_look(shop, tmp_path, monkeypatch):
    class ThenRowsCome(DeltaTable):
        def __init__(self, folder):
            super().__init__(folder)
            with monkeypatch.context() as undisturbed:
                undisturbed.setattr(past, "DeltaTable", DeltaTable)
                shop.take(csv(tmp_path, f"later{self.version()},2026-02-01,Team,1,,yes,0", name="later.csv"))

    monkeypatch.setattr(past, "DeltaTable", ThenRowsCome)
    assert past.moment(shop.folder) == (TICKS, TICKS)
    assert shop.clients.ingests == TICKS + 1
