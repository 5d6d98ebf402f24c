import json
import sqlite3
from html.parser import HTMLParser

import api_kit
import homes
import pytest
from api_kit import PAGES, RECORDED, RUN, problem
from rights import closed

from attrition.book import Book
from attrition.book_file import BRIEFLY


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for the tests that change nothing in it."""
    return homes.make(tmp_path_factory.mktemp("home"))


@pytest.fixture
def app(home):
    return api_kit.app(home)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def own(tmp_path):
    """A home of the test's own, and a client that looks at it."""
    home = homes.make(tmp_path)
    return home.place("shop"), api_kit.app(home).test_client()


def test_a_report_is_served_under_its_content_policy(client):
    response = client.get(f"{RUN}/60_diagnose.html")
    assert (response.data, response.mimetype) == (b"<h1>diagnose</h1>", "text/html")
    assert response.headers["Content-Security-Policy"].endswith("sandbox")


PARTS = [
    "..",
    "%2e%2e",
    "....",
    "%2e%2e%2f",
    "..%2f..",
    "%00",
    "~",
    "\\..",
    ".hidden",
    "run.json%00.html",
    "%2fetc%2fpasswd",
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("form", ["/runs/{}", "/runs/{}/run.json", RUN + "/{}", RUN + "/{}/shop.yaml", "/runs/{0}/{0}"])
def test_nothing_outside_a_run_is_reached(client, form, part):
    problem(client.get(form.format(part)), 404)


@pytest.mark.parametrize("name", [homes.LAST + "0", homes.LAST[:-1], ".staging", "latest.json", homes.LAST.lower()])
def test_only_a_published_run_is_one(client, name):
    problem(client.get(f"/runs/{name}"), 404)


def test_links_out_of_a_run_are_not_followed(own):
    place, client = own
    folder, secret = place.executed / homes.LAST, place.root / "secret.html"
    secret.write_text("secret")
    (folder / "link.html").symlink_to(secret)
    (place.executed / "20260103T000000Z-0003").symlink_to(folder)
    problem(client.get(f"{RUN}/link.html"), 404)
    problem(client.get("/runs/20260103T000000Z-0003/run.json"), 404)
    assert "link.html" not in client.get(RUN).get_json()["files"]


@pytest.mark.parametrize("path", [*RECORDED, "/openapi.json"])
def test_what_was_not_changed_is_not_sent_again(client, path):
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_gets_change_no_file(own):
    place, client = own

    def tree():
        return {
            path: (path.lstat().st_size, path.lstat().st_mtime_ns, path.lstat().st_ino)
            for path in place.root.rglob("*")
        }

    before = tree()
    for path in [*PAGES, "/nowhere"]:
        client.get(path)
        client.head(path)
    client.post("/prediction", json=homes.RECORD)
    assert tree() == before


@pytest.mark.parametrize(
    ("method", "path"), [("get", "/prediction"), ("post", "/clients"), ("put", "/"), ("delete", RUN)]
)
def test_another_method_is_405_and_the_right_one_is_told(client, method, path):
    response = getattr(client, method)(path)
    problem(response, 405)
    assert response.headers["Allow"]


@pytest.mark.parametrize("path", ["/nowhere", "/runs/", "/runs//", "/clients/1", "/favicon.ico"])
def test_no_such_path_is_404(client, path):
    problem(client.get(path), 404)


def test_a_failure_shows_no_stack_no_path_and_no_value(own, caplog):
    place, client = own
    (place.executed / "latest.json").write_text("{torn")
    response = client.get("/diagnostics")
    found = problem(response, 500)
    assert found["detail"].startswith("the server failed")
    assert b"torn" not in response.data
    assert "JSONDecodeError" in caplog.text
    assert found["request"] == response.headers["X-Request-Id"]
    assert found["request"] in caplog.text


def test_a_yaml_that_is_wrong_is_told_and_is_no_failure(own, caplog):
    place, client = own
    good = place.params.read_text()
    place.params.write_text(good + "nonsense: 1\n")
    for path in ("/clients", "/clients?format=csv", "/pages/shop/clients/index.html"):
        assert "YAML" in problem(client.get(path), 503)["detail"]
    assert not caplog.text
    place.params.write_text(good)
    assert client.get("/clients").status_code == 200


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("data/shop", "a file cannot be read (Permission denied); the log says which"),
        ("data/shop/book.db", "book.db cannot be read (permission denied): mend its permissions"),
    ],
)
def test_what_may_not_be_read_is_told_without_its_path(own, caplog, name, detail):
    place, client = own
    with closed(place.root / name):
        response = client.get("/runs")
    assert detail in problem(response, 503)["detail"]
    assert str(place.root) not in response.text
    assert (str(place.data) in caplog.text) == (name == "data/shop")


def test_a_book_that_is_being_written_is_not_waited_for_for_long(own, monkeypatch):
    place, client = own
    connect, waits = sqlite3.connect, []
    with Book.open(place.book) as writer:
        writer._db.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", lambda *of, **how: waits.append(how["timeout"]) or connect(*of, **how))
        for path in ("/runs", "/pages/shop/runs-1.html"):
            assert "another process is just writing to it: ask again" in problem(client.get(path), 503)["detail"]
        found = client.get("/readyz").get_json()["portfolios"]["shop"]
        assert (found["stale"], found["unknown"].partition(":")[0]) == (
            True,
            "book.db cannot be read (database is locked)",
        )
    assert set(waits) == {BRIEFLY}
    assert client.get("/runs").status_code == 200


def test_a_book_that_is_damaged_is_told_and_the_log_says_how(own, caplog):
    place, client = own
    content = place.book.read_bytes()
    place.book.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    assert "book cannot be read" in problem(client.get("/runs"), 503)["detail"]
    assert "sqlite3." in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8000"])
def test_this_machine_may_ask(client, host):
    assert client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1:8000", "", "127.0.0.1:x"]
)
@pytest.mark.parametrize("path", ["/livez", "/clients", "/nowhere"])
def test_a_name_of_elsewhere_may_not(client, host, path):
    problem(client.get(path, headers={"Host": host}), 403)


def test_metrics_count_requests_and_name_the_model(client):
    for path in ("/livez", "/livez", "/nowhere", RUN):
        client.get(path)
    lines = client.get("/metrics").text.splitlines()
    assert 'attrition_requests_total{route="/livez",status="200"} 2' in lines
    assert 'attrition_requests_total{route="none",status="404"} 1' in lines
    assert 'attrition_requests_total{route="/runs/<run>",status="200"} 1' in lines
    assert any(line.startswith('attrition_model_info{portfolio="shop",version="0001",sha256="') for line in lines)
    assert 'attrition_model_trouble{portfolio="shop"} 0' in lines
    ages = [line for line in lines if line.startswith('attrition_last_tick_age_seconds{portfolio="shop"} ')]
    assert len(ages) == 1
    assert float(ages[0].split()[-1]) > 0


def test_metrics_count_rows_by_decision_and_the_seconds(client):
    for usage in (0, 900, 950):
        client.post("/prediction", json={**homes.RECORD, "usage": usage, "vip": usage > 0})
    client.post("/prediction", json={})
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines())
    assert lines['attrition_rows_total{portfolio="shop",decision="leaves"}'] == "2"
    assert lines['attrition_rows_total{portfolio="shop",decision="stays"}'] == "1"
    assert lines['attrition_requests_total{route="/prediction",status="422"}'] == "1"
    assert float(lines['attrition_request_seconds_total{route="/prediction"}']) > 0
    assert lines['attrition_last_decision_info{portfolio="shop",decision="held"}'] == "1"


def test_the_page_names_portfolios_their_models_and_links(client):
    page = client.get("/").text
    for part in (">shop</a><td>0001", "days ago", "/clients?portfolio=shop", f"/pages/shop/{homes.LAST}/index.html"):
        assert part in page


def asked(app):
    """The routes but for the pages: these are for people, who reach them by links."""
    return [rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith("pages.")]


def test_the_description_has_every_route_and_only_those(app, client):
    described = client.get("/openapi.json").get_json()["paths"]
    rules = {rule.rule.replace("<", "{").replace(">", "}"): rule.methods for rule in asked(app)}
    assert described.keys() == rules.keys()
    for path, operations in described.items():
        assert {method.upper() for method in operations} == rules[path] & {"GET", "POST"}
        assert all(operation["summary"] for operation in operations.values())


def test_the_description_has_the_columns(client):
    record = client.get("/openapi.json").get_json()["components"]["schemas"]["Record"]
    assert record["properties"].keys() == homes.COLUMNS.keys()
    assert record["required"] == ["usage", "tenure", "vip", "plan"]
    usage = {"title": "usage", "type": "number", "minimum": 0, "maximum": 1000}
    assert record["properties"]["usage"] == usage
    assert record["properties"]["plan"] == {"title": "plan", "enum": ["basic", "plus"]}
    assert record["additionalProperties"] is False


def test_references_in_the_description_lead_somewhere(client):
    text = client.get("/openapi.json").text
    schemas = json.loads(text)["components"]["schemas"]
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named == schemas.keys()


def test_the_front_page_lists_every_route(app, client):
    shown = []
    parser = HTMLParser()
    parser.handle_data = shown.append
    parser.feed(client.get("/").text)
    for rule in asked(app):
        assert any(text.endswith(f" {rule.rule}") for text in shown)
