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
from attrition.store.batches import write_batch
from attrition.store.ranking import ROWS, write_ranking

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
OWNERS = ["Ann", "Bob", *FORMULAS]


@pytest.fixture
def place(tmp_path):
    """Eight clients of several owners, the riskiest first, in their last assessment and in the one before."""
    home = homes.make(tmp_path)
    place = home.place("shop")
    given = {**homes.GIVEN, "as_of": "since", "show": ["owner"]}
    given["columns"] = {**homes.COLUMNS, "owner": {"type": "text"}}
    place.params.write_text(yaml.safe_dump(given))
    place.ranking.unlink()
    earlier = [("c-1", "2026-03-13", 0.5), ("c-2", "2026-03-19", 0.2), ("c-3", "2026-03-12", 0.9)]
    assess(place, homes.FIRST, earlier)
    assess(place, homes.LAST, [(f"c-{rank}", "2026-03-20", 1 - rank / 10) for rank in range(1, 9)])
    return place


def assess(place, run, clients):
    """Put a ranking in its place that an assessment of clients (id, as-of date, probability) makes of the one there."""
    frame = pd.DataFrame(clients, columns=["id", "as_of", "probability"])
    rank = frame["id"].str[2:].astype(int)
    frame["as_of"] = pd.to_datetime(frame["as_of"])
    facts = {"data_version": 1, "model_version": "0001", "run": run, "hold_out": rank == 1, "gone": rank == 3}
    told = {"band": ["high" if each < 5 else "low" for each in rank], "owner": [OWNERS[each - 1] for each in rank]}
    reasons = [[f"usage {each}", "plan"] for each in rank]
    staging = place.root / "staging"
    staging.mkdir(exist_ok=True)
    write_batch(
        frame.assign(_row=range(1, len(frame) + 1), **facts, **told, reasons=reasons), staging / "batch.parquet"
    )
    write_ranking([staging / "batch.parquet"], staging, place.ranking)
    (staging / "ranking.parquet").replace(place.ranking)


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


def test_who_left_or_is_held_out_is_not_to_be_called(place):
    assert found(place, to_call=True, limit=3) == ["c-2", "c-4", "c-5"]
    client = api_kit.app(homes.Home(place.root)).test_client()
    assert client.get("/clients?to_call=1").get_json()["total"] == 6
    assert client.get("/clients?to_call=0").get_json()["total"] == 8
    problem(client.get("/clients?to_call=2"), 400)


def test_the_change_is_against_the_newest_risk_of_a_week_ago(place):
    changes = {each["id"]: each for each in listing.page(place, Asked())["clients"]}
    assert changes["c-1"]["change"] == pytest.approx(0.9 - 0.5)
    assert str(changes["c-1"]["change_since"]) == "2026-03-13"
    assert changes["c-3"]["change"] == pytest.approx(0.7 - 0.9)
    assert changes["c-2"]["change"] is None, "a day ago is not a week ago"
    assert changes["c-4"]["change"] is None


def test_a_ranking_of_before_there_were_changes_has_none(tmp_path):
    place = homes.make(tmp_path).place("shop")
    assert [each["change"] for each in listing.page(place, Asked())["clients"]] == [None] * 3


def test_a_list_without_clients_is_still_of_a_run(place):
    found = listing.page(place, Asked(id="nobody"))
    assert (found["total"], found["clients"], found["run"], found["model"]) == (0, [], homes.LAST, "0001")


def test_a_page_is_the_same_with_a_filter_that_all_pass(place):
    for limit, offset in ((3, 0), (3, 6), (50, 8), (0, 0)):
        plain = listing.page(place, Asked(limit=limit, offset=offset))
        assert plain == listing.page(place, Asked(id="", limit=limit, offset=offset))
        assert [each["rank"] for each in plain["clients"]] == [*range(1, 9)][offset : offset + limit]


def test_a_page_reads_neither_history_nor_more_than_its_part_of_the_ranking(place):
    """The first half of a large ranking is spoilt: a page of the second half is not hindered by it."""
    many = 4 * ROWS
    whole = duckdb.connect().execute("FROM read_parquet(?)", [str(place.ranking)]).df().drop(columns=["rank", "trail"])
    rows = pd.concat([whole.head(1)] * many, ignore_index=True)
    rows["_row"], rows["id"] = range(many), [f"c-{number}" for number in range(many)]
    rows["probability"] = [1 - number / many for number in range(many)]
    write_batch(rows.drop(columns=["change", "change_since"]), place.root / "staging" / "many.parquet")
    write_ranking([place.root / "staging" / "many.parquet"], place.root / "staging", place.root / "none")
    (place.root / "staging" / "ranking.parquet").replace(place.ranking)
    content = bytearray(place.ranking.read_bytes())
    for first, length in (
        duckdb.connect()
        .execute(
            "SELECT data_page_offset, total_compressed_size FROM parquet_metadata(?)"
            " WHERE row_group_id < 2 AND path_in_schema LIKE 'reasons%'",
            [str(place.ranking)],
        )
        .fetchall()
    ):
        content[first : first + length // 2] = b"\xff" * (length // 2)
    place.ranking.write_bytes(content)
    with pytest.raises(listing.Refused):
        listing.page(place, Asked(limit=5))
    found = listing.page(place, Asked(limit=5, offset=3 * ROWS))
    assert [each["rank"] for each in found["clients"]] == [*range(3 * ROWS + 1, 3 * ROWS + 6)]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 5000])
def test_a_ranking_that_is_damaged_is_told_and_not_waited_for(place, content):
    place.ranking.write_bytes(content)
    detail = problem(api_kit.app(homes.Home(place.root)).test_client().get("/clients"), 503)["detail"]
    assert "backup" in detail


def test_nobody_gets_a_part_for_the_whole(place, monkeypatch):
    monkeypatch.setattr(listing, "MOST_EXPORTED", 7)
    client = api_kit.app(homes.Home(place.root)).test_client()
    assert "8 clients" in problem(client.get("/clients?format=csv"), 413)["detail"]
    assert len(client.get("/clients?format=csv&limit=7").text.splitlines()) == 8
    assert len(client.get("/clients?format=csv&band=high").text.splitlines()) == 5
    assert client.get("/clients?format=csv&offset=1").text.count("\r\n") == 8


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
