import csv
import io

import api_kit
import duckdb
import homes
import pandas as pd
import pytest
import yaml
from api_kit import problem

from attrition import listing
from attrition.listing import Asked
from attrition.store.clients import commit_scores

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
OWNERS = ["Ann", "Bob", *FORMULAS]


def scored(place, number, run, rows):
    """Commit predictions: rows of id, as-of date, probability."""
    frame = pd.DataFrame(
        [(row, client, pd.Timestamp(as_of), 1, "0001", risk, run) for row, (client, as_of, risk) in enumerate(rows)],
        columns=["_row", "id", "as_of", "data_version", "model_version", "probability", "run"],
    )
    path = place.root / "staged.parquet"
    duckdb.sql(
        "COPY (SELECT _row::BIGINT AS _row, id, as_of::DATE AS as_of, data_version::BIGINT AS data_version,"
        f" model_version, probability, run FROM frame) TO '{path}' (FORMAT parquet)"
    )
    assert len(frame)
    commit_scores(place.scores, path, number, run)


@pytest.fixture
def place(tmp_path):
    """Eight clients of several owners, the riskiest first, with predictions of three days."""
    home = homes.make(tmp_path)
    place = home.place("shop")
    given = {**homes.GIVEN, "as_of": "since", "show": ["owner"]}
    given["columns"] = {**homes.COLUMNS, "owner": {"type": "text"}}
    place.params.write_text(yaml.safe_dump(given))
    ranked = pd.DataFrame({"rank": range(1, 9), "owner": OWNERS})
    names = "rank, rank AS _row, 'c-' || rank AS id, DATE '2026-03-20' AS as_of, 1 - rank / 10 AS probability, owner,"
    names += " if(rank < 5, 'high', 'low') AS band, ['usage ' || rank, 'plan'] AS reasons, '0001' AS model_version"
    duckdb.sql(f"COPY (SELECT {names}, '{homes.LAST}' AS run FROM ranked) TO '{place.ranking}' (FORMAT parquet)")
    assert len(ranked) == len(OWNERS)
    scored(place, 1, homes.FIRST, [("c-1", "2026-02-01", 0.1), ("c-2", "2026-03-19", 0.2)])
    scored(place, 2, homes.LAST, [("c-1", "2026-03-13", 0.5), ("c-1", "2026-03-20", 0.9), ("c-3", "2026-03-13", 0.9)])
    return place


def found(place, **asked):
    return [client["id"] for client in listing.page(place, Asked(**asked))["clients"]]


def test_clients_are_filtered_by_band_owner_and_id(place):
    assert found(place) == [f"c-{rank}" for rank in range(1, 9)]
    assert found(place, band="low", limit=2) == ["c-5", "c-6"]
    assert found(place, shown={"owner": "Bob"}) == ["c-2"]
    assert found(place, shown={"owner": "Bob"}, band="low") == []
    assert found(place, id="C-7") == ["c-7"]
    assert found(place, id="%") == []
    assert listing.page(place, Asked(band="low", limit=1))["total"] == 4


def test_the_change_is_against_the_newest_risk_of_a_week_ago(place):
    changes = {each["id"]: each for each in listing.page(place, Asked())["clients"]}
    assert changes["c-1"]["change"] == pytest.approx(0.9 - 0.5)
    assert str(changes["c-1"]["change_since"]) == "2026-03-13"
    assert changes["c-3"]["change"] == pytest.approx(0.7 - 0.9)
    assert changes["c-2"]["change"] is None, "a day ago is not a week ago"
    assert changes["c-4"]["change"] is None


def test_before_the_first_predictions_there_is_no_change(tmp_path):
    place = homes.make(tmp_path).place("shop")
    assert [each["change"] for each in listing.page(place, Asked())["clients"]] == [None] * 3


def test_a_spreadsheet_runs_nothing_of_the_export(place):
    text = listing.as_csv(place, Asked(limit=listing.MOST_EXPORTED)).decode()
    rows = [*csv.DictReader(io.StringIO(text, newline=""))]
    assert [row["id"] for row in rows] == [f"c-{rank}" for rank in range(1, 9)]
    assert [row["owner"] for row in rows] == ["Ann", "Bob", *(f"'{text}" for text in FORMULAS)]
    assert rows[0]["reasons"] == "usage 1; plan"
    assert float(rows[2]["change"]) < 0, "a number is no formula"
    assert listing.page(place, Asked(id="c-3"))["clients"][0]["owner"] == "=1+1", "what is stored stays as it is"


def test_the_route_exports_and_answers_304(place):
    client = api_kit.app(homes.Home(place.root)).test_client()
    response = client.get("/clients?format=csv&owner=Ann")
    assert (response.status_code, response.mimetype) == (200, "text/csv")
    assert len(response.text.splitlines()) == 2
    etag = {"If-None-Match": response.headers["ETag"]}
    assert client.get("/clients?format=csv&owner=Ann", headers=etag).status_code == 304
    assert [each["id"] for each in client.get("/clients?owner=Bob").get_json()["clients"]] == ["c-2"]


@pytest.mark.parametrize("query", ["ownr=Ann", "format=xml", "limit=100001&format=csv", "plan=basic"])
def test_a_question_that_is_none_is_refused(place, query):
    problem(api_kit.app(homes.Home(place.root)).test_client().get(f"/clients?{query}"), 400)


def test_a_column_that_the_list_lacks_yet_is_told(place):
    assert problem(api_kit.app(homes.Home(place.root)).test_client().get("/clients?owner=Ann&plan=x"), 400)
    with pytest.raises(listing.Refused, match="next assessment"):
        listing.page(place, Asked(shown={"segment": "a"}))
