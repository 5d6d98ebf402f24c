"""What the tests of the pages share: small executed notebooks, hostile text, and a strict reader of HTML."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import fields, is_dataclass
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
        html lang|head|body|title|style|header|main|footer|ul class|li aria-current class|ol class start aria-hidden
        meta charset http-equiv content name|link rel href|nav aria-label class|section class id aria-label
        h1 id|h2 id|h3|h4|h5|h6|p class|a href|b|strong|em|i|del|small|br|hr|blockquote
        span class aria-current aria-hidden style|time datetime|code|pre class id|details class open id|summary
        img src alt width height|div class role aria-label tabindex|dl class|dt|dd|figure class|figcaption
        table class|caption|thead|tbody|tfoot|tr|th scope class colspan rowspan|td class colspan rowspan scope
        svg class viewbox preserveaspectratio role aria-label aria-hidden|path class d
        form class role method|label for|input id name type value maxlength|button
        """.replace("\n", "|").split("|")
        if line.strip()
    )
}
VOID = {"meta", "link", "br", "hr", "img", "input"}
ADDRESS = re.compile(
    r"(?:\.\./)*[\w%~-][\w.%~/-]*(?:\?[\w.%~=&+-]*)?(?:#[\w.%-]+)?|\?[\w.%~=&+-]*(?:#[\w.%-]+)?|#[\w.%-]+", re.ASCII
)


class Reader(HTMLParser):
    """Reads a page, and refuses what no page of ours may hold."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, ...]] = []  # each tag with the names of its attributes: the page's skeleton
        self.found: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.pieces: list[str] = []
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
        if "style" in values:  # a number of our own, and nothing else
            assert re.fullmatch(r"left:[0-9]+\.[0-9]{2}%", values["style"]), values["style"]
        if "d" in values:
            assert re.fullmatch(r"[MLHVhvZz0-9. -]*", values["d"]), values["d"]
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
            self.pieces.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def words(self) -> str:
        """The text as one reads it, a space between any two elements."""
        return " ".join(" ".join(self.pieces).split())

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


def filled(value: Any, text: str) -> Any:
    """A copy of recorded ``value`` with ``text`` in the place of every text, but of those that our own code chose."""
    if isinstance(value, dict):
        own = {"kind", "at", "started_at", "finished_at"}
        return {key: each if key in own else filled(each, text) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(each, text) for each in value)
    return text if isinstance(value, str) else value


def anything(value: Any, text: str) -> Any:
    """A copy of a page's context with ``text`` in every text of it, whatever it was."""
    if is_dataclass(value):
        given = {each.name: anything(getattr(value, each.name), text) for each in fields(value)}
        return type(value)(**given)  # type: ignore[call-arg]
    if isinstance(value, tuple):
        return tuple(anything(each, text) for each in value)
    return text if isinstance(value, str) else value
