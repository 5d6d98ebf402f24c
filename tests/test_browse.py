"""The pages over HTTP: the tree of the disk, lists that are filtered and searched, and nothing beyond."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import api_kit
import homes
import pytest
from api_kit import problem
from hypothesis import given
from hypothesis import strategies as st
from pages_kit import PAYLOADS, Reader
from test_site import fill, name, publish_one

from attrition import params, publish, site
from attrition.book import Book
from attrition.home import Home
from attrition.runs import Run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with 250 runs, the last two with pages."""
    home = homes.make(tmp_path_factory.mktemp("home"))
    place = home.place("shop")
    fill(place, 250)
    with Book.open(place.book) as book:
        for number in (249, 250):
            publish_one(place, number)
            publish.run_page(place, Run.read(place.executed / name(number)), params.load(place.params), book)
        book._db.execute("UPDATE runs SET status = 'failed', decision = NULL WHERE number % 3 = 0")
        book._db.execute("UPDATE runs SET started_at = '2025-06-01T00:00:00Z' WHERE number < 100")
        site.write(place, params.load(place.params), book)
    return home


@pytest.fixture
def client(home: Home) -> Any:
    return api_kit.app(home).test_client()


def runs(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [each["run"] for each in json.loads(response.text)["runs"]]


@pytest.mark.parametrize(
    "path",
    ["index.html", "shop/index.html", "shop/index.json", "shop/runs-3.html", "shop/clients/band-high.html"]
    + ["shop/clients/index.html", "shop/models/index.html", "shop/models/0001.html", "shop/models/0001.json"]
    + [
        f"shop/{name(250)}/{file}"
        for file in ("index.html", "index.json", "compare.html", "run.json", "20_monitor.ipynb")
    ],
)
def test_the_tree_of_the_disk_is_served(client: Any, path: str) -> None:
    response = client.get(f"/pages/{path}")
    assert response.status_code == 200
    assert "sandbox" in response.headers["Content-Security-Policy"]
    etag = {"If-None-Match": response.headers["ETag"]}
    assert client.get(f"/pages/{path}", headers=etag).status_code == 304


def test_links_of_the_served_pages_lead_to_served_pages(client: Any) -> None:
    for start in ("shop/index.html", "shop/runs-3.html", "shop/clients/index.html"):
        for link in Reader(client.get(f"/pages/{start}").text).all("a"):
            if any(absent in link["href"] for absent in ("0002.html", "0003.html", "T013000Z", "T000000Z")):
                continue  # what only the examples name
            address = urljoin(f"/pages/{start}", link["href"])
            assert client.get(address).status_code == 200, f"{start}: {link['href']}"


def test_runs_are_filtered_by_status_decision_and_date(client: Any) -> None:
    everything = runs(client.get("/pages/shop/runs-3.html?as=json"))
    assert everything == [name(number) for number in range(250, 200, -1)]
    failed = runs(client.get("/pages/shop/runs-3.html?status=failed&as=json"))
    assert failed == [name(number) for number in range(249, 0, -3)]
    assert len(runs(client.get("/pages/shop/runs-1.html?month=2025-06&as=json"))) == 99
    assert len(runs(client.get("/pages/shop/runs-1.html?month=2025&decision=held&as=json"))) == 66
    assert runs(client.get("/pages/shop/runs-1.html?month=2024&as=json")) == []


def test_filtered_runs_go_on_from_page_to_page(client: Any) -> None:
    seen, address = [], "/pages/shop/runs-3.html?decision=held"
    while address:
        page = json.loads(client.get(f"{address}&as=json").text)
        seen += [each["run"] for each in page["runs"]]
        address = f"/pages/shop/{page['older']}" if page["older"] else ""
    assert seen == [name(number) for number in range(250, 0, -1) if number % 3]


def test_two_runs_are_chosen_and_compared(client: Any) -> None:
    chosen = json.loads(client.get(f"/pages/shop/runs-3.html?with={name(249)}&as=json").text)["runs"]
    links = {each["run"]: each["compare"][1] for each in chosen}
    assert links[name(249)] == ""
    text = Reader(client.get(f"/pages/shop/{links[name(250)]}").text).words
    assert "Run 249 beside Run 250" in text
    problem(client.get(f"/pages/shop/compare.html?a={name(249)}&b={name(1)}"), 404)
    problem(client.get("/pages/shop/compare.html?a=../../x&b=0001"), 404)


def test_clients_are_searched_and_filtered(client: Any) -> None:
    def ids(query: str) -> list[str]:
        return [
            each["id"]
            for each in json.loads(client.get(f"/pages/shop/clients/index.html?{query}as=json").text)["clients"]
        ]

    assert ids("") == ["c-3", "c-1", "c-2"]
    assert ids("id=C-1&") == ["c-1"]
    assert ids("band=low&") == ["c-2"]
    response = client.get("/pages/shop/clients/index.html?id=%22%3E%3Cscript%3E")
    assert "allow-forms" in response.headers["Content-Security-Policy"]
    assert "<script" not in response.text
    assert Reader(response.text).all("input")[0]["value"] == '"><script>'


@pytest.mark.parametrize(
    "query",
    [
        *("runs-1.html?status=x", "runs-1.html?month=March", "runs-1.html?before=-1", "runs-1.html?stauts=failed"),
        *("clients/index.html?band=x", "clients/index.html?ownr=x", "clients/index.html?offset=x"),
    ],
)
def test_a_question_that_is_none_is_refused(client: Any, query: str) -> None:
    problem(client.get(f"/pages/shop/{query}"), 400)


@pytest.mark.parametrize("path", ["", "shop/", "shop/clients/", "shop/models/", f"shop/{homes.LAST}/"])
def test_a_folder_leads_to_its_first_page(client: Any, path: str) -> None:
    response = client.get(f"/pages/{path}")
    assert response.status_code in (301, 302, 307, 308)
    assert urljoin(f"/pages/{path}", response.headers["Location"]) == f"/pages/{path}index.html"


OUTSIDE = ["../params/shop.yaml", "..%2f..%2fparams%2fshop.yaml", "%2e%2e/%2e%2e/params/shop.yaml", "latest.json"]
OUTSIDE += ["card.json", "history.json", "clients/../history.json", "models/0001-judged.json", ".staging/x/run.json"]
OUTSIDE += ["clients/by-zzz.html", "models/x.html", f"{homes.LAST}/.hidden", "runs-1.htm"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_else_is_served(client: Any, path: str) -> None:
    assert client.get(f"/pages/shop/{path}").status_code == 404


def test_a_link_out_of_the_tree_is_not_followed(client: Any, home: Home) -> None:
    link = home.place("shop").executed / "clients" / "band-zzz.html"
    link.symlink_to(home.place("shop").params)
    assert client.get("/pages/shop/clients/band-zzz.html").status_code == 404
    link.unlink()


@given(st.sampled_from(PAYLOADS), st.sampled_from(["id", "band", "offset", "as", "x"]))
def test_no_question_gets_into_a_page(question: str, key: str) -> None:
    client = api_kit.app(_home()).test_client()
    response = client.get("/pages/shop/clients/index.html", query_string={key: question})
    assert response.status_code in (200, 400)
    if response.status_code == 200:
        Reader(response.text)


def test_reading_changes_no_file(client: Any, home: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    for path in ("index.html", "shop/runs-1.html?status=failed", "shop/clients/index.html", "shop/index.html"):
        client.get(f"/pages/{path}")
    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before


def test_without_a_run_there_are_no_pages(tmp_path: Path) -> None:
    place = homes.make(tmp_path).place("shop")
    place.ranking.unlink()
    client = api_kit.app(Home(tmp_path)).test_client()
    problem(client.get("/pages/shop/index.html"), 404)
    problem(client.get("/pages/shop/clients/index.html"), 404)
    problem(client.get("/pages/nope/index.html"), 404)


_made: list[Home] = []


def _home() -> Home:
    """One for all examples of a property."""
    import tempfile

    if not _made:
        _made.append(homes.make(Path(tempfile.mkdtemp())))
    return _made[0]
