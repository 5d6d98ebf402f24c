"""The pages in a real browser, from the disk and from the API: nothing runs, nothing is fetched, all can be read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import homes
import pytest
from api_kit import running
from conftest import require
from pages_examples import KINDS
from pages_kit import PAYLOADS, anything, code, everywhere, failed, page, recorded, shown
from test_site import fill, name, publish_one

from attrition import params, publish, site
from attrition.book import Book
from attrition.home import Home
from attrition.pages import Page
from attrition.pages.frame import CSP
from attrition.runs import Run

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = "<table class='dataframe'><tr>" + "<td>a_rather_long_name</td>" * 40 + "</tr></table>"
LONG = "word" * 200
RULES = ["color-contrast", "region", "landmark-one-main", "page-has-heading-one", "heading-order", "list", "listitem"]
"""Of axe, beside all that WCAG 2.1 A and AA ask."""
WAYS = [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    require(chromium is not None, "chromium is not installed")
    require(find_spec("playwright") is not None, "playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=chromium, headless=True, args=FLAGS
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def axe() -> str:
    require(find_spec("axe_playwright_python") is not None, "axe-playwright-python is not installed")
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


class Visit:
    """One page opened, and everything that it tried."""

    def __init__(self, browser: Any, address: str, width: int = 1280, scheme: str = "light"):
        self.tried: list[str] = []
        self.own = address.split("/", 3)[2]
        self.tab = browser.new_page()
        self.tab.on("console", lambda message: self.tried.append(f"console: {message.text}"))
        self.tab.on("pageerror", lambda error: self.tried.append(f"error: {error}"))
        self.tab.on("dialog", self._dialog)
        self.tab.on("request", self._request)
        self.tab.set_viewport_size({"width": width, "height": 800})
        self.tab.emulate_media(color_scheme=scheme)
        self.tab.goto(address)

    def _dialog(self, dialog: Any) -> None:
        self.tried.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", f"http://{self.own}/")):
            self.tried.append(f"request: {request.url}")

    def ask(self, script: str) -> Any:
        return self.tab.evaluate(script)

    def found_by(self, axe: str) -> list[str]:
        """What axe says against the page, as it stands."""
        self.ask(axe)
        asked = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
        asked["rules"] = {rule: {"enabled": True} for rule in RULES}  # type: ignore[dict-item]
        said = self.ask(f"axe.run(document, {json.dumps(asked)})")
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in said["violations"]]

    def unreached(self) -> list[str]:
        """What can be used, and is not reached by going through the page with the Tab key."""
        self.ask("document.activeElement && document.activeElement.blur()")
        usable = "a[href], summary, input:not([type=hidden]), button, [tabindex='0']"
        shown_ = f'[...document.querySelectorAll("{usable}")].filter(e => e.checkVisibility())'
        count = self.ask(f"{shown_}.length")
        self.ask("window.reached = new Set(); document.addEventListener('focusin', e => reached.add(e.target))")
        for _ in range(count + 2):
            self.tab.keyboard.press("Tab")
        return list(self.ask(f"{shown_}.filter(e => !reached.has(e)).map(e => e.outerHTML.slice(0, 200))"))


def notebook(folder: Path, text: str) -> str:
    wide = code("wide", shown({"text/html": WIDE}), shown({"text/plain": LONG}))
    return page(folder, *everywhere(text), wide, code("ok", recorded("answer", text)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose pages a run has written, one of it failed; long words in many places."""
    home = homes.make(tmp_path_factory.mktemp("home"))
    place = home.place("shop")
    fill(place, 130)
    with Book.open(place.book) as book:
        for number in (129, 130):
            publish_one(place, number)
            run = Run.read(place.executed / name(number))
            (run.folder / "20_monitor.html").write_text(notebook(run.folder, "words"), encoding="utf-8")
            publish.run_page(place, run, params.load(place.params), book)
        site.write(place, params.load(place.params), book)
    return home


PLACES = {
    "home": "index.html",
    "portfolio": "shop/index.html",
    "runs": "shop/runs-2.html",
    "run": f"shop/{name(130)}/index.html",
    "compare": f"shop/{name(130)}/compare.html",
    "stage": f"shop/{name(130)}/20_monitor.html",
    "clients": "shop/clients/index.html",
    "models": "shop/models/index.html",
    "model": "shop/models/0001.html",
}


@pytest.fixture(scope="module")
def served(home: Home) -> Iterator[str]:
    with running(home) as api:
        yield f"{api.url}/pages"


def looked_at(browser: Any, axe: str, address: str) -> None:
    """One page at both widths, light and dark."""
    visit = Visit(browser, address)
    for width, scheme in WAYS:
        visit.tab.set_viewport_size({"width": width, "height": 800})
        visit.tab.emulate_media(color_scheme=scheme)
        assert visit.ask("document.documentElement.scrollWidth <= window.innerWidth"), (address, width)
        colour = {"light": "rgb(253, 253, 251)", "dark": "rgb(21, 24, 27)"}[scheme]
        assert visit.ask("getComputedStyle(document.body).backgroundColor") == colour
        if (width, scheme) in (WAYS[0], WAYS[-1]):
            assert visit.found_by(axe) == [], (address, width, scheme)
    assert visit.unreached() == [], address
    assert visit.tried == []
    visit.tab.close()


@pytest.mark.parametrize("kind", PLACES)
def test_a_page_opens_from_the_disk(browser: Any, axe: str, home: Home, kind: str) -> None:
    looked_at(browser, axe, (home.root / "executed" / PLACES[kind]).as_uri())


@pytest.mark.parametrize("kind", PLACES)
def test_a_page_opens_from_the_api(browser: Any, axe: str, served: str, kind: str) -> None:
    visit = Visit(browser, f"{served}/{PLACES[kind]}", 360, "dark")
    assert visit.ask("document.documentElement.scrollWidth <= window.innerWidth")
    assert visit.tried == []
    visit.tab.close()


@pytest.mark.parametrize("kind", ["portfolio", "run", "searched", "live"])
def test_a_page_of_long_words_stays_in_its_place(browser: Any, axe: str, tmp_path: Path, kind: str) -> None:
    made = KINDS[kind]()
    file = tmp_path / f"{kind}.html"
    file.write_text(Page(made.template, anything(made.context, LONG)).html(), encoding="utf-8")
    visit = Visit(browser, file.as_uri(), 360)
    assert visit.ask("document.documentElement.scrollWidth <= window.innerWidth")
    file.write_text(made.html(), encoding="utf-8")
    visit.tab.goto(file.as_uri())
    assert visit.found_by(axe) == []
    assert visit.unreached() == []
    visit.tab.close()


def test_clients_are_searched_by_a_form_in_a_sandbox(browser: Any, served: str) -> None:
    visit = Visit(browser, f"{served}/{PLACES['clients']}")
    visit.tab.get_by_label("A part of the client's id").fill("c-1")
    visit.tab.get_by_role("button", name="Search").click()
    visit.tab.wait_for_url("**/index.html?id=c-1")
    assert [each.inner_text().split()[0] for each in visit.tab.locator("table.people tbody th").all()] == ["c-1"]
    assert visit.tried == []
    visit.tab.close()


def test_code_unfolds_without_a_script(browser: Any, home: Home) -> None:
    visit = Visit(browser, (home.root / "executed" / PLACES["stage"]).as_uri())
    fold = visit.tab.locator("details").first
    assert not fold.locator("pre").is_visible()
    fold.locator("summary").click()
    assert fold.locator("pre").is_visible()
    visit.tab.close()


def test_a_run_prints_to_white_paper(browser: Any, home: Home) -> None:
    visit = Visit(browser, (home.root / "executed" / PLACES["run"]).as_uri(), scheme="dark")
    visit.tab.emulate_media(media="print", color_scheme="dark")
    assert visit.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = visit.tab.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert 1 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page/") + pdf.count(b"/Type/Page/") <= 8
    visit.tab.close()


def test_hostile_pages_try_nothing_even_without_their_policy(browser: Any, tmp_path: Path) -> None:
    """With the policy taken out, what is left is the escaping and the cleaning: they must do alone."""
    bad = "script, iframe, object, embed, base, [onload], [onerror], [onclick], [style*=url]"
    inside = f"document.querySelectorAll('{bad}')"
    for kind, make in {"notebook": None, **KINDS}.items():
        made = make() if make else None
        parts = []
        for payload in PAYLOADS:
            if made is None:
                html = notebook(tmp_path, payload)
            else:
                html = Page(made.template, anything(made.context, payload)).html()
            assert html.count("Content-Security-Policy") >= 1
            parts.append(html[html.index("<body>") :])
        file = tmp_path / f"{kind}.html"
        file.write_text("<!doctype html><meta charset=utf-8>" + "\n".join(parts), encoding="utf-8")
        visit = Visit(browser, file.as_uri())
        assert visit.ask(f"{inside}.length") == 0, kind
        drawings = 0 if made is None else made.html().count("<svg") * len(PAYLOADS)
        assert visit.ask("document.querySelectorAll('svg').length") == drawings, kind
        assert visit.ask("[...document.links].filter(a => !a.href.startsWith('file:')).length") == 0, kind
        assert visit.tried == [], kind
        visit.tab.close()


@pytest.mark.parametrize(("policy", "tried"), [("", "dialog: 1"), (CSP, "Content Security Policy")])
def test_a_script_runs_only_without_the_policy(browser: Any, tmp_path: Path, policy: str, tried: str) -> None:
    """The policy stops a script that got into a page after all; and the tests above would notice one."""
    file = tmp_path / "page.html"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    file.write_text(f"<!doctype html>{meta}<script>alert(1)</script>", encoding="utf-8")
    visit = Visit(browser, file.as_uri())
    assert len(visit.tried) == 1
    assert tried in visit.tried[0]
    visit.tab.close()


def test_axe_finds_what_is_wrong(browser: Any, axe: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<!doctype html><html><body><p style='color:#bbb;background:#fff'>pale</p></body></html>")
    visit = Visit(browser, file.as_uri())
    said = " ".join(visit.found_by(axe))
    assert all(rule in said for rule in ("color-contrast", "html-has-lang", "landmark-one-main"))
    visit.tab.close()


def test_the_failed_cell_is_what_one_sees_first(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(
        page(tmp_path, *(code("x = 1") for _ in range(30)), code("fit()", failed("ValueError", "one class")))
    )
    visit = Visit(browser, file.as_uri())
    assert "one class" in visit.tab.locator("section.alarm").inner_text()
    assert visit.tab.locator("section.alarm").bounding_box()["y"] < 300
    visit.tab.close()


def test_missing_tools_fail_where_all_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no such tool"):
        require(False, "no such tool")
    monkeypatch.delenv("REQUIRE_ALL")
    with pytest.raises(pytest.skip.Exception, match="no such tool"):
        require(False, "no such tool")
