"""What a notebook or a run holds, made harmless: markdown, tables, plain text, code."""

from __future__ import annotations

import re
from itertools import groupby

import mistune
import nh3
from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]
from pygments.token import Comment, Keyword, Literal, Operator  # type: ignore[import-untyped]

from attrition.pages.urls import local

__all__ = ["code", "markdown", "plain", "table", "visible"]

LIMIT = 20_000
"""Characters of one text that a page shows; the notebook keeps them all."""

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links of a terminal
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"  # what else no text needs, or UTF-8 cannot hold
)
_TABLE = {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "p", "br", "b", "strong", "em", "i", "code"}
_PROSE = _TABLE | {"h1", "h2", "h3", "h4", "h5", "h6", "a", "blockquote", "pre", "ul", "ol", "li", "hr", "del"}
_CELL = {"colspan", "rowspan", "scope"}
_FAMILIES = [(Comment, "c"), (Keyword, "k"), (Operator.Word, "k"), (Literal.String, "s")]


def _attribute(_tag: str, name: str, value: str) -> str | None:
    """Keep an attribute only with a value that could stand anywhere: later replacements rely on it."""
    if name == "href":
        return local(value) or None
    if name == "scope":
        return value if value in {"row", "col", "rowgroup", "colgroup"} else None
    return value if name == "class" or re.fullmatch(r"[0-9]{1,4}", value) else None


def _cleaner(tags: set[str]) -> nh3.Cleaner:
    attributes = {"th": _CELL, "td": _CELL, "a": {"href"}, "ol": {"start"}}
    return nh3.Cleaner(
        tags=tags,
        clean_content_tags={"script", "style", "title", "template", "svg", "math"},
        attributes={tag: names for tag, names in attributes.items() if tag in tags},
        allowed_classes={"table": {"dataframe"}},
        attribute_filter=_attribute,
        url_schemes=set(),
        link_rel=None,
    )


_CLEAN_TABLE, _CLEAN_PROSE = _cleaner(_TABLE), _cleaner(_PROSE)
_MARKDOWN = mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])


def table(html: str) -> Markup:
    """HTML that a library printed, down to its tables and the words around them."""
    return _scrolling(_CLEAN_TABLE.clean(html))


def markdown(source: str) -> Markup:
    """A markdown cell as HTML: no pictures, no ids, and links only to the pages around."""
    return _scrolling(_CLEAN_PROSE.clean(str(_MARKDOWN(source))))


def _scrolling(cleaned: str) -> Markup:
    """Let a wide table scroll by itself. In cleaned HTML ``<table`` is a tag wherever it stands."""
    opened = re.sub(
        r"<table[^>]*>", r'<div class="scroll" role="region" aria-label="Table" tabindex="0">\g<0>', cleaned
    )
    return Markup(opened.replace("</table>", "</table></div>"))  # noqa: S704 - cleaned above


def visible(text: str) -> str:
    """Text without a terminal's escape sequences and other control characters."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def plain(text: object) -> str:
    """What is visible of a text, cut at ``LIMIT``."""
    shown = visible(str(text))
    left = len(shown) - LIMIT
    return shown if left <= 0 else f"{shown[:LIMIT]}\n… {left:,} more characters are in the notebook itself"


def code(source: str) -> Markup:
    """Python with its comments, keywords and strings marked."""
    tokens = ((_family(kind), text) for kind, text in PythonLexer().get_tokens(plain(source)))
    pieces = ((family, "".join(text for _, text in run)) for family, run in groupby(tokens, key=lambda pair: pair[0]))
    return Markup("").join(
        Markup('<span class="{}">{}</span>').format(family, text) if family else escape(text) for family, text in pieces
    )


def _family(kind: object) -> str:
    return next((family for parent, family in _FAMILIES if kind in parent), "")
