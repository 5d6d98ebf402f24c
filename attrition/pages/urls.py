"""The addresses that a page may link to: files beside, below or above it, and places within it."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["local", "run_page", "runs_page"]

_LOCAL = re.compile(r"(?:\.\./)*(?:[\w%~-][\w.%~-]*/)*(?:[\w%~-][\w.%~-]*)?(?:#[\w%.-]+)?", re.ASCII)


def local(href: object) -> str:
    """``href`` where it is a relative path or a fragment; the empty string, for no link, where it is not.

    A scheme, a host, a path from the root, a query and a backslash are not in its alphabet.
    """
    return href if isinstance(href, str) and len(href) <= 500 and _LOCAL.fullmatch(href) else ""


def run_page(run: object) -> str:
    """Where a run's page is, seen from its portfolio's page."""
    if not isinstance(run, str) or not run or run.startswith("."):
        return ""
    return local(f"{quote(run, safe='')}/index.html")


def runs_page(page: int, pages: int) -> str:
    """The file of one page of the list of runs: they count from the oldest, and the newest is index.html."""
    return "index.html" if page >= pages else f"runs-{page}.html"
