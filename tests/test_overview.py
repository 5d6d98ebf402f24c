"""The server notices that cron is dead: whatever cron starts would be dead with it."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import api_kit
import homes
import pytest
from api_kit import problem
from rights import closed

from attrition import health, overview
from attrition.book import Book, Outcome
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


def quiet(home, seconds, name="shop"):
    with Book.open(home.place(name).book) as book:
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


def completed(home, seconds):
    pointer = home.place("shop").executed / "latest.json"
    pointer.write_text(json.dumps(json.loads(pointer.read_text()) | {"finished_at": ago(seconds)}))


def test_a_clock_that_was_ahead_once_hides_no_cron_that_is_dead(home, client):
    year, days = 365 * 86_400, 3 * 86_400
    completed(home, -year)
    quiet(home, days)  # the clock was set right since
    found = client.get("/readyz").get_json()["portfolios"]["shop"]
    assert (found["stale"], found["unknown"]) == (True, None)
    assert found["tick_age"] == pytest.approx(days, abs=5)
    problem(client.get("/readyz?fresh=1"), 503)
    quiet(home, 10)
    assert client.get("/readyz?fresh=1").status_code == 200
    completed(home, 10)
    quiet(home, -year)
    assert client.get("/readyz").get_json()["portfolios"]["shop"]["tick_age"] == pytest.approx(10, abs=5)
    completed(home, -year)
    found = client.get("/readyz").get_json()["portfolios"]["shop"]
    assert (found["stale"], found["tick_age"], found["unknown"]) == (True, None, overview.AHEAD)
    assert overview.AHEAD in problem(client.get("/readyz?fresh=1"), 503)["detail"]
    assert overview.AHEAD in client.get("/").text


def test_a_clock_that_was_ahead_for_an_hour_makes_no_quiet_tick_younger(home, client):
    completed(home, 1700)
    quiet(home, 1900)  # later, by a clock that was set right
    assert client.get("/readyz").get_json()["stale"]


def test_a_stamp_of_a_moment_ahead_is_one_of_now(home, client):
    quiet(home, -overview.LEEWAY + 10)
    assert client.get("/readyz").get_json()["portfolios"]["shop"]["tick_age"] == 0


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


def rolled_back(home):
    """The book as a rollback from 0002 to 0001 leaves it; ``current.json`` is written after it."""
    with Book.open(home.place("shop").book) as book:
        run, sequence = book.begin("20260104T000000Z", ago(5))
        for version in ("0001", "0002"):
            trained = {"version": version, "sha256": "0"}
            better = Outcome("promoted", "better", 1, version, None, {}, proven=True, trained=trained)
            sequence = book.decided(sequence, run, better, ago(5))
        back = Outcome("rolled_back", "worse", 1, "0001", None, {}, proven=False, ended={"0002": "barred"})
        book.decided(sequence, run, back, ago(5))


def test_a_model_that_is_named_and_not_deployed_is_told(home):
    place = home.place("shop")
    rolled_back(home)
    homes.deploy(place, "0003", seed=1)
    found = overview.standing(Server(home, pause=0), "shop")
    assert "current.json names model 0003, and 0001 is deployed; the next tick" in found.trouble
    assert not found.barred
    homes.deploy(place, "0001", seed=1)
    assert overview.standing(Server(home, pause=0), "shop").trouble is None
    place.current.unlink()
    found = overview.standing(Server(home, pause=0), "shop")
    assert found.trouble == "current.json names no model, and 0001 is deployed; the next tick writes it anew"
    (doctor,) = (each for each in health.examine(home) if each.check == "shop: model")
    assert doctor.said == "current.json names no model, and 0001 is deployed"
    assert not doctor.ok


def test_a_model_that_was_rolled_back_and_still_serves_is_not_presented_as_fine(home):
    place = home.place("shop")
    homes.deploy(place, "0002", seed=1)
    client = api_kit.app(home).test_client()
    beside(home)
    quiet(home, 1, "other")
    assert client.get("/readyz").get_json()["trouble"] is False
    rolled_back(home)
    told = client.get("/readyz?portfolio=shop")
    assert "0002 was rolled back, and is never to be served again; the next tick" in problem(told, 503)["detail"]
    (place.models / "0001" / "model.pkl").write_bytes(b"spoilt")
    pointed = json.loads(place.current.read_text()) | {"version": "0001"}
    place.current.write_text(json.dumps(pointed))
    detail = problem(client.get("/readyz?portfolio=shop"), 503)["detail"]
    for part in ("0002 was rolled back", "model refused: its bytes are not those", "model 0002 goes on serving"):
        assert part in detail
    assert client.get("/model?portfolio=shop").get_json()["trouble"] == detail
    assert 'attrition_model_trouble{portfolio="shop"} 1' in client.get("/metrics").text
    assert "0002 was rolled back" in client.get("/").text
    found = client.get("/readyz").get_json()
    assert (found["status"], found["trouble"]) == ("ready", True), "the other portfolio serves"
    assert "0002 was rolled back" in found["portfolios"]["shop"]["trouble"]
    assert client.post("/prediction?portfolio=shop", json=homes.RECORD).get_json()["model"]["version"] == "0002"
    homes.deploy(place, "0001")
    assert client.get("/readyz").get_json()["trouble"] is False


def test_a_rollback_that_is_just_being_loaded_is_no_trouble(home):
    place = home.place("shop")
    homes.deploy(place, "0002", seed=1)
    app = api_kit.app(home)
    client = app.test_client()
    assert client.get("/readyz").status_code == 200
    app.extensions["server"].pause = 3600
    rolled_back(home)
    homes.deploy(place, "0001")
    found = client.get("/readyz").get_json()["portfolios"]["shop"]
    assert (found["model"]["version"], found["trouble"]) == ("0002", None)


def test_a_newer_model_that_is_refused_is_told_though_another_one_serves(home, client):
    place = home.place("shop")
    client.get("/readyz")
    homes.deploy(place, "0002", seed=1)
    (place.models / "0002" / "model.pkl").write_bytes(b"spoilt")
    found = client.get("/readyz").get_json()
    assert (found["status"], found["trouble"]) == ("ready", True)
    assert found["portfolios"]["shop"]["trouble"].endswith("; model 0001 goes on serving")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("latest.json", b"{torn"),
        ("latest.json", b"[1]"),
        ("latest.json", b"null"),
        ("latest.json", b"7"),
        ("book.db", b"{torn" * 999),
    ],
)
def test_records_that_cannot_be_read_are_stale_and_keep_nobody_from_serving(home, client, name, content):
    quiet(home, 1)
    assert not client.get("/readyz").get_json()["stale"]
    place = home.place("shop")
    (place.executed / name if name == "latest.json" else place.book).write_bytes(content)
    found = client.get("/readyz")
    assert (found.status_code, found.get_json()["stale"]) == (200, True)
    assert found.get_json()["portfolios"]["shop"]["unknown"].startswith(f"{name} cannot be read (")
    assert 'attrition_stale{portfolio="shop"} 1' in client.get("/metrics").text
    assert f"stale: {name} cannot be read" in client.get("/").text
    problem(client.get("/readyz?fresh=1"), 503)


def beside(home):
    """A second portfolio that is as the first."""
    shop, other = home.place("shop"), home.place("other")
    other.params.write_text(shop.params.read_text())
    shutil.copytree(shop.data, other.data)
    shutil.copytree(shop.executed, other.executed)
    shutil.copytree(shop.models, other.models)
    for path in (*other.models.glob("*/manifest.json"), other.current):
        path.write_text(path.read_text().replace('"shop"', '"other"'))
    return other


@pytest.mark.parametrize(
    ("name", "trouble", "unknown"),
    [
        ("models/shop", "models/shop/current.json cannot be read (Permission denied); mend", None),
        ("executed/shop", None, "executed/shop/latest.json cannot be read (Permission denied); mend"),
        ("data/shop", None, "data/shop/book.db cannot be read (Permission denied); mend"),
        ("data/shop/book.db", None, "book.db cannot be read (permission denied): mend its permissions"),
        ("params/shop.yaml", "params/shop.yaml cannot be read (Permission denied); mend", None),
    ],
)
def test_what_one_may_not_read_of_one_portfolio_is_told_and_is_its_trouble_alone(home, name, trouble, unknown):
    other = beside(home)
    client = api_kit.app(home).test_client()
    for portfolio in ("shop", "other"):
        quiet(home, 1, portfolio)
        assert client.post(f"/prediction?portfolio={portfolio}", json=homes.RECORD).status_code == 200
    path = home.root / name
    path.chmod(0o755)  # another stamp: without a change nothing is looked at
    if path == home.place("shop").params:
        path.write_text(path.read_text() + "# changed\n")
    with closed(path):
        found = client.get("/readyz").get_json()["portfolios"]
        for key, expected in (("trouble", trouble), ("unknown", unknown)):
            assert str(found["shop"][key]).startswith(str(expected))
        assert (found["shop"]["model"]["version"], found["shop"]["stale"]) == ("0001", unknown is not None)
        assert (found[other.name]["trouble"], found[other.name]["stale"]) == (None, False)
        lines = client.get("/metrics").text
        assert f'attrition_stale{{portfolio="shop"}} {int(unknown is not None)}' in lines
        assert 'attrition_stale{portfolio="other"} 0' in lines
        assert (trouble or unknown).partition(" ")[0] in client.get("/").text.split("<h2>")[0]
        for portfolio in ("shop", "other"):
            assert client.post(f"/prediction?portfolio={portfolio}", json=homes.RECORD).status_code == 200
        if unknown:
            assert unknown in problem(client.get("/readyz?fresh=1"), 503)["detail"]


def test_where_nobody_can_list_the_portfolios_those_in_memory_are_told(home, client):
    with closed(home.root / "params"):
        for path in ("/readyz", "/prediction", "/openapi.json"):
            found = client.post(path, json=homes.RECORD) if path == "/prediction" else client.get(path)
            assert (
                problem(found, 503)["detail"]
                == "params cannot be read (Permission denied); mend its permissions or the disk"
            )
        problem(client.get("/readyz?portfolio=shop"), 503)
    assert client.post("/prediction", json=homes.RECORD).status_code == 200
    with closed(home.root / "params"):
        assert client.post("/prediction", json=homes.RECORD).status_code == 200
        found = client.get("/readyz").get_json()["portfolios"]["shop"]
        assert found["trouble"].startswith("params/shop.yaml cannot be read (Permission denied)")
        assert client.get("/readyz?portfolio=shop").status_code == client.get("/metrics").status_code == 200
        problem(client.get("/readyz?portfolio=other"), 503)
    assert client.get("/readyz?portfolio=shop").get_json()["portfolios"]["shop"]["trouble"] is None


def test_a_book_in_which_a_page_is_damaged_is_the_trouble_of_its_portfolio_alone(home, client):
    path = home.place("shop").book
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    found = client.get("/readyz").get_json()["portfolios"]["shop"]
    assert found["unknown"].startswith("book.db cannot be read (")
    assert client.get("/metrics").status_code == 200


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
