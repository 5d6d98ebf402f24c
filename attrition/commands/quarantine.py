"""``runner.py quarantine PORTFOLIO``: what was set aside, file by file and row by row, and how to bring it back.

``--release FILE`` takes a corrected file in: it must have the name of one that something of was set aside. It waits in
``incoming/`` like any drop; rows that the store has are duplicates, so that the whole file may be given again. With its
rows the book learns who released what: the account of the first file stays as it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from attrition import safe
from attrition.book import RELEASE, Book
from attrition.console import integer, say, user, write
from attrition.home import Home, Place, UsageError
from attrition.store import marks
from attrition.store.aside import rejected
from attrition.store.outcomes import UNMATCHED

__all__ = ["configure", "main"]

ROWS = 100  # of a file, shown to a person


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON document a line")
    parser.add_argument("--all", action="store_true", help="also what was released since")
    parser.add_argument(
        "--limit", type=integer(0), metavar="N", help=f"at most N rows a file (default {ROWS}; --json: all)"
    )
    parser.add_argument("--release", type=Path, metavar="FILE", help="take a corrected file in, with the next tick")
    parser.add_argument("--run", help="with --release: the run that set it aside, where several files had its name")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Print the list, or release a file; returns the exit status."""
    place = home.place(arguments.portfolio)
    if not safe.exists(place.book):
        raise UsageError(f"{place.name}: no tick has run yet; start with: runner.py tick {place.name}")
    with Book.open(place.book) as book:
        drops = book.set_aside()
    if arguments.release:
        return _release(place, drops, arguments.release, arguments.run)
    shown = [drop for drop in drops if arguments.all or not drop["released"]]
    told = _as_json if arguments.json else _as_text
    for drop in shown:
        for line in told(place, drop, arguments.limit):
            write(f"{line}\n")
    if not shown and not arguments.json:
        write(f"{place.name}: nothing is set aside\n")
    return 0


def _as_json(place: Place, drop: dict[str, Any], limit: int | None) -> Iterator[str]:
    """A line for each row, or for the file of which nothing was taken."""
    about = {key: drop[key] for key in ("run", "released")}
    if drop["moved_to"] == "quarantine":
        nothing = dict.fromkeys(("line", "raw", "fields"))
        yield json.dumps({**about, "file": drop["name"], "reason": _reason(drop), **nothing})
        return
    for row in _rows(place, drop, limit):
        yield json.dumps({**about, **row})


def _as_text(place: Place, drop: dict[str, Any], limit: int | None) -> Iterator[str]:
    released = drop["released"]
    ended = f", released by {released['by']} at {released['at']}" if released else ""
    whole = drop["moved_to"] == "quarantine"
    what = "all of it" if whole else f"{drop['quarantined']:,} of {drop['rows_in']:,} rows"
    yield _shown(f"{drop['name']} ({drop['run']}): {what} set aside{ended}")
    if whole:
        yield _shown(f"  {_reason(drop)}")
        yield _shown(f"  {place.quarantine / drop['run'] / drop['name']}")
        return
    shown = 0
    for row in _rows(place, drop, ROWS if limit is None else limit):
        yield _shown(f"  line {row['line']}: {row['reason']}: {_said(row)}")
        shown += 1
    if shown < drop["quarantined"]:
        yield f"  … and {drop['quarantined'] - shown:,} more: --limit N, or --json for programs"


def _rows(place: Place, drop: dict[str, Any], limit: int | None) -> Iterator[dict[str, Any]]:
    path = place.quarantine / drop["run"] / rejected(drop["name"])
    if not safe.exists(path):  # somebody cleared it away: the ledger still knows how many there were
        return
    with path.open(encoding="utf-8") as file:
        for line in islice(file, limit):
            yield json.loads(line)


def _said(row: dict[str, Any]) -> str:
    """A row as it stands in its file; what was read from it where it has no text (Parquet), or none was kept yet."""
    raw = row["raw"]
    return raw if isinstance(raw, str) else json.dumps(row.get("fields", raw), ensure_ascii=False)


def _reason(drop: dict[str, Any]) -> str:
    return "; ".join(drop["reasons"])


def _shown(text: str) -> str:
    """A text that may be printed: what would steer a terminal stands as its escape."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _corrected(drops: list[dict[str, Any]], name: str, run: str | None) -> dict[str, Any]:
    """The drop that a file corrects."""
    waits = [drop for drop in drops if not drop["released"] and run in (None, drop["run"])]
    found = [drop for drop in waits if drop["name"] == name]
    if not found:
        names = ", ".join(dict.fromkeys(drop["name"] for drop in waits[:10])) or "nothing"
        raise UsageError(_shown(f"{name}: no file of this name has rows set aside; there is {names}"))
    if len(found) > 1:
        runs = ", ".join(drop["run"] for drop in found[:10])
        raise UsageError(_shown(f"{name}: files of this name were set aside by {runs}: name one of them with --run"))
    return found[0]


def _release(place: Place, drops: list[dict[str, Any]], path: Path, run: str | None) -> int:
    drop = _corrected(drops, path.name, run)
    if not safe.is_regular(path):
        raise UsageError(_shown(f"{path}: no such file"))
    sha256 = safe.sha256(path)
    same = sha256 == drop["sha256"] and UNMATCHED not in drop["reasons"]  # whose client may have come since
    if same and not _other_yaml(place, drop["run"]):
        raise UsageError(_shown(f"{path.name} is as it was when it was set aside: correct it first, or the YAML"))
    safe.make_folder(place.incoming)
    beside = marks.released(place.incoming, drop["number"])
    shutil.copyfile(path, beside)
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    mark = {"by": user(), "at": at, "sha256": sha256}
    try:
        marks.land(beside, place.incoming / path.name, source=RELEASE, key=str(drop["number"]), mark=mark)
    except FileExistsError as error:
        raise UsageError(_shown(str(error))) from None
    finally:
        beside.unlink(missing_ok=True)
    say(place, f"{path.name} waits for the next tick, in place of what run {drop['run']} set aside")
    return 0


def _other_yaml(place: Place, run: str) -> bool:
    """Whether the portfolio's YAML has changed since a run: what it set aside for the YAML's sake may be good now."""
    try:
        then = json.loads((place.executed / run / "run.json").read_text(encoding="utf-8"))["params_sha256"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(then != safe.sha256(place.params))
