"""All pages: nothing hostile gets through, each stands alone and can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages_kit import (
    PAYLOADS,
    Reader,
    everywhere,
    lists,
    page,
)

from attrition import pages
from attrition.pages import clean, frame, urls

CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


# ---- hostile text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_notebook_cannot_put_anything_into_its_page(tmp_path: Path, payload: str) -> None:
    read = Reader(page(tmp_path, *everywhere(payload), title=payload))
    assert read.tags.count(("title",)) == 1
    assert [values["class"] for values in read.all("section") if values["class"] == "alarm"] == ["alarm"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_field_is_only_ever_text(payload: str) -> None:
    harmless = {name: Reader(html) for name, html in lists("a: plain text").items()}
    for name, html in lists(payload).items():
        read = Reader(html)
        if urls.local(payload):  # a relative address is a link, as it should be
            continue
        assert read.tags == harmless[name].tags
        assert payload in read.text


def test_there_are_enough_payloads() -> None:
    assert len(set(PAYLOADS)) >= 60


@given(st.text(min_size=1))
def test_any_text_stays_text(text: str) -> None:
    for html in lists(text).values():
        html.encode()
        assert clean.plain(text).strip() in Reader(html).text


PIECES = st.sampled_from(
    [*PAYLOADS, "<table>", "</table>", "<td", "<p>", "</div>", "'", '"', ">", "<!--", "`", "\n\n", "| a |\n|--|\n"]
)


@given(st.lists(PIECES, max_size=6).map("".join))
@settings(max_examples=200)
def test_cleaned_html_is_on_the_list_whatever_came_in(html: str) -> None:
    for cleaned in (clean.table(html), clean.markdown(html)):
        read = Reader(cleaned)
        assert not read.all("img")
        assert read.tags.count(("div", "class", "role", "aria-label", "tabindex")) == len(read.all("table"))


@pytest.mark.parametrize("href", ["index.html", "../../index.html", "a/b.html#failed", "#cell-3", "a%20b.ipynb"])
def test_an_address_nearby_is_a_link(href: str) -> None:
    assert urls.local(href) == href


@pytest.mark.parametrize(
    "href",
    [
        "",
        None,
        3,
        "/etc",
        "//evil",
        "https://evil",
        "javascript:x",
        "a/../b",
        "a b",
        "a\n",
        "\\\\x",
        "x?y",
        "é",
        "a" * 501,
    ],
)
def test_any_other_address_is_not(href: object) -> None:
    assert urls.local(href) == ""


# ---- every page


def each(tmp_path: Path) -> dict[str, str]:
    return {"notebook": page(tmp_path, *everywhere("words")), **lists("words")}


def test_every_page_stands_alone(tmp_path: Path) -> None:
    for name, html in each(tmp_path).items():
        read = Reader(html)
        assert html.startswith("<!doctype html>\n"), name
        assert read.all("html") == [{"lang": "en"}]
        assert {"http-equiv": "Content-Security-Policy", "content": CSP} in read.all("meta")
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.all("meta")
        assert len(read.all("main")) == len(read.all("footer")) == len(read.all("h1")) == 1
        assert "http://" not in html, name
        assert "https://" not in html, name
        assert "url(" not in html, name
        assert len(html) < 30_000, name


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def schemes() -> list[dict[str, str]]:
    style = Path(pages.__file__).with_name("templates").joinpath("style.css").read_text()
    return [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", root)) for root in re.findall(r":root \{(.*?)\}", style, re.S)
    ]


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark", "print"])
def test_all_words_have_contrast_enough(scheme: dict[str, str]) -> None:
    pairs = [(ink, paper) for ink in ("ink", "soft", "link") for paper in ("paper", "sheet")]
    pairs += [(tone, f"{tone}-bg") for tone in ("good", "bad", "warn", "busy", "calm")]
    pairs += [("good", "sheet"), ("busy", "sheet"), ("paper", "ink")]
    for one, other in pairs:
        low, high = sorted((luminance(scheme[one]), luminance(scheme[other])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (one, other)


# ---- words and numbers


@pytest.mark.parametrize(
    ("value", "shown_"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3600, "1 h 00 min"),
        (None, "–"),
        (float("nan"), "nan"),
        ("x", "x"),
    ],
)
def test_durations(value: object, shown_: str) -> None:
    assert frame.seconds(value) == shown_


@pytest.mark.parametrize(
    ("value", "shown_"),
    [
        ("2026-11-23T01:30:59+02:00", '<time datetime="2026-11-22T23:30:59Z">2026-11-22 23:30 UTC</time>'),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
        ("<b>", "&lt;b&gt;"),
        (None, "–"),
    ],
)
def test_times(value: object, shown_: str) -> None:
    assert frame.when(value) == shown_
