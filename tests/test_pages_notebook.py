"""An executed notebook as a page: what it shows, what it drops."""

from __future__ import annotations

import re
import tempfile
from html import unescape
from importlib import import_module
from pathlib import Path

import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_markdown_cell, new_output
from pages_kit import (
    Reader,
    code,
    failed,
    page,
    png,
    recorded,
    save,
    shown,
)

from attrition import pages, record

FRAME = "<table border='1' class='dataframe'><style>x</style><tr><th scope='col'>n</th></tr><tr><td>1</td></tr></table>"


def test_code_is_folded_and_parameters_are_told_apart(tmp_path: Path) -> None:
    html = page(
        tmp_path,
        code("n = 1  # rows", tags=("parameters",)),
        code("n = 2", tags=("injected-parameters",)),
        code("if n: print('a<b')"),
        code(""),
    )
    assert re.findall(r'<details class="code">\s*<summary>(.*?)</summary>', html) == [
        "Parameters and their defaults",
        "Parameters of this run",
        "Code",
    ]
    assert '<span class="k">if</span> n: print(<span class="s">&#39;a&lt;b&#39;</span>)' in html
    assert '<span class="c"># rows</span>' in html
    assert Reader(html).ids == ["cell-1", "cell-2", "cell-3"]


def test_the_title_is_the_heading_only_where_the_notebook_has_none(tmp_path: Path) -> None:
    with_own = page(tmp_path, new_markdown_cell("# Its own\n\nwords"))
    without = page(tmp_path, new_markdown_cell("words"))
    assert re.findall("<h1>(.*?)</h1>", with_own + without) == ["Its own", "Monitor"]


def test_markdown_is_rendered(tmp_path: Path) -> None:
    html = page(
        tmp_path, new_markdown_cell("**a** `b` [run](index.html) [out](https://example.org)\n\n| x |\n|---|\n| 1 |")
    )
    assert '<strong>a</strong> <code>b</code> <a href="index.html">run</a> <a>out</a>' in html
    assert re.search(r'<div class="scroll"[^>]*><table>\s*<thead>', html)


def test_a_picture_keeps_its_size_and_its_words(tmp_path: Path) -> None:
    data = {"image/png": png(3, 2), "text/plain": "not shown"}
    html = page(
        tmp_path, code("a", shown(data, **{"image/png": {"alt": 'A "grey" box'}}), shown(data, alt="b"), shown(data))
    )
    pictures = Reader(html).all("img")
    assert [picture["alt"] for picture in pictures] == ['A "grey" box', "b", ""]
    assert (pictures[0]["width"], pictures[0]["height"]) == ("3", "2")
    assert "not shown" not in html


@pytest.mark.parametrize("data", ["%%%", "R0lGODlh" * 8, "iVBORw0KGgo="])
def test_what_is_no_png_is_dropped(tmp_path: Path, data: str) -> None:
    assert not Reader(page(tmp_path, code("a", shown({"image/png": data})))).all("img")


def test_a_table_comes_through_and_its_style_does_not(tmp_path: Path) -> None:
    html = page(tmp_path, code("a", shown({"text/html": f"<div>{FRAME}<p>1 row</p></div>", "text/plain": "not shown"})))
    assert '<table class="dataframe"><tbody><tr><th scope="col">n</th></tr><tr><td>1</td></tr></tbody></table>' in html
    assert "<p>1 row</p>" in html
    assert "not shown" not in html


def test_html_without_a_table_gives_way_to_plain_text(tmp_path: Path) -> None:
    html = page(
        tmp_path,
        code("a", shown({"text/html": "<div>html</div>", "text/plain": "Pipeline()"})),
        code("b", shown({"text/html": "<b>only</b>", "text/plain": "<IPython.core.display.HTML object>"})),
    )
    assert "<pre>Pipeline()</pre>" in html
    assert "<b>only</b>" in html
    assert "IPython" not in html


@pytest.mark.parametrize(
    "mime",
    ["application/javascript", "image/svg+xml", "text/vnd.mermaid", "text/latex", "text/markdown", "application/json"],
)
def test_other_types_are_dropped(tmp_path: Path, mime: str) -> None:
    assert "unheard-of" not in page(tmp_path, code("a", shown({mime: "unheard-of"})))


def test_streams_are_merged_and_lose_their_colours(tmp_path: Path) -> None:
    pieces = [("stdout", "10%\r"), ("stdout", "100%\n"), ("stderr", "\x1b[31mcareful\x1b[0m \x1b]8;;https://x\x07link")]
    html = page(tmp_path, code("a", *(new_output("stream", name=name, text=text) for name, text in pieces)))
    assert "<pre>100%\n</pre>" in html
    assert re.search(r"<summary>Messages</summary>\s*<pre>careful link</pre>", html)


def test_a_recorded_value_is_folded_json(tmp_path: Path) -> None:
    html = page(tmp_path, code("a", recorded("verdict", {"state": "holds", "of": [1, None]})))
    assert "<summary>Recorded: <b>verdict</b></summary>" in html
    assert unescape(html).count('{"of": [1, null], "state": "holds"}') == 1
    assert '<details class="code" id="recorded-verdict">' in html


def test_a_recorded_value_that_is_not_one_is_shown_as_it_is(tmp_path: Path) -> None:
    assert "<pre>[1]</pre>" in page(tmp_path, code("a", shown({record.MIME: [1]})))


def test_a_failure_is_named_first_and_marked(tmp_path: Path) -> None:
    papermill = [new_markdown_cell("An Exception", metadata={"tags": ["papermill-error-cell-tag"]}) for _ in range(2)]
    html = page(
        tmp_path,
        papermill[0],
        new_markdown_cell("# Head"),
        papermill[1],
        code("fit()", failed("ValueError", "one class")),
    )
    assert "An Exception" not in html
    said = '<strong>Cell 2 failed.</strong> ValueError: one class</p>\n<p><a href="#failed">Go to the cell</a>'
    assert html.index(said) < html.index("<h1>")
    assert (
        '<pre class="failure" id="failed">ValueError  Traceback (most recent call last)\nValueError: one class</pre>'
        in html
    )


def test_a_notebook_that_stops_itself_has_not_failed(tmp_path: Path) -> None:
    assert 'id="failed"' not in page(tmp_path, code("exit()", failed("SystemExit", "0")))
    assert 'id="failed"' in page(tmp_path, code("exit(3)", failed("SystemExit", "3")))


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    html = page(tmp_path, code("a", new_output("stream", name="stdout", text="x" * 1_000_000)))
    assert "more characters are in the notebook itself" in html
    assert len(html) < 30_000


def test_the_page_links_to_its_notebook(tmp_path: Path) -> None:
    html = pages.notebook(
        save(tmp_path, name="a b.ipynb"), title="t", crumbs=[("up", "../index.html"), ("out", "https://x")]
    )
    assert '<a href="a%20b.ipynb">a b.ipynb</a>' in html
    assert '<li><a href="../index.html">up</a></li>\n<li>out</li>\n<li aria-current="page">t</li>' in html


def test_the_working_directory_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebook.html.j2").write_text("from elsewhere")
    monkeypatch.chdir(tmp_path)
    import_module("attrition.pages.notebook")._exporter.cache_clear()  # so that it is made anew, here
    assert "from elsewhere" not in page(tmp_path, code("a"))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"cells": 3}', '{"nbformat": 4, "nbformat_minor": 5, "cells": [{}]}']
)
def test_what_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    torn = tmp_path / "torn.ipynb"
    torn.write_text(content)
    with pytest.raises(pages.NotebookError, match=r"torn\.ipynb: not a notebook .*run its stage again"):
        pages.notebook(torn, title="t")


def test_the_answer_stands_before_what_a_stage_reads_and_writes(tmp_path: Path) -> None:
    first = new_markdown_cell(
        "# Monitor\n\nDoes it hold?\n\n**Reads** `clients/`. **Writes** nothing. **Records** `answer`."
    )
    html = page(tmp_path, first, code("a", recorded("answer", "It holds <b>well</b>.")))
    places = [
        html.index(words) for words in ("<h1>", "Does it hold?", "It holds &lt;b&gt;well", "reads, writes and records")
    ]
    assert places == sorted(places)
    assert html.index("reads, writes and records") < html.index("<strong>Reads</strong>")


def test_a_stage_without_an_answer_has_none(tmp_path: Path) -> None:
    assert "What was found" not in page(tmp_path, new_markdown_cell("# Head"), code("a", recorded("answer", ["x"])))


@given(st.lists(st.sampled_from(["text", "html", "messages", "recorded"]), max_size=30), st.integers(1, 40))
@settings(max_examples=examples(30))
def test_a_page_has_30_kilobytes_at_most_whatever_was_printed(kinds: list[str], cells: int) -> None:
    rows = "".join(f"<tr><td>{n}</td><td>{'word ' * 20}</td></tr>" for n in range(300))
    made = {
        "text": new_output("stream", name="stdout", text="é" * 5000),
        "html": shown({"text/html": f"<table><tbody>{rows}</tbody></table>"}),
        "messages": new_output("stream", name="stderr", text="x" * 5000),
        "recorded": recorded("value", ["word"] * 2000),
    }
    with tempfile.TemporaryDirectory() as folder:
        html = page(Path(folder), *(code("print()", *(made[kind] for kind in kinds)) for _ in range(cells // 10 + 1)))
    assert len(html.encode()) < 30_000
    Reader(html)


def test_of_a_long_table_the_first_rows_are_shown(tmp_path: Path) -> None:
    rows = "".join(f"<tr><td>row {n}</td></tr>" for n in range(60))
    html = page(
        tmp_path,
        code("a", shown({"text/html": f"<table><thead><tr><th>x</th></tr></thead><tbody>{rows}</tbody></table>"})),
    )
    assert "<td>row 24</td>" in html
    assert "row 25" not in html
    assert "35 more rows are in the notebook itself" in html


def test_the_cell_that_failed_can_be_read_out(tmp_path: Path) -> None:
    path = save(tmp_path, code("fine()"), code("fit()", failed("ValueError", "one class")))
    broken = pages.failed_cell(path)
    assert broken["source"] == "fit()"
    assert broken["trace"].endswith("ValueError: one class")
    assert pages.failed_cell(save(tmp_path, code("fine()"))) == {}
    assert pages.failed_cell(tmp_path / "none.ipynb") == {}
