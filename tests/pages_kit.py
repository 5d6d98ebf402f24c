"""What the tests of the pages share: small executed notebooks, hostile text, and a strict reader of HTML."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from attrition import pages, record

PAYLOADS = Path(__file__).with_name("data").joinpath("payloads.txt").read_text(encoding="utf-8").splitlines()
RUN = "20261123T013000Z-0007"

ALLOWED: dict[str, set[str]] = {
    name: set(attributes)
    for name, *attributes in (
        line.split()
        for line in """
        html lang|head|body|title|style|header|main|footer|ul|li aria-current aria-hidden|ol class start
        meta charset http-equiv content name|link rel href|nav aria-label|section class id aria-label
        h1|h2|h3|h4|h5|h6|p class|a href aria-label|b|strong|em|i|del|small|br|hr|blockquote
        span class aria-current|time datetime|code|pre class id|details class open|summary
        img src alt width height|div class role aria-label tabindex|dl class|dt|dd
        table class|caption|thead|tbody|tfoot|tr|th scope class colspan rowspan|td class colspan rowspan scope
        """.replace("\n", "|").split("|")
        if line.strip()
    )
}
VOID = {"meta", "link", "br", "hr", "img"}
ADDRESS = re.compile(r"(?:\.\./)*[\w%~-][\w.%~/-]*(?:#[\w.%-]+)?|#[\w.%-]+", re.ASCII)


class Reader(HTMLParser):
    """Reads a page, and refuses what no page of ours may hold."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, ...]] = []  # each tag with the names of its attributes: the page's skeleton
        self.found: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.text = ""
        self.words = ""  # the text as one reads it, a space between any two elements
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        assert len(self.ids) == len(set(self.ids)), f"an id twice: {self.ids}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, f"<{tag}>"
        names = [name for name, _ in attrs]
        assert set(names) <= ALLOWED[tag], f"<{tag} {names}>"
        values = {name: value or "" for name, value in attrs}
        if "href" in values:
            assert tag == "link" or ADDRESS.fullmatch(values["href"]), values["href"]
            assert tag != "link" or values == {"rel": "icon", "href": "data:,"}
        if "src" in values:
            assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", values["src"])
        if "http-equiv" in values:
            assert values["http-equiv"] == "Content-Security-Policy"
        self.ids += [values["id"]] if "id" in values else []
        self.tags.append((tag, *names))
        self.found.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> is out of place"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data
            self.words = " ".join([*self.words.split(), *data.split()])

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every such tag."""
        return [values for found, values in self.found if found == tag]


def png(width: int = 3, height: int = 2) -> str:
    """A grey picture as a notebook holds it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.encodebytes(raw).decode()


def shown(data: dict[str, Any], **metadata: Any) -> Any:
    """A display_data output."""
    return new_output("display_data", data=data, metadata=metadata)


def recorded(name: Any, value: Any) -> Any:
    """A recorded value, as record.leave writes it."""
    return shown({record.MIME: {"name": name, "data": value, "encoder": "json", "version": 1}})


def failed(name: str, message: str) -> Any:
    """What a cell leaves that raised."""
    trace = ["-" * 75, f"\x1b[31m{name}\x1b[39m  Traceback (most recent call last)", f"{name}: {message}"]
    return new_output("error", ename=name, evalue=message, traceback=trace)


def code(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    """An executed code cell."""
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)})


def save(folder: Path, *cells: Any, name: str = "20_monitor.ipynb") -> Path:
    """Write the cells as a notebook."""
    nbformat.write(new_notebook(cells=list(cells)), folder / name)
    return folder / name


def page(folder: Path, *cells: Any, title: str = "Monitor") -> str:
    """The page of a notebook with these cells."""
    return pages.notebook(save(folder, *cells), title=title, crumbs=[("Attrition", "../../index.html")])


def everywhere(text: str) -> list[Any]:
    """Cells that hold ``text`` in every place where a notebook can."""
    forms = ("text/html", "text/plain", "text/latex", "text/markdown", "text/vnd.mermaid", "image/svg+xml")
    return [
        new_markdown_cell(f"# Head\n\n{text}\n\nend"),
        new_markdown_cell(text),
        nbformat.v4.new_raw_cell(text),
        code(text or "pass", *(shown({form: text}) for form in forms), tags=("parameters",)),
        code(
            f"x = 1  # {text}",
            shown({"text/html": f"<table><tr><td>{text}</td></tr></table>"}),
            shown({"application/javascript": "alert(1)", "text/plain": "<IPython.core.display.Javascript object>"}),
            shown({"image/png": png(), "text/plain": text}, **{"image/png": {"alt": text}}),
            shown({"image/png": text}),
            new_output("stream", name="stdout", text=text),
            new_output("stream", name="stderr", text=text),
            recorded(text, {text: [text]}),
            failed(text, text),
            tags=("injected-parameters", text.replace(",", " ")),  # nbformat allows no comma
        ),
    ]


def report(text: str = "", **changes: Any) -> dict[str, Any]:
    """A run.json; ``text`` stands in every field where it is not empty."""
    stages = [
        ("ingest", "completed", 1.2, "10_ingest.html", None),
        ("train", "failed", 75.0, "30_train.html", None),
        ("score", "skipped", None, None, "the run was failed before it"),
    ]
    keys = ("name", "status", "seconds", "report", "reason")
    full = {
        **{"run": RUN, "portfolio": "telco", "status": "failed", "manual": True, "decision": "rolled_back"},
        **{"reason": "0001 serves again.", "started_at": "2026-11-23T01:30:00Z", "finished_at": "2026-11-23T01:31:15Z"},
        **{"rows": {"in": 1520, "ingested": 1500, "duplicates": 12, "quarantined": 8}, "data_version": 3},
        **{"champion_before": "0001", "challenger": "0002", "model": {"version": "0001", "sha256": "9f86d0"}},
        "stages": [dict(zip(keys, stage, strict=True)) for stage in stages],
        "error": {"stage": "train", "cell": 6, "name": "ValueError", "message": "one class", "advice": "Wait."},
        **changes,
    }
    return filled(full, text) if text else full


def row(text: str = "", **changes: Any) -> dict[str, Any]:
    """A row of the list of runs."""
    full = {
        **{"run": RUN, "status": "failed", "decision": "held", "reason": "It holds.", "manual": False, "model": "0002"},
        **{"started_at": "2026-11-23T01:30:00Z", "finished_at": None, "seconds": 3.25, "report": f"{RUN}/index.html"},
        "rows": {"in": 520, "ingested": 500, "duplicates": 12, "quarantined": 8},
        **changes,
    }
    return filled(full, text) if text else full


STATE = {"model": "0002", "since": "2026-11-20T10:00:00Z", "proven": False, "challenger": "0003"}
STATE |= {"decision": "held", "reason": "It holds."}
QUIET = {"since": "2026-11-23T12:45:00Z", "last": "2026-11-23T14:45:00Z", "ticks": 9}
PORTFOLIO = {"name": "telco", "title": "Telecom clients", "href": "telco/index.html", "last_run": RUN}
PORTFOLIO |= {"decision": "held", "model": "0002", "fresh_at": "2026-11-23T14:45:00Z"}


def filled(value: Any, text: str) -> Any:
    """A copy of ``value`` with ``text`` in the place of everything that is not a flag."""
    if isinstance(value, dict):
        return {key: filled(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, text) for each in value]
    return value if isinstance(value, bool) else text


def lists(text: str) -> dict[str, str]:
    """Every page but the notebook's, with ``text`` in every field."""
    return {
        "run": pages.run(report(text), title=text),
        "runs": pages.runs(
            text,
            text,
            [row(text, quiet=filled(QUIET, text)), row(text, manual=True)],
            page=3,
            pages=3,
            state=filled(STATE, text),
        ),
        "older": pages.runs(text, text, [], page=1, pages=3, state={}),
        "home": pages.home([filled(PORTFOLIO, text)]),
    }
