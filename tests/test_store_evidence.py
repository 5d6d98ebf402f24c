"""What counts, in which version: by examples, and against the rules said a second time in plain Python."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from store_kit import CALLED, COLUMNS, ROW, Client, Shop, csv, history, portfolio, predictions

from attrition.params import Portfolio
from attrition.store.clients import Clients
from attrition.store.evidence import counted, trainable

BEFORE, DAYS = datetime.date(2026, 1, 1), 5


def shop(**changes: Any) -> Portfolio:
    return portfolio(columns=CALLED, treated="called", **changes)


def at(day: int) -> str:
    return str(BEFORE + datetime.timedelta(day))


def rows(folder: Path, given_shop: Portfolio, *versions: list[Client]) -> list[tuple[int, int]]:
    """Row and version of what counts in a history."""
    history(folder, given_shop, list(versions))
    found = counted(Clients(given_shop, folder), after_version=0).rows
    return list(zip(found["_row"], found["_counted"], strict=True))


def test_before_the_first_rows(tmp_path: Path) -> None:
    for given_shop in (shop(horizon="5d"), shop(id=None)):
        found = counted(Clients(given_shop, tmp_path / "none"), after_version=0, scores=tmp_path / "scores")
        assert (len(found.rows), found.left_out) == (0, {})
        assert trainable(Clients(given_shop, tmp_path / "none")).empty


def test_rows_are_as_in_a_frame_with_what_evidence_adds(tmp_path: Path) -> None:
    given_shop = shop()
    history(
        tmp_path / "c", given_shop, [[("ann", at(0), 1, None), ("bob", at(0), None, None)], [("bob", at(0), 0, None)]]
    )
    clients = Clients(given_shop, tmp_path / "c")
    found = counted(clients, after_version=0).rows
    added = ["_counted", "_key", "_model", "_probability"]
    assert sorted(found.columns[-4:]) == sorted(added)
    pd.testing.assert_frame_equal(found.drop(columns=added), clients.frame(labelled=True))
    assert found["_key"].tolist() == [f"ann {at(0)}", f"bob {at(0)}"]
    assert [str(found[name].dtype) for name in added] == ["int64", "object", "object", "float64"]
    assert found["_model"].tolist() == [None, None]


def test_each_row_is_a_unit_without_an_id(tmp_path: Path) -> None:
    given_shop = shop(id=None, as_of=None)
    history(tmp_path / "c", given_shop, [[("ann", at(0), 1, False), ("ann", at(0), 1, None), ("ann", at(0), 0, True)]])
    found = counted(Clients(given_shop, tmp_path / "c"), after_version=0)
    assert (found.rows["_key"].tolist(), found.left_out) == (["999", "998"], {"called": 1})
    assert trainable(Clients(given_shop, tmp_path / "c"))["_row"].tolist() == [1, 2]


def test_a_client_without_a_date_counts_once_ever(tmp_path: Path) -> None:
    given_shop = shop(as_of=None)
    versions: list[list[Client]] = [[("ann", at(0), None, None)], [("ann", at(1), 0, None)], [("ann", at(2), 1, None)]]
    assert rows(tmp_path / "c", given_shop, *versions) == [(2, 2)]
    clients = Clients(given_shop, tmp_path / "c")
    assert counted(clients, after_version=2).left_out == {"came again": 1}
    assert trainable(clients)["_row"].tolist() == [3]
    assert trainable(clients, to_row=2)["_row"].tolist() == [2]


def test_a_corrected_label_does_not_count_again_but_is_learnt_from(tmp_path: Path) -> None:
    versions: list[list[Client]] = [[("ann", at(0), 1, None)], [("ann", at(0), 0, None), ("ann", at(1), 0, None)]]
    assert rows(tmp_path / "c", shop(), *versions) == [(1, 1), (3, 2)]
    assert trainable(Clients(shop(), tmp_path / "c"))["_row"].tolist() == [2, 3]


def test_a_called_client_neither_counts_nor_trains(tmp_path: Path) -> None:
    versions: list[list[Client]] = [
        [("ann", at(0), 1, True), ("bob", at(0), 1, None)],
        [("ann", at(0), 0, False), ("bob", at(0), 1, True)],
    ]
    assert rows(tmp_path / "c", shop(), *versions) == [(2, 1)]
    clients = Clients(shop(), tmp_path / "c")
    assert counted(clients, after_version=0).left_out == {"called": 2, "came again": 1}
    assert trainable(clients)["_row"].tolist() == [3], "the newest that is known of a unit says whether it was called"


def test_an_outcome_counts_when_its_window_has_closed_of_churners_too(tmp_path: Path) -> None:
    given_shop = shop(horizon="5d")
    versions: list[list[Client]] = [
        [("ann", at(0), 1, None), ("bob", at(1), 0, None)],
        [("cat", at(4), None, None)],
        [("cat", at(5), None, None)],
        [],
        [("dan", at(9), None, None)],
    ]
    assert rows(tmp_path / "c", given_shop, *versions) == [(1, 3), (2, 5)]
    for version, waiting, train in [(2, 2, []), (3, 1, [1]), (4, 1, [1]), (5, 0, [1, 2])]:
        clients = Clients(given_shop, tmp_path / "c", version)
        assert counted(clients, after_version=version - 1).left_out.get("window still open", 0) == waiting
        assert trainable(clients)["_row"].tolist() == train


def test_windows_of_one_client_do_not_overlap(tmp_path: Path) -> None:
    given_shop = shop(horizon="5d")
    days = [0, 4, 5, 9, 10]
    versions: list[list[Client]] = [[("ann", at(day), 1, None) for day in days], [("bob", at(30), None, None)]]
    assert rows(tmp_path / "c", given_shop, *versions) == [(1, 1), (3, 1), (5, 2)]
    assert counted(Clients(given_shop, tmp_path / "c"), after_version=0).left_out == {"came again": 2}


def test_the_row_that_counts_first_keeps_the_window(tmp_path: Path) -> None:
    versions: list[list[Client]] = [
        [("ann", at(7), 1, None), ("bob", at(20), None, None)],
        [("ann", at(3), 0, None), ("ann", at(12), 0, None)],
    ]
    assert rows(tmp_path / "c", shop(horizon="5d"), *versions) == [(1, 1), (4, 2)]


def test_the_prediction_is_the_last_that_was_made_before_the_row_counted(tmp_path: Path) -> None:
    versions: list[list[Client]] = [[("ann", at(0), None, None), ("bob", at(0), 0, None)], [("ann", at(0), 1, None)]]
    history(tmp_path / "c", shop(), versions)
    made = [
        (1, "ann", at(0), 0, "0001", 0.1),
        (1, "ann", at(0), 1, "0002", 0.2),
        (1, "ann", at(1), 1, "0003", 0.3),
        (3, "ann", at(0), 2, "0004", 0.4),
        (2, "bob", at(0), 1, "0002", 0.5),
    ]
    predictions(tmp_path / "scores", made)
    found = counted(Clients(shop(), tmp_path / "c"), after_version=0, scores=tmp_path / "scores").rows
    assert found["_model"].tolist() == [None, "0002"]
    assert np.array_equal(found["_probability"], [np.nan, 0.2], equal_nan=True)


def test_a_prediction_of_a_client_without_a_date(tmp_path: Path) -> None:
    given_shop = shop(as_of=None)
    history(tmp_path / "c", given_shop, [[("ann", at(0), None, None)], [("ann", at(0), 1, None)]])
    predictions(tmp_path / "scores", [(1, "ann", None, 1, "0001", 0.1)])
    found = counted(Clients(given_shop, tmp_path / "c"), after_version=1, scores=tmp_path / "scores").rows
    assert found[["_key", "_model", "_probability"]].to_numpy().tolist() == [["ann", "0001", 0.1]]
    nobody = counted(Clients(shop(id=None, as_of=None), tmp_path / "c"), after_version=0, scores=tmp_path / "scores")
    assert nobody.rows["_model"].tolist() == [None]


@pytest.mark.parametrize("client", ["'); DROP TABLE wanted; --", '"', "it's", "$1", "NULL", "Zoë 😀"])
def test_hostile_texts_are_texts(tmp_path: Path, client: str) -> None:
    columns = {'cl"ient': {"type": "text"}, **{name: kind for name, kind in CALLED.items() if name != "client"}}
    given_shop = portfolio(columns=columns, id='cl"ient', treated="called", horizon="1d")
    ticks = Shop(tmp_path, given_shop)
    header = '"cl""ient",day,plan,seats,fee,active,left,called'
    field = '"' + client.replace('"', '""') + '"'
    ticks.take(csv(tmp_path, f"{ROW[:-1]},".replace("ann", field), header=header))
    predictions(tmp_path / "scores", [(1, client, "2026-01-31", 1, "0001", 0.1)])
    later = f"{ROW[:-1]},".replace("ann", "new").replace("01-31", "02-28")
    ticks.take(
        csv(tmp_path, f"{field},2026-01-31,1", header='"cl""ient",day,left'),
        csv(tmp_path, later, name="later.csv", header=header),
    )
    found = counted(ticks.clients, after_version=1, scores=tmp_path / "scores").rows
    assert found[['cl"ient', "_model"]].to_numpy().tolist() == [[client, "0001"]]
    assert trainable(ticks.clients)['cl"ient'].tolist() == [client]


def test_a_whole_number_is_a_name_beyond_the_doubles(tmp_path: Path) -> None:
    ticks = Shop(tmp_path, portfolio(id="seats", columns=COLUMNS | {"seats": {"type": "integer"}}))
    big = [2**53, 2**53 + 1]
    ticks.take(csv(tmp_path, *(ROW.replace(",3,", f",{number},") for number in big)))
    predictions(tmp_path / "scores", [(1, str(big[1]), "2026-01-31", 0, "0001", 0.1)])
    found = counted(ticks.clients, after_version=0, scores=tmp_path / "scores").rows.set_index("seats")
    assert found["_model"].to_dict() == {str(big[0]): None, str(big[1]): "0001"}


def by_hand(given_shop: Portfolio, versions: list[list[Client]]) -> tuple[dict[int, int], list[tuple[int, str]], int]:
    """The rules said again, version by version: rows that count, why others do not, and how many wait."""
    counts: dict[int, int] = {}
    why: list[tuple[int, str]] = []
    seen: set[Any] = set()
    kept: dict[str, list[int]] = {}
    waiting: list[tuple[int, int, str]] = []
    clock, row = -1, 0
    for version, arrived in enumerate(versions, start=1):
        for client, date, outcome, called in arrived:
            row += 1
            day = (datetime.date.fromisoformat(date) - BEFORE).days
            clock = max(clock, day)
            if outcome is None:
                continue
            unit = row if given_shop.id is None else (client, day if given_shop.as_of else 0)
            if called:
                why.append((version, "called"))
            elif unit in seen:
                why.append((version, "came again"))
            else:
                waiting.append((day, row, client))
            seen.add(unit)
        horizon = given_shop.horizon
        for day, number, client in sorted(waiting):
            if horizon is None:
                counts[number] = version
            elif day + horizon <= clock:
                if any(abs(day - other) < horizon for other in kept.get(client, [])):
                    why.append((version, "came again"))
                else:
                    counts[number] = version
                    kept.setdefault(client, []).append(day)
        waiting = [each for each in waiting if horizon is not None and each[0] + horizon > clock]
    return counts, why, len(waiting)


arrivals = st.tuples(
    st.sampled_from(["ann", "bob"]),
    st.integers(0, 3 * DAYS).map(at),
    st.sampled_from([None, 0, 1, 1]),
    st.sampled_from([None, None, False, True]),
)
histories = st.lists(st.lists(arrivals, max_size=6), min_size=1, max_size=5)
shops = st.sampled_from([shop(horizon=f"{DAYS}d"), shop(horizon=f"{DAYS}d"), shop(), shop(as_of=None), shop(id=None)])
INTO_THE_PAST: list[list[Client]] = [
    [("ann", at(0), 1, None)],
    [("ann", at(4), 1, None), ("bob", at(9), None, None)],
    [("ann", at(2), 0, None)],
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(given_shop=shop(horizon="5d"), versions=INTO_THE_PAST, cut=1)
@given(given_shop=shops, versions=histories, cut=st.integers(0, 4))
def test_replay_equals_increments_and_the_rules_said_again(
    tmp_path_factory: pytest.TempPathFactory, given_shop: Portfolio, versions: list[list[Client]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("shop") / "clients"
    history(folder, given_shop, versions)
    cut, last = min(cut, len(versions)), len(versions)
    whole, steps = counted(Clients(given_shop, folder), after_version=0), []
    for after, upto in ((0, cut), (cut, last), (0, last)):
        found = counted(Clients(given_shop, folder, upto), after_version=after)
        counts, why, waiting = by_hand(given_shop, versions[:upto])
        wanted = sorted((version, row) for row, version in counts.items() if version > after)
        assert list(zip(found.rows["_counted"], found.rows["_row"], strict=True)) == wanted
        left = Counter(reason for version, reason in why if version > after) + Counter({"window still open": waiting})
        assert found.left_out == dict(left)
        for _, keys in found.rows.groupby("_counted")["_key"]:
            assert keys.is_unique
        steps.append(found.rows)
    pd.testing.assert_frame_equal(pd.concat(steps[:2], ignore_index=True), whole.rows, check_dtype=len(whole.rows) > 0)
    labelled = sum(outcome is not None for arrived in versions for _, _, outcome, _ in arrived)
    assert len(whole.rows) + sum(whole.left_out.values()) == labelled, "each row with an outcome is accounted for"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_shop=shops, versions=histories, to_row=st.one_of(st.none(), st.integers(0, 15)))
def test_what_is_trained_on_is_the_newest_of_each_unit(
    tmp_path_factory: pytest.TempPathFactory,
    given_shop: Portfolio,
    versions: list[list[Client]],
    to_row: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("shop") / "clients"
    history(folder, given_shop, versions)
    everybody = [row for arrived in versions for row in arrived]
    latest = max((row[1] for row in everybody), default="")
    newest: dict[Any, int] = {}
    for number, (client, date, outcome, _) in enumerate(everybody, start=1):
        if outcome is not None and (to_row is None or number <= to_row):
            newest[number if given_shop.id is None else (client, date if given_shop.as_of else "")] = number

    def learnt(number: int) -> bool:
        _, date, _, called = everybody[number - 1]
        closes = datetime.date.fromisoformat(date) + datetime.timedelta(given_shop.horizon or 0)
        return not called and (given_shop.horizon is None or str(closes) <= latest)

    found = trainable(Clients(given_shop, folder), to_row=to_row)
    assert found["_row"].tolist() == sorted(filter(learnt, newest.values()))
    assert found.columns.tolist() == [*given_shop.columns, "left", "_row", "_version"]
