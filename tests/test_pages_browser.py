"""The pages in a real browser, from the disk: nothing runs, nothing is fetched, nothing scrolls sideways."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from pages_kit import PAYLOADS, code, everywhere, lists, page, shown

from attrition.pages.frame import CSP

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = "<table class='dataframe'><tr>" + "<td>a_rather_long_name</td>" * 40 + "</tr></table>"
LONG = "word" * 200
KINDS = ["notebook", "run", "runs", "older", "home"]


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


class Visit:
    """One page opened, and everything that it tried."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, scheme: str = "light"):
        self.tried: list[str] = []
        self.tab = browser.new_page()
        self.tab.on("console", lambda message: self.tried.append(f"console: {message.text}"))
        self.tab.on("pageerror", lambda error: self.tried.append(f"error: {error}"))
        self.tab.on("dialog", self._dialog)
        self.tab.on("request", self._request)
        self.tab.set_viewport_size({"width": width, "height": 800})
        self.tab.emulate_media(color_scheme=scheme)
        self.tab.goto(file.as_uri())

    def _dialog(self, dialog: Any) -> None:
        self.tried.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.tried.append(f"request: {request.url}")

    def ask(self, script: str) -> Any:
        return self.tab.evaluate(script)


def write(folder: Path, text: str) -> dict[str, Path]:
    wide = code("wide", shown({"text/html": WIDE}), shown({"text/plain": LONG}))
    html = {"notebook": page(folder, *everywhere(text), wide), **lists(text)}
    for name, content in html.items():
        (folder / f"{name}.html").write_text(content, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in html}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    files = write(tmp_path_factory.mktemp("pages"), LONG)
    assert sorted(files) == sorted(KINDS)
    return files


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_opens_from_the_disk(browser: Any, files: dict[str, Path], kind: str, width: int, scheme: str) -> None:
    visit = Visit(browser, files[kind], width, scheme)
    assert visit.ask("document.documentElement.scrollWidth <= window.innerWidth")
    assert (
        visit.ask("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(253, 253, 251)",
            "dark": "rgb(21, 24, 27)",
        }[scheme]
    )
    assert visit.tried == []
    visit.tab.close()


def test_code_unfolds_without_a_script(browser: Any, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["notebook"])
    fold = visit.tab.locator("details").first
    assert not fold.locator("pre").is_visible()
    fold.locator("summary").click()
    assert fold.locator("pre").is_visible()
    visit.tab.close()


def test_paper_is_white(browser: Any, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["run"], scheme="dark")
    visit.tab.emulate_media(media="print", color_scheme="dark")
    assert visit.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    visit.tab.close()


def test_hostile_pages_try_nothing_even_without_their_policy(browser: Any, tmp_path: Path) -> None:
    """With the policy taken out, what is left is the escaping and the cleaning: they must do alone."""
    for number, payload in enumerate(PAYLOADS):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, payload)
    for kind in KINDS:
        html = "\n".join((tmp_path / str(at) / f"{kind}.html").read_text("utf-8") for at in range(len(PAYLOADS)))
        assert html.count("Content-Security-Policy") == len(PAYLOADS)
        bare = html.replace("Content-Security-Policy", "x-none").replace("<!doctype html>", "")
        file = tmp_path / f"{kind}.html"
        file.write_text("<!doctype html>" + bare, encoding="utf-8")
        visit = Visit(browser, file)
        assert visit.ask("document.querySelectorAll('script, iframe, object, embed, svg, form, base').length") == 0
        assert visit.tried == []
        visit.tab.close()


@pytest.mark.parametrize(("policy", "tried"), [("", "dialog: 1"), (CSP, "Content Security Policy")])
def test_a_script_runs_only_without_the_policy(browser: Any, tmp_path: Path, policy: str, tried: str) -> None:
    """The policy stops a script that got into a page after all; and the tests above would notice one."""
    file = tmp_path / "page.html"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    file.write_text(f"<!doctype html>{meta}<script>alert(1)</script>", encoding="utf-8")
    visit = Visit(browser, file)
    assert len(visit.tried) == 1
    assert tried in visit.tried[0]
    visit.tab.close()


def test_missing_tools_fail_where_all_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no such tool"):
        require(False, "no such tool")
    monkeypatch.delenv("REQUIRE_ALL")
    with pytest.raises(pytest.skip.Exception, match="no such tool"):
        require(False, "no such tool")
