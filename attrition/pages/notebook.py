"""An executed notebook as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from attrition.pages.outputs import Failure, Output, outputs
from attrition.pages.urls import local

__all__ = ["Cell", "NotebookError", "NotebookPage", "notebook"]

_MARKER = "papermill-error-cell-tag"  # papermill's own note about a failure; the page has a better one
_LABELS = {"injected-parameters": "Parameters of this run", "parameters": "Parameters and their defaults"}


class NotebookError(ValueError):
    """A file is not a notebook of nbformat 4; the message names it and says what to do."""


@dataclass(frozen=True)
class Cell:
    """One cell as the page shows it."""

    number: int  # its place among all cells, from 1, without those that papermill adds about a failure
    kind: str  # markdown, code or raw
    html: Markup  # the text, or the code with its colours
    label: str  # of the fold around the code
    outputs: tuple[Output, ...]
    failure: Failure | None  # the exception that ended the notebook here


@dataclass(frozen=True)
class NotebookPage:
    """What the page shows beside the cells."""

    title: str
    crumbs: tuple[tuple[str, str], ...]  # (words, relative address) of the pages above
    source: str  # the notebook's file name
    href: str  # the notebook beside the page


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
    try:
        node = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(node)
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        said = plain(error).partition("\n")[0][:200]
        raise NotebookError(f"{path}: not a notebook ({said}); run its stage again to make it anew") from None
    page = NotebookPage(
        title=plain(title),
        crumbs=tuple((plain(words), local(href)) for words, href in crumbs),
        source=plain(path.name),
        href=local(quote(path.name)),
    )
    html, _ = _exporter().from_notebook_node(node, resources={"page": page})
    return str(html)


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
    return [_cell(number, node) for number, node in enumerate(own, 1) if node["source"].strip()]


def _tags(node: Mapping[str, Any]) -> Sequence[str]:
    tags = node["metadata"].get("tags", [])
    return tags if isinstance(tags, list) else []


def _cell(number: int, node: Mapping[str, Any]) -> Cell:
    kind, source = node["cell_type"], node["source"]
    if kind != "code":
        html = markdown(source) if kind == "markdown" else escape(plain(source))
        return Cell(number, kind, html, "", (), None)
    tags = _tags(node)
    label = next((label for tag, label in _LABELS.items() if tag in tags), "Code")
    kept = outputs(node["outputs"])
    ended = next((output for output in kept if isinstance(output, Failure) and not _meant(output)), None)
    return Cell(number, kind, code(source), label, kept, ended)


def _meant(failure: Failure) -> bool:
    """Whether the notebook stopped itself in good order, as papermill sees it too: ``sys.exit()``."""
    return failure.name == "SystemExit" and failure.message in ("", "0")
