"""Drops that bring outcomes alone: each joins the newest row of its client and day, or says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import CALLED, COLUMNS, HEADER, ROW, Shop, csv, portfolio

from attrition.store import clients as store

TOLD = "client,day,left"
BARE = ROW[:-1]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, portfolio())


def told(folder: Path, *rows: str, name: str = "told.csv", header: str = TOLD) -> Path:
    return csv(folder, *rows, name=name, header=header)


def test_an_outcome_makes_a_new_row_of_the_features_as_they_were(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, BARE, BARE.replace(",3,", ",8,").replace("2026-01-31", "2026-02-28")))
    (drop,) = shop.take(told(tmp_path, "ann,2026-01-31,1")).drops
    assert (drop.ingested, drop.to, drop.reasons) == (1, "taken", {})
    assert drop.notes == ["every outcome is 1", "outcomes of 1 client joined"]
    frame = shop.clients.frame()
    assert frame["_version"].tolist() == [1, 1, 2]
    before, after = frame.iloc[0], frame.iloc[2]
    same = ["client", "day", "plan", "seats", "fee", "active"]
    assert after[same].equals(before[same])
    assert after["left"] == 1


def test_it_joins_the_newest_row_of_that_day(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, BARE))
    shop.take(csv(tmp_path, BARE.replace(",3,", ",8,")))
    shop.take(csv(tmp_path, BARE.replace(",3,", ",5,").replace("ann", "bob")))
    shop.take(told(tmp_path, "ann,2026-01-31,0"))
    assert shop.clients.frame()["seats"].tolist() == [3, 8, 5, 8]


def test_of_drops_that_come_together_the_last_one_is_believed(shop: Shop, tmp_path: Path) -> None:
    rows = [BARE.replace("ann", f"c{number}") for number in range(40)]
    changed = [row.replace(",3,", ",8,") for row in rows]
    said = [[f"c{number},2026-01-31,{left}" for number in range(40)] for left in (1, 0)]
    shop.take(
        *(csv(tmp_path, *some, name=name) for some, name in ((rows, "2.csv"), (changed, "1.csv"))),
        *(told(tmp_path, *some, name=name) for some, name in zip(said, ("3.csv", "4.csv"), strict=True)),
    )
    current = shop.clients.current()
    assert current["seats"].tolist() == [3] * 40
    assert current["left"].tolist() == [0.0] * 40


@pytest.mark.parametrize("names", [("a.csv", "b.csv"), ("b.csv", "a.csv")])
def test_features_and_outcome_may_come_together_in_any_order(
    shop: Shop, tmp_path: Path, names: tuple[str, str]
) -> None:
    rows = [BARE.replace("ann", client) for client in ("ann", "bob", "cat", "dan", "eve")]
    done = shop.take(
        csv(tmp_path, *rows, name=names[0]), told(tmp_path, "eve,2026-01-31,1", "bob,2026-01-31,0", name=names[1])
    )
    assert done.rows == {"in": 7, "ingested": 7, "duplicates": 0, "quarantined": 0}
    frame = shop.clients.frame()
    assert frame["left"].isna().tolist() == [True] * 5 + [False] * 2, "the newest row of a client knows its outcome"
    assert dict(frame[["client", "left"]].iloc[5:].itertuples(index=False)) == {"bob": 0, "eve": 1}


def test_what_joins_no_row_is_kept_with_its_line(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, BARE))
    lines = ["bob,2026-01-31,1", "ann,2026-01-31,", "ann,2026-01-31, 1", "ann,2026-02-01,0", "ann,x,0"]
    done, staging = shop.stage(told(tmp_path, *lines))
    (drop,) = done.drops
    assert (drop.rows_in, drop.ingested, drop.duplicates, drop.quarantined, drop.to) == (5, 1, 0, 4, "taken")
    assert drop.reasons == {
        "no row of this client and date": 2,
        "day: not a date as YYYY-MM-DD": 1,
        "left: missing": 1,
    }
    kept = [json.loads(line) for line in (staging / "quarantine" / "told.csv.jsonl").read_text().splitlines()]
    assert [(line["line"], line["reason"]) for line in kept] == [
        (2, "no row of this client and date"),
        (3, "left: missing"),
        (5, "no row of this client and date"),
        (6, "day: 'x' is not a date as YYYY-MM-DD"),
    ]
    assert (kept[0]["raw"], kept[0]["fields"]) == ("bob,2026-01-31,1", ["bob", "2026-01-31", "1"])


def test_what_changes_nothing_is_a_duplicate_and_a_correction_a_new_row(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, ROW))
    first = shop.take(told(tmp_path, "ann,2026-01-31,1", "ann,2026-01-31,0", "ann,2026-01-31,0"))
    assert first.rows == {"in": 3, "ingested": 1, "duplicates": 2, "quarantined": 0}
    assert shop.clients.frame()["left"].tolist() == [1, 0]
    again = shop.take(told(tmp_path, "ann,2026-01-31,0", "ann,2026-01-31,1", name="again.csv"))
    assert again.rows == {"in": 2, "ingested": 0, "duplicates": 2, "quarantined": 0}
    assert again.drops[0].notes == ["outcomes of 0 clients joined"]


def test_a_full_row_that_says_the_same_in_the_same_ingest_is_the_one_that_stays(shop: Shop, tmp_path: Path) -> None:
    done = shop.take(told(tmp_path, "ann,2026-01-31,1", name="a.csv"), csv(tmp_path, BARE, ROW, name="b.csv"))
    assert [(drop.ingested, drop.duplicates) for drop in done.drops] == [(0, 1), (2, 0)]


def test_a_client_whose_newest_row_waits_again_gets_the_outcome_that_was_said_before(tmp_path: Path) -> None:
    shop = Shop(tmp_path, portfolio(columns=CALLED, treated="called"))
    told = csv(tmp_path, "ann,2026-01-31,1", header="client,day,left", name="told.csv")
    for word in ("", "yes"):
        shop.take(csv(tmp_path, f"{BARE},{word}", header=f"{HEADER},called"))
        assert shop.take(told).rows["ingested"] == 1
    newest = shop.clients.frame()[["left", "called"]].iloc[-1]
    assert newest.tolist() == [1, True], "who was called is not learnt from as if nobody had"


def test_an_outcome_said_before_is_a_duplicate_whatever_was_learnt_of_the_treatment(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path, portfolio(columns=CALLED, treated="called"))
    shop.take(csv(tmp_path, f"{BARE},", header=f"{HEADER},called"))
    header = "client,day,called,left"
    first = csv(tmp_path, "ann,2026-01-31,,1", header=header, name="1.csv")
    second = csv(tmp_path, "ann,2026-01-31,yes,0", header=header, name="2.csv")
    both = csv(tmp_path, "ann,2026-01-31,no,1", "ann,2026-01-31,,0", header=header, name="3.csv")
    taken = [shop.take(each).rows["ingested"] for each in (first, second, first, second, both, first, both)]
    assert taken == [1, 1, 0, 0, 1, 0, 0]
    assert shop.clients.frame()["left"].dropna().tolist() == [1, 0, 1]
    shop.take(csv(tmp_path, f"{BARE.replace(',3,', ',4,')},", header=f"{HEADER},called", name="4.csv"))
    assert shop.take(first).rows["ingested"] == 1, "of other features nobody has said it"


@pytest.mark.parametrize(
    ("known", "header", "row", "called"),
    [
        ("", "client,day,called,left", "ann,2026-01-31,yes,0", 1),
        ("no", "client,day,called,left", "ann,2026-01-31,yes,0", 1),
        ("yes", "client,day,called,left", "ann,2026-01-31,,0", 1),
        ("yes", "client,day,left", "ann,2026-01-31,0", 1),
        ("yes", "client,day,called,left", "ann,2026-01-31,no,0", 0),
    ],
)
def test_the_treatment_is_taken_over_where_it_is_given(
    tmp_path: Path, known: str, header: str, row: str, called: float
) -> None:
    shop = Shop(tmp_path, portfolio(columns=CALLED, treated="called"))
    shop.take(csv(tmp_path, f"{ROW},{known}".replace(",1,", ",,"), header=f"{HEADER},called"))
    shop.take(told(tmp_path, row, header=header))
    assert shop.clients.frame()[["left", "called"]].iloc[1].tolist() == [0, called]


def test_a_treatment_that_rows_must_have_may_be_absent_from_outcomes(tmp_path: Path) -> None:
    columns = COLUMNS | {"called": {"type": "boolean"}}
    shop = Shop(tmp_path, portfolio(columns=columns, treated="called"))
    shop.take(csv(tmp_path, f"{BARE},no", header=f"{HEADER},called"))
    assert shop.take(told(tmp_path, "ann,2026-01-31,1")).rows["ingested"] == 1


@pytest.mark.parametrize(
    ("changes", "header", "says"),
    [
        ({"id": None}, TOLD, "missing column: plan, seats, active"),
        ({"as_of": None}, TOLD, "missing column: plan, seats, active"),
        ({}, "client,left", "missing column: day, plan, seats, active"),
        ({}, "client,day,seats,left", "missing column: plan, active"),
    ],
)
def test_what_is_no_drop_of_outcomes_lacks_columns(
    tmp_path: Path, changes: dict[str, Any], header: str, says: str
) -> None:
    shop = Shop(tmp_path, portfolio(**changes))
    shop.take(csv(tmp_path, BARE))
    row = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    (drop,) = shop.take(told(tmp_path, ",".join(row[name] for name in header.split(",")), header=header)).drops
    assert (drop.reasons, drop.to) == ({says: 1}, "quarantine")


def test_other_columns_of_outcomes_are_ignored_aloud(shop: Shop, tmp_path: Path) -> None:
    shop.take(csv(tmp_path, BARE))
    (drop,) = shop.take(told(tmp_path, "x,1,ann,2026-01-31", header="why,left,client,day")).drops
    assert "ignored column: why" in drop.notes


@pytest.mark.parametrize("client", ["'); DROP TABLE told; --", '"quoted"', "it's", "$1", "_row", "NULL"])
def test_hostile_texts_are_texts(tmp_path: Path, client: str) -> None:
    shop = Shop(tmp_path, portfolio(delimiter=";"))
    field = '"' + client.replace('"', '""') + '"'
    lines = [line.replace(",", ";") for line in (HEADER, BARE, TOLD, "ann,2026-01-31,1")]
    shop.take(csv(tmp_path, lines[1].replace("ann", field), header=lines[0]))
    assert shop.take(told(tmp_path, lines[3].replace("ann", field), header=lines[2])).rows["ingested"] == 1
    assert shop.clients.frame()["client"].tolist() == [client, client]


def test_outcomes_are_no_test_data(tmp_path: Path) -> None:
    told(tmp_path, "ann,2026-01-31,1")
    with pytest.raises(store.StoreError, match=r"test data told\.csv: outcomes without features: mend the file"):
        store.test_rows(portfolio(), tmp_path)


days, clients = st.sampled_from(["2026-01-31", "2026-02-28"]), st.sampled_from(["ann", "bob"])
full = st.builds(
    "{},{},Team,{},9.5,yes,{}".format, clients, days, st.sampled_from(["3", "8", "x"]), st.sampled_from(["", "0", "1"])
)
alone = st.builds("{},{},{}".format, clients, days, st.sampled_from(["", "0", "1", "2"]))
drops = st.lists(
    st.one_of(
        st.tuples(st.just(HEADER), st.lists(full, max_size=4)), st.tuples(st.just(TOLD), st.lists(alone, max_size=4))
    ),
    max_size=4,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=drops, now=drops, data=st.data())
def test_each_row_is_accounted_for_and_no_order_of_lines_matters(
    tmp_path_factory: pytest.TempPathFactory, before: Any, now: Any, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("shop")
    straight, mixed = Shop(root / "straight", portfolio()), Shop(root / "mixed", portfolio())
    for tick, given_drops in enumerate([before, now]):
        files = [csv(root, *rows, name=f"{tick}{n}.csv", header=header) for n, (header, rows) in enumerate(given_drops)]
        other = [
            csv(root, *data.draw(st.permutations(rows)), name=f"{tick}{n}-.csv", header=header)
            for n, (header, rows) in enumerate(given_drops)
        ]
        done, twin = straight.take(*files), mixed.take(*other)
        assert done.rows == twin.rows
        for drop, (_, rows) in zip(done.drops, given_drops, strict=True):
            assert drop.rows_in == len(rows) == drop.ingested + drop.duplicates + drop.quarantined
            assert sum(drop.reasons.values()) >= drop.quarantined
    frame = straight.clients.frame()
    assert mixed.clients.frame().equals(frame)
    known = set(zip(frame["client"], frame["day"].astype(str), frame["left"], strict=True))
    units = {(client, day) for client, day, _ in known}
    lines = [row.split(",") for header, rows in now if header == TOLD for row in rows]
    good = [(client, day, float(outcome)) for client, day, outcome in lines if outcome in ("0", "1")]
    assert {line for line in good if line[:2] in units} <= known, "what was told of a client that is there is known"
    unmatched = sum(line[:2] not in units for line in good)
    assert sum(drop.reasons.get("no row of this client and date", 0) for drop in done.drops) == unmatched


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_drops=st.lists(st.lists(full, max_size=3, unique_by=lambda row: tuple(row.split(",")[:2])), max_size=5))
def test_drops_that_come_together_leave_what_they_leave_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, given_drops: list[list[str]]
) -> None:
    root = tmp_path_factory.mktemp("shop")
    together, single = Shop(root / "together", portfolio()), Shop(root / "single", portfolio())
    files = [csv(root, *rows, name=f"{number}.csv") for number, rows in enumerate(given_drops)]
    done = together.take(*files)
    alone = [single.take(file) for file in files]
    assert [drop.duplicates for drop in done.drops] == [drop.duplicates for each in alone for drop in each.drops]
    now, then = (
        shop.clients.current()[HEADER.split(",")].sort_values("client", ignore_index=True)
        for shop in (together, single)
    )
    assert now.equals(then)


def test_columns_may_be_called_as_the_store_calls_its_own(tmp_path: Path) -> None:
    names = {"is_bad": {"type": "integer"}, "first": {"type": "text"}, "one": {"type": "text"}}
    given = portfolio(columns={**COLUMNS, **names}, target={"column": "went_bad"})
    shop, header = Shop(tmp_path, given), HEADER.replace("left", "is_bad,first,one,went_bad")
    shop.take(csv(tmp_path, "ann,2026-01-31,Team,3,9.5,yes,4,a,b,", header=header))
    assert shop.take(told(tmp_path, "ann,2026-01-31,1", header="client,day,went_bad")).rows["ingested"] == 1
    assert shop.clients.current()[["is_bad", "first", "one", "went_bad"]].to_numpy().tolist() == [[4, "a", "b", 1]]
