"""The table of what the campaign found, in a Markdown file: each row as it was last run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from attrition import safe

__all__ = ["write"]

HEAD = ["| # | fault | how | cases | failures | seed | took | date |", "|--:|---|---|--:|--:|--:|--:|---|"]
LINE = re.compile(r"\| (\d+) \|")


def write(path: Path, lines: Sequence[str]) -> None:
    """Replace the rows of the table in ``path`` by those of ``lines``; the others stay.

    Raises:
        ValueError: the file has no such table.
    """
    before, head, after = path.read_text(encoding="utf-8").partition("\n".join(HEAD) + "\n")
    if not head:
        raise ValueError(f"{path}: no table that begins with {HEAD[0]!r}")
    rows = re.match(r"(\|.*\n)*", after)
    kept = rows[0] if rows else ""
    numbered = {int(found[1]): line for line in [*kept.splitlines(), *lines] if (found := LINE.match(line))}
    table = "".join(f"{numbered[number]}\n" for number in sorted(numbered))
    safe.write(path, before + head + table + after[len(kept) :])
