"""A cell's outputs, down to the kinds that a page shows. Whatever is not one of them is dropped."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from markupsafe import Markup, escape

from attrition.pages.clean import plain, table
from attrition.record import MIME

__all__ = ["Failure", "Messages", "Output", "Picture", "Recorded", "Table", "Text", "outputs", "within"]

TABLE_ROWS = 25
"""Of a table, the first."""
LIMITS = {"text": 2500, "messages": 800, "recorded": 700}
"""Signs of one output; the notebook has all."""
TRACE = 6000
"""Signs of a traceback, the last: there stands what went wrong."""
LEFT_OUT = "… the page has no room left: the notebook itself shows it"
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A PNG within the page."""

    kind: ClassVar[str] = "picture"
    src: str  # a data: URI
    alt: str  # what it shows, in words; empty where the notebook has none
    width: int  # pixels
    height: int  # pixels


@dataclass(frozen=True)
class Table:
    """Cleaned HTML."""

    kind: ClassVar[str] = "table"
    html: Markup  # with nothing but tables and the words around them


@dataclass(frozen=True)
class Text:
    """What was printed, or the last expression of a cell."""

    kind: ClassVar[str] = "text"
    text: str  # as it was printed


@dataclass(frozen=True)
class Messages:
    """What went to stderr."""

    kind: ClassVar[str] = "messages"
    text: str  # as it was written


@dataclass(frozen=True)
class Recorded:
    """A named value that the stage left for later stages."""

    kind: ClassVar[str] = "recorded"
    name: str  # by which it is read back
    text: str  # the value as JSON
    anchor: str = ""  # where a page may point to it


@dataclass(frozen=True)
class Failure:
    """An exception that ended the cell."""

    kind: ClassVar[str] = "failure"
    name: str  # of the exception's class
    message: str  # of the exception
    text: str  # the traceback


Output = Picture | Table | Text | Messages | Recorded | Failure


def outputs(nodes: Sequence[Mapping[str, Any]]) -> tuple[Output, ...]:
    """The outputs to show, in order; ``nodes`` are a code cell's outputs as nbformat 4 has them."""
    return tuple(shown for shown in map(_output, nodes) if shown is not None)


def within(kept: Sequence[Output], room: int) -> tuple[tuple[Output, ...], int]:
    """The outputs for which there is room, in bytes, and what is left of it; pictures and failures always stay."""
    found: list[Output] = []
    for output in kept:
        if isinstance(output, Picture | Failure):
            found.append(output)
            continue
        size = len(escape(output.html if isinstance(output, Table) else output.text).encode("utf-8", "replace"))
        if size <= room:
            room -= size
            found.append(output)
        elif isinstance(output, Recorded):
            found.append(replace(output, text=LEFT_OUT))
        else:
            found.append(Text(LEFT_OUT))
    return tuple(found), room


def _cut(text: str, limit: int) -> str:
    left = len(text) - limit
    return text if left <= 0 else f"{text[:limit]}\n… {left:,} more characters are in the notebook itself"


def _shortened(html: Markup) -> Markup:
    """A table's first rows. In cleaned HTML ``</tr>`` is a tag wherever it stands; tables within tables stay whole."""
    rows = html.split("</tr>")
    if len(rows) - 1 <= TABLE_ROWS + 1 or html.count("<table") != 1:
        return html
    *_, end = rows
    if "</tbody>" not in end:
        return html
    note = Markup("<p>… {} more rows are in the notebook itself</p>").format(f"{len(rows) - 2 - TABLE_ROWS:,}")
    return Markup("</tr>").join([*map(Markup, rows[: TABLE_ROWS + 1]), Markup(end)]) + note  # noqa: S704 - cleaned before


def _output(node: Mapping[str, Any]) -> Output | None:
    kind = node["output_type"]
    if kind == "stream":
        if node["name"] == "stderr":
            return Messages(_cut(plain(node["text"]), LIMITS["messages"]))
        return Text(_cut(plain(node["text"]), LIMITS["text"]))
    if kind == "error":
        lines = (
            "\n".join(node["traceback"]).split("\n") if node["traceback"] else [f"{node['ename']}: {node['evalue']}"]
        )
        ruled = [line for line in lines if set(plain(line)) != {"-"}]  # IPython draws a line above a traceback
        return Failure(plain(node["ename"]), plain(node["evalue"]), plain("\n".join(ruled))[-TRACE:])
    return _display(node["data"], node["metadata"])


def _display(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> Output | None:
    """The best of the forms in which an object was displayed: value, picture, table, text, other HTML."""
    if MIME in data:
        return _recorded(data[MIME])
    if "image/png" in data:
        return _picture(str(data["image/png"]), metadata)
    cleaned = table(str(data["text/html"])) if "text/html" in data else Markup("")
    text = plain(data.get("text/plain", ""))
    if "<table" in cleaned:
        return Table(_shortened(cleaned))
    if text and not text.startswith("<IPython.core.display."):  # which only says that there is another form
        return Text(_cut(text, LIMITS["text"]))
    return Table(cleaned) if cleaned.strip() else None


def _picture(encoded: str, metadata: Mapping[str, Any]) -> Picture | None:
    try:
        raw = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    if not raw.startswith(_PNG) or len(raw) < 24:
        return None
    width, height = struct.unpack(">II", raw[16:24])
    own = metadata.get("image/png")
    alt = (own.get("alt") if isinstance(own, Mapping) else None) or metadata.get("alt") or ""
    return Picture("data:image/png;base64," + base64.b64encode(raw).decode(), plain(alt), width, height)


def _recorded(body: object) -> Recorded:
    name, value = (body.get("name"), body.get("data")) if isinstance(body, Mapping) else (None, body)
    return Recorded(
        plain(name or "a value without a name"), _cut(plain(json.dumps(value, ensure_ascii=False)), LIMITS["recorded"])
    )
