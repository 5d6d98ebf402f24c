"""All pages: nothing hostile gets through, each stands alone and can be read."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages_examples import KINDS
from pages_kit import PAYLOADS, Reader, anything, everywhere, page

from attrition import look, pages
from attrition.pages import Page, charts, clean, frame, urls

# ---- hostile text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_notebook_cannot_put_anything_into_its_page(tmp_path: Path, payload: str) -> None:
    read = Reader(page(tmp_path, *everywhere(payload), title=payload))
    assert read.tags.count(("title",)) == 1
    assert [values["class"] for values in read.all("section") if values["class"] == "alarm"] == ["alarm"]


def skeleton(read: Reader) -> list[tuple[str, ...]]:
    """The tags of a page but for those that colour code."""
    return [tag for tag in read.tags if tag != ("span", "class")]


def ways(kind: str, text: str, most: int = 2) -> list[str]:
    """The page with ``text`` in every text of its context, whatever that is, and with it in all that was recorded."""
    made = KINDS[kind]()
    first = Page(made.template, anything(made.context, text)).html()
    return [first, KINDS[kind](text).html()][:most]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_only_ever_text(kind: str) -> None:
    harmless = [skeleton(Reader(html)) for html in ways(kind, "a: plain text")]
    for number, payload in enumerate(PAYLOADS):
        for html, expected in zip(ways(kind, payload, 1 + (number % 8 == 0)), harmless, strict=False):
            read = Reader(html)
            assert payload in read.text
            if not urls.local(payload):  # a relative address is a link, as it should be
                assert skeleton(read) == expected, payload


def test_there_are_enough_payloads() -> None:
    assert len(set(PAYLOADS)) >= 200


@given(st.sampled_from(sorted(KINDS)), st.text(min_size=1))
def test_any_text_stays_text(kind: str, text: str) -> None:
    for html in ways(kind, text):
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


@pytest.mark.parametrize(
    "href",
    [
        "index.html",
        "../../index.html",
        "runs-3.html?status=failed&month=2026-03",
        "a/b.html#failed",
        "#cell-3",
        "a%20b.ipynb",
    ],
)
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
        "x?<y",
        "é",
        "a" * 2001,
    ],
)
def test_any_other_address_is_not(href: object) -> None:
    assert urls.local(href) == ""


# ---- every page


def each(tmp_path: Path) -> dict[str, str]:
    return {"notebook": page(tmp_path, *everywhere("words")), **{kind: make().html() for kind, make in KINDS.items()}}


def test_every_page_stands_alone(tmp_path: Path) -> None:
    for name, html in each(tmp_path).items():
        read = Reader(html)
        assert html.startswith("<!doctype html>\n"), name
        assert read.all("html") == [{"lang": "en"}]
        assert {"http-equiv": "Content-Security-Policy", "content": frame.CSP} in read.all("meta")
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.all("meta")
        assert len(read.all("main")) == len(read.all("footer")) == len(read.all("h1")) == 1
        assert "http://" not in html, name
        assert "https://" not in html, name
        assert "url(" not in html, name
        assert len(html) < 30_000, name


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_has_a_twin_with_the_same_facts(kind: str) -> None:
    made = KINDS[kind]()
    said = json.loads(made.json())
    assert list(said) == [each.name for each in fields(made.context)]
    assert made.context.twin in [link["href"] for link in Reader(made.html()).all("a")]


def contexts() -> list[type]:
    found = []
    for path in Path(pages.__file__).parent.glob("[a-z]*.py"):
        members = vars(import_module(f"attrition.pages.{path.stem}")).values()
        found += [each for each in members if isinstance(each, type) and is_dataclass(each)]
    return sorted(set(found), key=lambda each: each.__name__)


@pytest.mark.parametrize("context", contexts(), ids=lambda each: each.__name__)
def test_every_field_of_a_context_says_what_it_is(context: type) -> None:
    assert context.__doc__
    assert not context.__doc__.startswith(f"{context.__name__}(")
    source = inspect.getsource(context)
    for each in fields(context):
        assert re.search(rf"^    {each.name}: .+  # \S", source, re.M), (
            f"{context.__name__}.{each.name}: say what it is"
        )


@given(st.lists(st.tuples(st.floats(0, 1e12), st.floats(-1e9, 1e9)), max_size=1200))
def test_a_line_has_500_points_at_most_and_stays_in_its_place(points: list[tuple[float, float]]) -> None:
    kept = charts.thinned(sorted(points))
    assert len(kept) <= charts.MOST
    assert kept[:1] + kept[-1:] == sorted(points)[:1] + sorted(points)[-1:]
    line = charts.Series("", "one", tuple(kept), (), True, True)
    drawing = charts.Chart("t", "w", (0.0, 1e12), (-1.0, 1.0), (), ("1", "-1"), (line,), (), (), ())
    drawn = charts.drawn(drawing)
    places = [float(each) for d in re.findall(r'class="line-one" d="M([^"]*)"', drawn) for each in re.split("[L ]", d)]
    assert all(0 <= x <= charts.WIDE for x in places[::2])
    assert all(0 <= y <= charts.HIGH for y in places[1::2])


def test_notebooks_and_pages_have_one_palette() -> None:
    light = schemes()[0]
    for name, colour in (("one", look.BLUE), ("two", look.ORANGE), ("ink", look.INK), ("soft", look.SOFT)):
        assert light[name] == colour.lower()


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
    graphic = [("one", "paper"), ("two", "paper"), ("rest", "paper")]  # of what is no word, WCAG asks 3
    for one, other in graphic:
        low, high = sorted((luminance(scheme[one]), luminance(scheme[other])))
        assert (high + 0.05) / (low + 0.05) >= 3, (one, other)
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
