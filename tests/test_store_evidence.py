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
from attrition.store.evidence import counted, held_out, trainable

BEFORE, DAYS = datetime.date(2026, 1, 1), 5


def shop(**changes: Any) -> Portfolio:
    return portfolio(columns=CALLED, treated="called", **changes)


def at(day: int) -> str:
    return str(BEFORE + datetime.timedelta(day))


def rows(folder: Path, given_shop: Portfolio, *versions: list[Client]) -> list[tuple[int, int]]:
    """Row and version of what counts in a history."""
    history(folder, given_shop, list(versions))
    found = counted(Clients(given_shop, folder), after_version=0).rows
    return sorted(zip(found["_row"], found["_counted"], strict=True))


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
    assert (found.rows["_key"].tolist(), found.left_out) == (["998", "999"], {"called": 1})
    assert sorted(trainable(Clients(given_shop, tmp_path / "c"))["_row"]) == [1, 2]


def test_a_client_without_a_date_counts_once_ever(tmp_path: Path) -> None:
    given_shop = shop(as_of=None)
    versions: list[list[Client]] = [[("ann", at(0), None, None)], [("ann", at(1), 0, None)], [("ann", at(2), 1, None)]]
    assert rows(tmp_path / "c", given_shop, *versions) == [(2, 2)]
    clients = Clients(given_shop, tmp_path / "c")
    assert counted(clients, after_version=2).left_out == {"came again": 1}
    assert trainable(clients)["_row"].tolist() == [3]


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
    assert counted(clients, after_version=0).left_out == {"called": 1, "came again": 2}
    assert trainable(clients).empty, "neither who was called when it counted nor of whom it is known since"


def test_an_outcome_counts_when_its_window_has_closed_of_churners_too(tmp_path: Path) -> None:
    given_shop = shop(horizon="5d")
    versions: list[list[Client]] = [
        [("ann", at(0), 1, None), ("bob", at(1), 0, None)],
        [("cat", at(4), None, None)],
        [("cat", at(5), None, None)],
        [("eve", at(5), None, None)],
        [("dan", at(9), None, None)],
        [("fay", at(9), None, None)],
    ]
    assert rows(tmp_path / "c", given_shop, *versions) == [(1, 4), (2, 6)]  # the version after the one that closes
    for version, waiting, train in [(2, 2, []), (3, 2, []), (4, 1, [1]), (5, 1, [1]), (6, 0, [1, 2])]:
        clients = Clients(given_shop, tmp_path / "c", version)
        assert counted(clients, after_version=0).left_out.get("window still open", 0) == waiting
        assert "window still open" not in counted(clients, after_version=1).left_out, (
            "told when it came, not ever again"
        )
        assert trainable(clients)["_row"].tolist() == train


def test_windows_of_one_client_do_not_overlap(tmp_path: Path) -> None:
    given_shop = shop(horizon="5d")
    days = [0, 4, 5, 9, 10]
    last: list[list[Client]] = [[("bob", at(30), None, None)], [("cat", at(30), None, None)]]
    versions: list[list[Client]] = [[("ann", at(day), 1, None) for day in days], *last]
    assert rows(tmp_path / "c", given_shop, *versions) == [(1, 2), (3, 2), (5, 3)]
    assert counted(Clients(given_shop, tmp_path / "c"), after_version=0).left_out == {"came again": 2}


def test_the_row_that_counts_first_keeps_the_window(tmp_path: Path) -> None:
    versions: list[list[Client]] = [
        [("ann", at(7), 1, None), ("bob", at(20), None, None)],
        [("cat", at(20), None, None)],
        [("ann", at(3), 0, None), ("ann", at(12), 0, None)],
    ]
    assert rows(tmp_path / "c", shop(horizon="5d"), *versions) == [(1, 2), (5, 3)]


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
    ticks.take(csv(tmp_path, later.replace("new", "other"), name="last.csv", header=header))
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


def by_hand(given_shop: Portfolio, versions: list[list[Client]]) -> tuple[dict[int, int], list[tuple[int, str]]]:
    """The rules said again, version by version: rows that count, and why others do not."""
    counts: dict[int, int] = {}
    why: list[tuple[int, str]] = []
    told: dict[Any, list[tuple[int, int, bool]]] = {}  # of units whose window is open
    about: dict[Any, tuple[int, str]] = {}
    settled: set[Any] = set()
    kept: dict[str, list[int]] = {}
    latest, row, horizon = -1, 0, given_shop.horizon
    for version, arrived in enumerate(versions, start=1):
        clock = latest if arrived else -1  # an empty version is none
        for client, date, outcome, called in arrived:
            row += 1
            day = (datetime.date.fromisoformat(date) - BEFORE).days
            latest = max(latest, day)
            if outcome is None:
                continue
            unit = row if given_shop.id is None else (client, day if given_shop.as_of else 0)
            about[unit] = (day, client)
            if unit in settled:
                why.append((version, "came again"))
            else:
                told.setdefault(unit, []).append((row, version, bool(called)))
        closing = [unit for unit in told if horizon is None or (arrived and about[unit][0] + horizon <= clock)]
        for unit in sorted(closing, key=lambda unit: (about[unit][0], told[unit][-1][0])):
            *before, (number, _, _) = said = told.pop(unit)
            settled.add(unit)
            day, client = about[unit]
            overlaps = horizon is not None and any(abs(day - other) < horizon for other in kept.get(client, []))
            if not overlaps:
                kept.setdefault(client, []).append(day)
            if any(called for *_, called in said):
                why.append((version, "called"))
            elif overlaps:
                why.append((version, "came again"))
            else:
                counts[number] = version
            why += [(came, "came again") for _, came, _ in before]
    for *before, (_, version, _) in told.values():
        why += [*((came, "came again") for _, came, _ in before), (version, "window still open")]
    return counts, why


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
        counts, why = by_hand(given_shop, versions[:upto])
        wanted = sorted((version, row) for row, version in counts.items() if version > after)
        assert sorted(zip(found.rows["_counted"], found.rows["_row"], strict=True)) == wanted
        assert found.rows["_counted"].is_monotonic_increasing
        left = Counter(reason for version, reason in why if version > after)
        assert found.left_out == dict(left)
        for _, keys in found.rows.groupby("_counted")["_key"]:
            assert keys.is_unique
        steps.append(found.rows)
    pd.testing.assert_frame_equal(pd.concat(steps[:2], ignore_index=True), whole.rows, check_dtype=len(whole.rows) > 0)
    labelled = sum(outcome is not None for arrived in versions for _, _, outcome, _ in arrived)
    assert len(whole.rows) + sum(whole.left_out.values()) == labelled, "each row with an outcome is accounted for"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_shop=shops, versions=histories)
def test_what_is_trained_on_is_the_last_word_on_each_unit_that_counts(
    tmp_path_factory: pytest.TempPathFactory, given_shop: Portfolio, versions: list[list[Client]]
) -> None:
    folder = tmp_path_factory.mktemp("shop") / "clients"
    history(folder, given_shop, versions)
    everybody = [row for arrived in versions for row in arrived]

    def unit(number: int) -> Any:
        client, date, *_ = everybody[number - 1]
        return number if given_shop.id is None else (client, date if given_shop.as_of else "")

    newest = {unit(number): number for number, row in enumerate(everybody, start=1) if row[2] is not None}
    counts, _ = by_hand(given_shop, versions)
    wanted = {newest[unit(row)]: version for row, version in counts.items()}
    found = trainable(Clients(given_shop, folder))
    learnt = {row: version for row, version in wanted.items() if not everybody[row - 1][3]}
    assert dict(zip(found["_row"], found["_counted"], strict=True)) == learnt
    assert found.columns.tolist() == [*given_shop.columns, "left", "_row", "_version", "_key", "_counted"]


def test_the_order_of_what_counts_does_not_know_the_outcomes(tmp_path: Path) -> None:
    """Leavers are told of at once and stayers when the window closes: sorted by row, the last would be stayers."""
    given_shop, people = shop(horizon="5d"), [f"p{number}" for number in range(60)]
    versions: list[list[Client]] = [
        [(one, at(0), None, None) for one in people],
        [(one, at(0), 1, None) for one in people[:30]],
        [("new", at(9), None, None)],
        [(one, at(0), 0, None) for one in people[30:]],
    ]
    history(tmp_path / "c", given_shop, versions)
    for found in (
        counted(Clients(given_shop, tmp_path / "c"), after_version=0).rows,
        trainable(Clients(given_shop, tmp_path / "c")),
    ):
        assert (found["_counted"] == 4).all()
        assert 8 <= found["left"].tail(30).sum() <= 22


def test_the_last_word_before_the_window_closes_is_what_counts(tmp_path: Path) -> None:
    given_shop = shop(horizon="5d")
    versions: list[list[Client]] = [
        [("ann", at(0), 0, None), ("bob", at(0), 0, None)],
        [("ann", at(0), 1, None), ("bob", at(0), 0, True)],
        [("new", at(9), None, None)],
        [("other", at(9), None, None)],
        [("ann", at(0), 0, None)],
    ]
    assert rows(tmp_path / "c", given_shop, *versions) == [(3, 4)]  # that ann has left; that bob was called
    assert trainable(Clients(given_shop, tmp_path / "c"))["_row"].tolist() == [7]


def test_a_window_that_overlaps_that_of_a_called_one_does_not_count(tmp_path: Path) -> None:
    versions: list[list[Client]] = [[("ann", at(0), 0, True), ("ann", at(3), 1, None), ("bob", at(30), None, None)]]
    assert rows(tmp_path / "c", shop(horizon="5d"), *versions) == []


def test_who_was_on_the_list_counts_only_when_held_out(tmp_path: Path) -> None:
    people = [f"p{number}" for number in range(80)]
    versions: list[list[Client]] = [
        [(one, at(0), None, None) for one in people],
        [(one, at(0), 1, None) for one in people],
    ]
    history(tmp_path / "c", shop(), versions)
    risks = {one: 0.9 if number < 60 else 0.1 for number, one in enumerate(people)}
    predictions(tmp_path / "scores", [(1, one, at(0), 1, "0001", risk) for one, risk in risks.items()])
    clients = Clients(shop(), tmp_path / "c")
    found = counted(clients, after_version=1, scores=tmp_path / "scores")
    spared = held_out(shop(), pd.Series(people))
    wanted = {one for one, out in zip(people, spared, strict=True) if risks[one] < 0.5 or out}
    assert set(found.rows["client"]) == wanted
    assert 20 < len(wanted) < 40
    assert found.left_out == {"on the list to be called": 80 - len(wanted)}
    assert set(trainable(clients, scores=tmp_path / "scores")["client"]) == wanted
