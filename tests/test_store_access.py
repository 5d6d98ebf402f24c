"""The table is read as it is by other libraries, and by name, version and question through the store."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars
import pytest
from deltalake import DeltaTable
from pipeline_kit import CAPSTONE, capstone
from store_kit import Shop

from attrition import params
from attrition.home import Home
from attrition.store.access import Store
from attrition.store.clients import StoreError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two versions of the furnished clients."""
    home = capstone(tmp_path)
    place = home.place("capstone")
    shop = Shop(place.data, params.load(place.params))
    for source in ("practicedata", "sourcedata"):
        shop.take(*(CAPSTONE / source).iterdir())
    return home


def test_a_version_is_loaded_by_its_number(home: Home) -> None:
    store = Store("capstone", home)
    assert (len(store.load()), len(store.load(version=1))) == (52, 26)
    assert store.load(version=1, columns=["exited"]).columns.tolist() == ["exited", "_row", "_version"]
    with pytest.raises(StoreError, match="versions 0 to 2, not 3"):
        store.load(version=3)


def test_a_question_is_answered_as_of_a_version(home: Home) -> None:
    store, query = Store("capstone", home), "SELECT count(*) AS n FROM clients WHERE _row > $least"
    assert store.sql(query, least=20)["n"].tolist() == [32]
    assert store.sql(query, version=1, least=20)["n"].tolist() == [6]


def test_the_home_is_the_one_that_the_environment_names(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRITION_HOME", str(home.root))
    assert len(Store("capstone").load(version=1)) == 26


def test_others_read_the_table_as_it_is(home: Home) -> None:
    folder = home.place("capstone").clients
    wanted = Store("capstone", home).sql("SELECT corporation, exited, _row, _version FROM clients ORDER BY _row")
    rows = list(wanted.itertuples(index=False, name=None))
    names = wanted.columns.tolist()
    by_polars = polars.read_parquet(DeltaTable(str(folder)).file_uris()).sort("_row")
    assert by_polars.select(names).rows() == rows
    lazily = polars.scan_delta(str(folder)).filter(polars.col("_version") == 1).collect()
    assert sorted(lazily["_row"]) == list(range(1, 27))
    query = f"SELECT {', '.join(names)} FROM read_parquet($1) ORDER BY _row"
    assert duckdb.connect().execute(query, [DeltaTable(str(folder)).file_uris()]).fetchall() == rows


def test_pandas_reads_the_table_as_it_is(home: Home) -> None:
    pytest.importorskip("pyarrow", reason="pandas reads Parquet by pyarrow: pip install pyarrow")
    import pandas as pd

    folder = home.place("capstone").clients
    frame = pd.concat(map(pd.read_parquet, DeltaTable(str(folder)).file_uris()))
    assert sorted(frame["_row"]) == list(range(1, 53))
