from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_kit import COLUMNS, DATA, PARAMS, ROW, SEED, Shop, csv, portfolio

from attrition import params
from attrition.summary import summarise, summarise_store


@pytest.mark.parametrize(("name", "drops"), [("capstone", SEED), ("telco", [DATA / "telco_sample.csv"])])
def test_frame_and_store_agree(tmp_path: Path, name: str, drops: list[Path]) -> None:
    shop = Shop(tmp_path, params.load(PARAMS / f"{name}.yaml"))
    shop.take(*drops)
    asked, computed = summarise_store(shop.clients), summarise(shop.clients.frame(), shop.portfolio)
    assert list(asked["columns"]) == list(shop.portfolio.columns)
    for column, found in asked.pop("columns").items():
        other = computed["columns"][column]
        sums = {measure: found.pop(measure) for measure in ("mean", "std") if measure in found}
        assert sums == pytest.approx({measure: other.pop(measure) for measure in sums}, rel=1e-9)
        assert found == other
    computed.pop("columns")
    assert asked == computed


def test_statistics_of_four_rows(tmp_path: Path) -> None:
    columns = COLUMNS | {"plan": {"type": "category"}}
    shop = Shop(tmp_path, portfolio(columns=columns))
    rows = [
        "a,2026-01-01,Team,1,,yes,1",
        "b,2026-01-01,Basic,2,4,yes,0",
        "c,2026-01-01,Team,3,6,no,",
        "d,2026-01-01,Zoë,10,8,yes,0",
    ]
    shop.take(csv(tmp_path, *rows))
    found = summarise_store(shop.clients)
    assert (found["rows"], found["labelled"], found["positive_share"]) == (4, 3, 0.333333333333)
    columns_ = found["columns"]
    assert columns_["seats"] == {
        "type": "integer",
        "missing": 0,
        "mean": 4,
        "median": 2.5,
        "std": 4.08248290464,
        "min": 1,
        "max": 10,
    }
    assert columns_["fee"] == {"type": "number", "missing": 0.25, "mean": 6, "median": 6, "std": 2, "min": 4, "max": 8}
    assert columns_["active"]["mean"] == 0.75
    assert columns_["plan"] == {"type": "category", "missing": 0, "top": [["Team", 2], ["Basic", 1], ["Zoë", 1]]}
    assert columns_["client"] == {"type": "text", "missing": 0}
    assert summarise(shop.clients.frame(), shop.portfolio) == found


def test_the_ten_most_common_in_one_order(tmp_path: Path) -> None:
    shop = Shop(tmp_path, portfolio(columns=COLUMNS | {"plan": {"type": "category"}}))
    shop.take(csv(tmp_path, *(ROW.replace("Team", f"p{n:02}") for n in range(15))))
    wanted = [[f"p{n:02}", 1] for n in range(10)]
    assert summarise_store(shop.clients)["columns"]["plan"]["top"] == wanted
    assert summarise(shop.clients.frame(), shop.portfolio)["columns"]["plan"]["top"] == wanted


@pytest.mark.parametrize(
    "rows", [[], [ROW], [ROW.replace("9.5", "")], [ROW.replace("9.5", x) for x in ("1.7e308", "-1.7e308", "1.6e308")]]
)
def test_json_holds_the_statistics_of_any_rows(tmp_path: Path, rows: list[str]) -> None:
    shop = Shop(tmp_path, portfolio())
    shop.take(csv(tmp_path, *rows))
    asked, computed = summarise_store(shop.clients), summarise(shop.clients.frame(), shop.portfolio)
    assert asked == computed
    assert json.loads(json.dumps(asked, allow_nan=False)) == asked
    assert asked["rows"] == len(rows)


def test_the_rows_since_a_version_are_asked_for_alone(tmp_path: Path) -> None:
    shop = Shop(tmp_path, portfolio())
    shop.take(csv(tmp_path, ROW, ROW.replace("9.5", ""), name="a.csv"))
    shop.take(csv(tmp_path, ROW.replace("ann", "bob").replace("Team", "Basic"), name="b.csv"))
    asked = summarise_store(shop.clients, after_version=1)
    assert asked == summarise(shop.clients.frame(after_version=1), shop.portfolio)
    assert (asked["rows"], asked["columns"]["plan"]["top"]) == (1, [["Basic", 1]])
