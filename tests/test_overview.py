"""The server notices that cron is dead: whatever cron starts would be dead with it."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import api_kit
import homes
import pytest
from api_kit import problem

from attrition import overview
from attrition.book import Book
from attrition.home import UsageError
from attrition.serving import MOST_LOADED, Server


@pytest.fixture
def home(tmp_path):
    return homes.make(tmp_path)


@pytest.fixture
def client(home):
    return api_kit.app(home).test_client()


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def quiet(home, seconds):
    with Book.open(home.place("shop").book) as book:
        book.quiet(ago(seconds))


@pytest.mark.parametrize(("seconds", "stale"), [(10, False), (1700, False), (1900, True)])
def test_stale_is_when_no_good_tick_came_for_two_intervals(home, client, seconds, stale):
    quiet(home, seconds)
    found = client.get("/readyz").get_json()
    assert (found["stale"], found["portfolios"]["shop"]["stale"]) == (stale, stale)
    assert found["portfolios"]["shop"]["tick_age"] == pytest.approx(seconds, abs=5)
    assert f'attrition_stale{{portfolio="shop"}} {int(stale)}' in client.get("/metrics").text
    assert ("stale" in client.get("/").text.split("<h2>")[0]) == stale
    assert client.get("/readyz?fresh=1").status_code == (503 if stale else 200)


def test_the_interval_is_what_cron_has(home, client, monkeypatch):
    quiet(home, 1900)
    monkeypatch.setenv("ATTRITION_INTERVAL", "86400")
    assert client.get("/readyz?fresh=1").status_code == 200
    for wrong in ("x", "0", "-5", "nan", "inf"):
        monkeypatch.setenv("ATTRITION_INTERVAL", wrong)
        with pytest.raises(UsageError, match="ATTRITION_INTERVAL"):
            overview.interval()


def test_a_run_that_failed_is_no_good_tick_and_one_that_completed_is(home, client):
    place = home.place("shop")
    with Book.open(place.book) as book:
        book.begin("20260104T000000Z", ago(5))  # at work, or cut short: it has not ended well
    assert client.get("/readyz").get_json()["stale"]
    pointer = place.executed / "latest.json"
    pointer.write_text(json.dumps(json.loads(pointer.read_text()) | {"finished_at": ago(5)}))
    assert not client.get("/readyz").get_json()["stale"]


def test_while_a_run_is_at_work_the_last_decision_is_told_and_its_page_linked(home, client):
    with Book.open(home.place("shop").book) as book:
        run, _ = book.begin("20260104T000000Z", ago(5))
    assert 'attrition_last_decision_info{portfolio="shop",decision="held"} 1' in client.get("/metrics").text
    page = client.get("/").text
    assert f"/pages/shop/{homes.LAST}/index.html" in page
    assert run not in page


def test_one_portfolio_that_cannot_serve_does_not_make_the_others_unready(home, client):
    other = home.place("other")
    other.params.write_text("title: [")
    assert client.get("/readyz").status_code == 200
    assert "cannot be used" in client.get("/readyz").get_json()["portfolios"]["other"]["trouble"]
    problem(client.get("/readyz?portfolio=other"), 503)
    home.place("shop").current.unlink()
    problem(api_kit.app(home).test_client().get("/readyz"), 503)


def test_a_portfolio_without_a_tick_is_not_stale(home, client):
    other = home.place("other")
    other.params.write_text(home.place("shop").params.read_text())
    quiet(home, 1)
    assert not client.get("/readyz?fresh=1").get_json()["portfolios"]["other"]["stale"]
    assert "never" in client.get("/").text


def test_models_in_memory_are_bounded(home):
    text = home.place("shop").params.read_text()
    names = [f"p{number}" for number in range(MOST_LOADED + 5)]
    for name in names:
        home.place(name).params.write_text(text)
    server = Server(home, pause=0)
    assert server.portfolio("shop").manifest.version == "0001"
    for name in names:
        server.look(name)
        assert len(server.loaded) <= MOST_LOADED
    assert "shop" not in server.loaded
    assert server.portfolio("shop").manifest.version == "0001"
    assert "shop" in server.loaded
    assert len(overview.standings(server)) == MOST_LOADED + 6


def test_who_asks_how_all_stand_pushes_out_no_model(home):
    place = home.place("shop")
    for number in range(MOST_LOADED + 5):
        other = home.place(f"a{number:02d}")
        other.params.write_text(place.params.read_text())
        shutil.copytree(place.models, other.models)
    server = Server(home, pause=0)
    served = server.portfolio("shop")
    found = {each.name: each for each in overview.standings(server)}
    assert server.loaded["shop"][0] is served
    assert found["shop"].loaded
    assert sum(each.loaded for each in found.values()) == len(server.loaded) == MOST_LOADED
    last = found[f"a{MOST_LOADED + 4:02d}"]
    assert (last.loaded, last.model, last.trouble) == (False, served.identity, None), "it is deployed, not 'none yet'"
    home.place(last.name).current.write_text("{")
    assert "model refused" in overview.standing(server, last.name, load=False).trouble


@pytest.mark.parametrize("name", ["latest.json", "book.db"])
def test_records_that_cannot_be_read_are_stale_and_keep_nobody_from_serving(home, client, name):
    quiet(home, 1)
    assert not client.get("/readyz").get_json()["stale"]
    place = home.place("shop")
    (place.executed / name if name == "latest.json" else place.book).write_bytes(b"{torn" * 999)
    found = client.get("/readyz")
    assert (found.status_code, found.get_json()["stale"]) == (200, True)
    assert 'attrition_stale{portfolio="shop"} 1' in client.get("/metrics").text
    assert "unknown" in client.get("/").text
    problem(client.get("/readyz?fresh=1"), 503)


def test_what_has_not_changed_is_not_read_again(home, client, monkeypatch):
    client.get("/readyz")
    opened = []
    monkeypatch.setattr(overview.Book, "open", lambda *given, **options: opened.append(given))
    client.get("/readyz")
    assert not opened


def test_the_page_escapes_what_it_shows(home, client):
    (home.place("shop").models / "0001" / "model.pkl").write_bytes(b"x")
    standing = overview.standing(Server(home, pause=0), "shop")
    evil = overview.Standing("shop", None, "<script>", 5.0, False, "<b>", standing.run)
    page = overview.page([evil], [("/<x>", "GET", "<i>")])
    assert not [tag for tag in ("<script>", "<b>", "<x>", "<i>") if tag in page]
