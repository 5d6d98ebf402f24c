"""The table of what the campaign found, in a Markdown file: each row as it was last run, or the sum of its parts.

``python -m campaign.table OUT... --write README.md`` takes the lines that runs have said, and adds up those of one row.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attrition import safe
from attrition.home import REPOSITORY

__all__ = ["Line", "code", "total", "write"]

HEAD = [
    "| # | fault | how | cases | failures | seed | took | code | date |",
    "|--:|---|---|--:|--:|--:|--:|---|---|",
]
ROW = re.compile(r"\| (\d+) \|")
CASES = re.compile(r"([\d,]+)(?: of ([\d,]+))?")


@dataclass(frozen=True)
class Line:
    """A row of the table: how many ``cases`` of the ``whole`` were run, or why none was.

    ``seed`` has the part after it, if it is one: ``81 9/12``; ``code`` is the commit that was tried.
    """

    number: int
    fault: str
    how: str
    cases: int
    whole: int
    failures: int
    seed: str
    seconds: int
    code: str
    date: str
    skipped: str = ""

    def __str__(self) -> str:
        of = f" of {self.whole:,}" if self.cases < self.whole else ""
        cases = self.skipped or f"{self.cases:,}{of}"
        about = (self.number, self.fault, self.how, cases, self.failures, self.seed, f"{self.seconds:,} s")
        return f"| {' | '.join(map(str, about))} | {self.code} | {self.date} |"

    @classmethod
    def read(cls, text: str) -> Line:
        """The line that was told so.

        Raises:
            ValueError: it is no such line.
        """
        number, fault, how, cases, failures, seed, took, code, date = text.strip().strip("|").split("|")
        found = CASES.fullmatch(cases.strip())
        done, whole = (_integer(found[1]), _integer(found[2] or found[1])) if found else (0, 0)
        skipped = "" if found else cases.strip()
        words = (fault.strip(), how.strip(), done, whole, _integer(failures), seed.strip())
        return cls(int(number), *words, _integer(took.replace("s", "")), code.strip(), date.strip(), skipped)


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def total(parts: Sequence[Line]) -> Line:
    """The parts of a row that were run one by one, each with a seed of its own or another part of the cases.

    Raises:
        ValueError: they have the same cases, are of several rows, or were not run.
    """
    first, seeds = parts[0], [each.seed for each in parts]
    if len(parts) == 1:
        return first
    if len({each.number for each in parts}) > 1 or any(each.skipped for each in parts):
        raise ValueError("lines of several rows, or of one that was not run, have no sum")
    if twice := sorted(seed for seed in set(seeds) if seeds.count(seed) > 1):
        raise ValueError(f"row {first.number}: seed {twice[0]} stands there twice, and its cases count once")
    return Line(
        first.number,
        first.fault,
        first.how,
        sum(each.cases for each in parts),
        max(each.whole for each in parts),
        sum(each.failures for each in parts),
        _each(seed.split()[0] for seed in seeds),
        sum(each.seconds for each in parts),
        _each(each.code for each in parts),
        max(each.date for each in parts),
    )


def _each(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def code() -> str:
    """The commit that is tried, with + where a file of it was changed; empty where git cannot say."""
    words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def write(path: Path, lines: Iterable[Line]) -> None:
    """Replace the rows of the table in ``path`` by those of ``lines``; the others stay.

    Raises:
        ValueError: the file has no such table.
    """
    before, head, after = path.read_text(encoding="utf-8").partition("\n".join(HEAD) + "\n")
    if not head:
        raise ValueError(f"{path}: no table that begins with {HEAD[0]!r}")
    rows = re.match(r"(\|.*\n)*", after)
    kept = rows[0] if rows else ""
    told = [*kept.splitlines(), *map(str, lines)]
    numbered = {int(found[1]): line for line in told if (found := ROW.match(line))}
    table = "".join(f"{numbered[number]}\n" for number in sorted(numbered))
    safe.write(path, before + head + table + after[len(kept) :])


def main() -> None:
    """Add up what runs have said."""
    parser = argparse.ArgumentParser(
        prog="campaign.table", description="Add up the lines that runs of a row have said."
    )
    parser.add_argument("said", type=Path, nargs="+", help="files of what `python -m campaign` said")
    parser.add_argument("--write", type=Path, action="append", default=[], help="put the sums into this file's table")
    given = parser.parse_args()
    told = [text for path in given.said for text in path.read_text(encoding="utf-8").splitlines() if ROW.match(text)]
    rows: dict[int, list[Line]] = {}
    for each in map(Line.read, told):
        rows.setdefault(each.number, []).append(each)
    sums = [total(parts) for _, parts in sorted(rows.items())]
    print(*sums, sep="\n")
    for path in given.write:
        write(path, sums)


if __name__ == "__main__":
    main()
