from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from conftest import examples
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import CALLED, CAPSTONE, COLUMNS, DATA, PARAMS, ROW, Shop, csv, history, portfolio

from attrition import params
from attrition.store import clients as store
from attrition.store.canonical import hashed
from attrition.store.clients import Clients, StoreError, commit_scores


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, portfolio())


def test_before_the_first_rows(shop: Shop) -> None:
    clients = shop.clients
    assert (clients.version, clients.ingests, clients.rows) == (0, 0, 0)
    assert clients.frame().empty
    assert clients.current().columns.tolist() == [*COLUMNS, "left", "_row", "_version"]
    assert not shop.folder.exists()


def test_a_frame_has_the_types_that_models_take(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, "ann,0001-01-01,Team,3,,yes,", "bob,9999-12-31,Basic,4,1.5,no,1"))
    frame = shop.clients.frame()
    kinds = [str(kind) for kind in frame.dtypes]
    assert kinds == ["object", "datetime64[us]", "object", *["float64"] * 4, "int64", "int64"]
    assert frame["day"].dt.date.tolist() == [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]
    assert np.isnan(frame.loc[0, ["fee", "left"]].astype(float)).all()
    assert frame.loc[1, ["seats", "fee", "active", "left"]].tolist() == [4, 1.5, 0, 1]


def test_missing_categories_are_none(tmp_path: Path) -> None:
    columns = COLUMNS | {"plan": {"type": "category", "nullable": True}}
    shop = Shop(tmp_path, portfolio(columns=columns))
    shop.take(csv(tmp_path, ROW, "bob,2027-01-31,,3,9.5,yes,1"))
    assert shop.clients.frame()["plan"].tolist() == ["Team", None]
    assert shop.clients.sql("SELECT CAST(NULL AS VARCHAR) AS plan")["plan"].tolist() == [None]


def test_rows_are_chosen_by_number_version_and_outcome(shop: Shop, tmp_path: Path) -> None:
    for tick, outcomes in enumerate([["1", "", "0"], ["", "1"]]):
        rows = [f"c{place},2026-0{tick + 1}-0{place + 1},Team,3,1,yes,{y}" for place, y in enumerate(outcomes)]
        shop.take(csv(tmp_path, *rows, name=f"{tick}.csv"))
    clients = shop.clients

    def chosen(**how: Any) -> list[int]:
        return list(clients.frame(["fee"], **how)["_row"])

    assert chosen() == [1, 2, 3, 4, 5]
    assert chosen(after_version=1) == [4, 5]
    assert chosen(after_row=1, to_row=4) == [2, 3, 4]
    assert chosen(labelled=True) == [1, 3, 5]
    assert chosen(labelled=False, after_row=2) == [4]
    assert clients.frame(["left", "fee"]).columns.tolist() == ["left", "fee", "_row", "_version"]
    with pytest.raises(StoreError, match="no column 'feee'; there are client, day"):
        clients.frame(["feee"])


def test_a_version_stays_what_it_was(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, ROW))
    before = shop.clients.frame()
    shop.take(csv(tmp_path, ROW.replace("ann", "bob"), name="next.csv"))
    DeltaTable(str(shop.folder)).optimize.compact()
    assert len(shop.clients.files) == 1, "compaction made one file of two"
    old = Clients(shop.portfolio, shop.folder, 1)
    assert (old.version, old.rows) == (1, 1)
    assert old.frame().equals(before)
    assert shop.take(csv(tmp_path, ROW, name="again.csv")).rows["duplicates"] == 1
    with pytest.raises(StoreError, match="versions 0 to 3, not 4"):
        Clients(shop.portfolio, shop.folder, 4)


def test_current_is_the_newest_row_of_each_client(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, "ann,2026-02-01,Team,1,1,yes,1", "bob,2026-01-01,Team,2,1,yes,1"))
    late = ["ann,2026-01-01,Team,3,1,yes,1", "bob,2026-03-01,Team,4,1,yes,"]
    shop.take(csv(tmp_path, *late, name="late.csv"))
    assert dict(shop.clients.current()[["client", "seats"]].itertuples(index=False)) == {"ann": 1, "bob": 4}
    assert shop.clients.current(after_version=1)["client"].tolist() == ["bob"]


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    versions=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=4), min_size=1, max_size=4
    ),
    keys=st.sampled_from([{}, {"as_of": None}, {"id": None}]),
    merged=st.booleans(),
)
def test_current_is_what_its_rule_says(
    tmp_path_factory: pytest.TempPathFactory, versions: list[list[tuple[str, int]]], keys: dict[str, None], merged: bool
) -> None:
    folder = tmp_path_factory.mktemp("history") / "clients"
    given_shop = portfolio(columns=CALLED, **keys)
    history(folder, given_shop, [[(who, f"2026-01-0{day}", day % 2, None) for who, day in rows] for rows in versions])
    if merged:
        DeltaTable(str(folder)).optimize.compact()
    clients = Clients(given_shop, folder, len(versions))
    rows = clients.frame()
    order = ["day", "_row"] if "as_of" not in keys else ["_row"]
    newest = rows if "id" in keys else rows.sort_values(order).groupby("client").tail(1).sort_values("_row")
    for after in range(len(versions) + 1):
        wanted = newest.loc[newest["_version"] > after, "_row"].tolist()
        assert clients.current(after_version=after)["_row"].tolist() == wanted
        early = Clients(given_shop, folder, after)
        up_to = rows[rows["_version"] <= after]
        assert (early.rows, early.labelled) == (len(up_to), up_to["left"].notna().sum())


def test_of_rows_of_the_same_date_the_last_to_come_is_current(tmp_path: Path) -> None:
    shop = Shop(tmp_path, portfolio())
    shop.take(csv(tmp_path, ROW))
    shop.take(csv(tmp_path, ROW.replace(",3,", ",8,"), name="next.csv"))
    assert shop.clients.current()["seats"].tolist() == [8]
    everybody = Clients(portfolio(id=None), shop.folder)
    assert len(everybody.current()) == 2


def test_a_folder_of_any_name(tmp_path: Path) -> None:
    root = tmp_path / "it's [a] *? ü #1 k=v"
    root.mkdir()
    shop = Shop(root, portfolio())
    shop.take(csv(tmp_path, ROW))
    assert shop.take(csv(tmp_path, ROW)).rows["duplicates"] == 1
    assert shop.clients.frame()["client"].tolist() == ["ann"]


def test_sql_takes_parameters_and_only_reads(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, ROW))
    clients, outside = shop.clients, csv(tmp_path, "1", name="outside.csv")
    found = clients.sql("SELECT client, seats FROM clients WHERE client = $who", who="ann")
    assert found.to_dict("list") == {"client": ["ann"], "seats": [3]}
    for query in [
        f"SELECT * FROM read_text('{outside}')",
        f"COPY clients TO '{tmp_path}/out.csv'",
        f"COPY clients TO '{clients.files[0]}' (FORMAT parquet)",
        "DROP VIEW clients",
        "SET threads = 8",
        "SELECT 1; SELECT 2",
        "SELEC",
        "SELECT * FROM frame",
    ]:
        with pytest.raises(StoreError):
            clients.sql(query)
    assert clients.rows == 1
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": COLUMNS | {"new": {"type": "text"}}}, "'new' is not in the table"),
        ({"columns": {name: COLUMNS[name] for name in COLUMNS if name != "fee"}}, "'fee' of the table is missing"),
        ({"columns": COLUMNS | {"seats": {"type": "number"}}}, "'seats' was long, now double"),
        ({"target": {"column": "gone"}}, "'gone' is not in the table; 'left' of the table is missing"),
    ],
)
def test_changed_columns_need_a_new_portfolio(shop: Shop, tmp_path: Path, changes: Any, said: str) -> None:
    shop.take(csv(tmp_path, ROW))
    with pytest.raises(StoreError, match=f"columns changed: {said}.*new name"):
        Clients(portfolio(**changes), shop.folder)


def test_rows_with_the_hash_of_another_version_are_not_taken_for_new(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("attrition.store.delta._ABOUT", "hash 1")
        shop.take(csv(tmp_path, ROW))
    with pytest.raises(StoreError, match=r"hashed by another version.*drops of taken/ back into incoming/"):
        shop.clients  # noqa: B018


def test_the_committed_sample_has_the_hashes_of_today() -> None:
    home = Path(__file__).parent / "data" / "home"
    sample = params.load(home / "params" / "sample.yaml")
    clients = Clients(sample, home / "data" / "sample" / "clients")
    assert clients.sql(f"SELECT count(*) AS n FROM clients WHERE _hash = {hashed(sample)}")["n"].tolist() == [450]


class Power(BaseException):
    """The machine stops here."""


STEPS = [
    "deltalake.DeltaTable.create",
    "attrition.safe.make_folder",
    "attrition.safe.sync",
    "attrition.safe.move",
    "attrition.store.delta._verify",
    "deltalake.DeltaTable.create_write_transaction",
    "attrition.store.delta._sync_log",
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_commit_goes_on_after_a_crash_at_any_step(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    done, staging = shop.stage(csv(tmp_path, ROW))
    owner, _, name = step.rpartition(".")
    real = getattr(DeltaTable if owner.endswith("DeltaTable") else __import__(owner, fromlist=["_"]), name)

    def stops(*args: Any, **named: Any) -> None:
        if after:
            real(*args, **named)
        raise Power

    with monkeypatch.context() as patch:
        patch.setattr(step, stops)
        with pytest.raises(Power):
            shop.commit(staging)
    for _ in range(2):
        assert shop.commit(staging) == done.data_version == 1
    table = DeltaTable(str(shop.folder))
    assert (table.version(), table.transaction_version("ingest"), table.history(1)[0]["run"]) == (1, 1, "run1")
    assert shop.clients.frame()["client"].tolist() == ["ann"]


def test_a_run_that_was_overtaken_cannot_commit(shop: Shop, tmp_path: Path) -> None:
    _, slow = shop.stage(csv(tmp_path, ROW))
    shop.take(csv(tmp_path, ROW.replace("ann", "bob"), name="next.csv"))
    with pytest.raises(StoreError, match="not the file that was staged"):
        shop.commit(slow)
    shop.take(csv(tmp_path, ROW.replace("ann", "cat"), name="third.csv"))
    with pytest.raises(StoreError, match="ingest 1 comes late, 2 is committed"):
        shop.commit(slow)
    assert shop.clients.frame()["client"].tolist() == ["bob", "cat"]


def test_a_version_that_is_taken_is_not_committed_over(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, ROW))
    shop.take(csv(tmp_path, ROW.replace("ann", "bob"), name="next.csv"))
    _, staging = shop.stage(csv(tmp_path, ROW.replace("ann", "cat"), name="third.csv"))
    DeltaTable(str(shop.folder)).optimize.compact()
    with pytest.raises(StoreError, match="at version 3, so the next is not 3"):
        shop.commit(staging)
    assert shop.clients.rows == 2


def test_a_staged_file_that_is_spoilt_or_gone_is_not_committed(shop: Shop, tmp_path: Path) -> None:
    done, staging = shop.stage(csv(tmp_path, ROW))
    staged = staging / "rows" / done.files[0].path
    content = staged.read_bytes()
    staged.write_bytes(content[:-1] + b"x")
    with pytest.raises(StoreError, match="SHA-256 differs"):
        shop.commit(staging)
    (shop.folder / staged.name).unlink()
    with pytest.raises(StoreError, match="is gone"):
        shop.commit(staging)
    assert shop.clients.version == 0
    staged.write_bytes(content)
    assert shop.commit(staging) == 1


def test_a_log_that_cannot_be_read_says_where(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, ROW))
    (shop.folder / "_delta_log" / f"{1:020d}.json").write_text("{")
    with pytest.raises(StoreError, match="Delta log cannot be read"):
        shop.clients  # noqa: B018 -- opening it is the test


def scores(
    path: Path, columns: str = "1::BIGINT AS _row, 'ann' AS id, DATE '2026-01-31' AS as_of, 3::BIGINT AS data_version"
) -> Path:
    rest = "'0001' AS model_version, 0.5::DOUBLE AS probability, 'run1' AS run"
    duckdb.connect().execute(f"COPY (SELECT {columns}, {rest}) TO '{path}' (FORMAT parquet)")
    return path


def test_scores_are_committed_once(tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    first, second = scores(tmp_path / "first.parquet"), scores(tmp_path / "second.parquet")
    assert [commit_scores(folder, first, 1, "run1") for _ in range(2)] == [1, 1]
    assert commit_scores(folder, second, 7, "run7") == 2
    table = DeltaTable(str(folder))
    assert table.transaction_version("scores") == 7
    assert [json.loads(line)["add"]["path"] for line in adds(folder, 2)] == ["part-000007-run7.parquet"]
    assert len(table.file_uris()) == 2
    with pytest.raises(StoreError, match="scores 5 comes late"):
        commit_scores(folder, scores(tmp_path / "late.parquet"), 5, "run5")


def adds(folder: Path, version: int) -> list[str]:
    lines = (folder / "_delta_log" / f"{version:020d}.json").read_text().splitlines()
    return [line for line in lines if line.startswith('{"add"')]


def test_scores_of_another_shape_or_gone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected the columns"):
        commit_scores(tmp_path / "scores", scores(tmp_path / "a.parquet", "1 AS _row"), 1, "run1")
    with pytest.raises(StoreError, match="is gone: score anew"):
        commit_scores(tmp_path / "scores", tmp_path / "none.parquet", 1, "run1")


def test_labelled_test_rows(tmp_path: Path) -> None:
    capstone = params.load(PARAMS / "capstone.yaml")
    rows = store.test_rows(capstone, CAPSTONE / "testdata")
    assert rows is not None
    assert rows.columns.tolist() == [*capstone.columns, "exited", "_row"]
    assert (rows["exited"].tolist(), rows["_row"].tolist()) == ([1, 0, 0, 1, 1], [1, 2, 3, 4, 5])
    assert rows["corporation"].dtype == object
    assert store.test_rows(capstone, tmp_path / "none") is None
    (tmp_path / "empty.csv").touch()
    with pytest.raises(store.StoreError, match=r"test data empty\.csv: .*empty.*: mend the file, or take it out"):
        store.test_rows(capstone, tmp_path)


def test_test_rows_without_an_outcome_are_left_out(tmp_path: Path) -> None:
    csv(tmp_path, ROW, ROW[:-1], "spoilt", name="a.csv")
    csv(tmp_path, ROW.replace("ann", "bob"), name="b.csv")
    rows = store.test_rows(portfolio(), tmp_path)
    assert rows is not None
    assert rows[["client", "_row"]].to_numpy().tolist() == [["ann", 1], ["bob", 2]]


def test_the_sample_that_the_project_uses(tmp_path: Path) -> None:
    shop = Shop(tmp_path, params.load(PARAMS / "telco.yaml"))
    shop.take(DATA / "telco_sample.csv")
    frame = shop.clients.frame()
    assert len(frame) == 500
    assert frame["total_charges"].isna().sum() == 3
    assert 0.2 < frame["churn"].mean() < 0.35
