"""An executed notebook as a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from markupsafe import Markup, escape
from nbconvert.exporters import TemplateExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from attrition.pages.clean import code, markdown, plain
from attrition.pages.frame import LOADER, furnish
from attrition.pages.outputs import Failure, Output, Recorded, outputs, within
from attrition.pages.urls import local
from attrition.record import MIME

__all__ = ["Cell", "NotebookError", "NotebookPage", "failed_cell", "notebook"]

_MARKER = "papermill-error-cell-tag"  # papermill's own note about a failure; the page has a better one
_ABOUT = "**Reads**"
"""How the paragraph begins that says what a stage reads, writes and records: of interest, but not first."""
ANSWER = "answer"
"""The value that a stage records for its reader: what it found, in a sentence."""
ROOM, LEAST = 22_500, 1_500
"""Bytes of a page but for its frame, its pictures and what failed, so that it stays below 30 KB; what code and words
leave of it is for the outputs, and some in any case."""
EACH = 110
"""Bytes around a cell, or an output."""
_LABELS = {"injected-parameters": "Parameters of this run", "parameters": "Parameters and their defaults"}


class NotebookError(ValueError):
    """A file is not a notebook of nbformat 4; the message names it and says what to do."""


@dataclass(frozen=True)
class Cell:
    """One cell as the page shows it."""

    number: int  # its place among all cells, from 1, without those that papermill adds about a failure
    kind: str  # markdown, code or raw
    source: str  # as it is written
    html: Markup  # the text, or the code with its colours
    about: Markup  # what the stage reads, writes and records, set apart
    label: str  # of the fold around the code
    outputs: tuple[Output, ...]  # what is shown of them
    failure: Failure | None  # the exception that ended the notebook here


@dataclass(frozen=True)
class NotebookPage:
    """What the page shows beside the cells."""

    title: str  # of the page
    crumbs: tuple[tuple[str, str], ...]  # (words, relative address) of the pages above
    source: str  # the notebook's file name
    href: str  # the notebook beside the page: its twin, as a notebook is JSON
    answer: str  # what the stage found, in a sentence; empty where it recorded none


def notebook(path: Path, *, title: str, crumbs: Sequence[tuple[str, str]] = ()) -> str:
    """Turn an executed notebook into a page of its own.

    Args:
        path: the .ipynb; the page links to it as a file beside itself.
        title: of the page.
        crumbs: (words, relative address) of each page above, from the top.

    Raises:
        NotebookError: the file is no notebook, or a torn one.
        OSError: the file cannot be read.
    """
    node = _read(path)
    page = NotebookPage(
        title=plain(title),
        crumbs=tuple((plain(words), local(href)) for words, href in crumbs),
        source=plain(path.name),
        href=local(quote(path.name)),
        answer=_answer(node["cells"]),
    )
    html, _ = _exporter().from_notebook_node(node, resources={"page": page})
    return str(html)


def failed_cell(path: Path) -> dict[str, str]:
    """Source and traceback of the cell that ended a notebook; empty where none did, or none can be read."""
    try:
        cells = shown(_read(path)["cells"])
    except (NotebookError, OSError):
        return {}
    broken = next((cell for cell in cells if cell.failure), None)
    return {"source": broken.source, "trace": broken.failure.text} if broken and broken.failure else {}


def _read(path: Path) -> Any:
    try:
        node = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(node)
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        said = plain(error).partition("\n")[0][:200]
        raise NotebookError(f"{path}: not a notebook ({said}); run its stage again to make it anew") from None
    return node


def _answer(nodes: Sequence[Mapping[str, Any]]) -> str:
    """The last value recorded as the answer."""
    found = ""
    for node in nodes:
        for output in node.get("outputs", ()) if node["cell_type"] == "code" else ():
            body = output.get("data", {}).get(MIME)
            if isinstance(body, Mapping) and body.get("name") == ANSWER and isinstance(body.get("data"), str):
                found = plain(body["data"])[:2000]
    return found


@cache
def _exporter() -> Any:
    """nbconvert with our template only, whatever is installed or lies in the working directory."""
    exporter = TemplateExporter(
        extra_loaders=[LOADER],
        template_paths=[],
        template_file="notebook.html.j2",
        file_extension=".html",
        default_preprocessors=[],
        preprocessors=[CoalesceStreamsPreprocessor],
        filters={"shown": shown},
    )
    furnish(exporter.environment)
    return exporter


def shown(nodes: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """The cells of a notebook as the page shows them; ``nodes`` as nbformat 4 has them."""
    own = [node for node in nodes if _MARKER not in _tags(node)]
    cells = [_cell(number, node) for number, node in enumerate(own, 1) if node["source"].strip()]
    taken = sum(len(f"{cell.html}{cell.about}".encode()) + EACH * (2 + len(cell.outputs)) for cell in cells)
    room, anchors = max(LEAST, ROOM - taken), set[str]()
    found = []
    for cell in cells:
        kept, room = within(cell.outputs, room)
        found.append(replace(cell, outputs=tuple(_anchored(output, anchors) for output in kept)))
    return found


def _anchored(output: Output, taken: set[str]) -> Output:
    """A recorded value with an anchor of its name, the first of that name."""
    if not isinstance(output, Recorded):
        return output
    anchor = f"recorded-{output.name}" if re.fullmatch(r"[a-z][a-z0-9_]{0,63}", output.name) else ""
    if anchor in taken:
        anchor = ""
    taken.add(anchor)
    return replace(output, anchor=anchor)


def _tags(node: Mapping[str, Any]) -> Sequence[str]:
    tags = node["metadata"].get("tags", [])
    return tags if isinstance(tags, list) else []


def _cell(number: int, node: Mapping[str, Any]) -> Cell:
    kind, source = node["cell_type"], node["source"]
    nothing = Markup("")
    if kind == "markdown":
        said, mark, about = source.partition(f"\n\n{_ABOUT}")
        apart = markdown(_ABOUT + about) if mark else nothing
        return Cell(number, kind, source, markdown(said), apart, "", (), None)
    if kind != "code":
        return Cell(number, kind, source, escape(plain(source)), nothing, "", (), None)
    tags = _tags(node)
    label = next((label for tag, label in _LABELS.items() if tag in tags), "Code")
    kept = outputs(node["outputs"])
    ended = next((output for output in kept if isinstance(output, Failure) and not _meant(output)), None)
    return Cell(number, kind, plain(source), code(source), nothing, label, kept, ended)


def _meant(failure: Failure) -> bool:
    """Whether the notebook stopped itself in good order, as papermill sees it too: ``sys.exit()``."""
    return failure.name == "SystemExit" and failure.message in ("", "0")
