"""``runner.py init FILE --target COLUMN``: from a file of clients to a portfolio, its first run and its first list."""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from attrition import safe
from attrition.console import plain
from attrition.home import NAME, Home, Place, UsageError
from attrition.profile import Dialect, Profile, dialect, profile
from attrition.store import marks
from attrition.store.drops import is_drop

__all__ = ["configure", "main"]

ROWS = 200_000
"""Rows of the file that are looked at; the first tick checks them all."""
FIRST = 5
"""Clients of the list that are shown at once."""
LINES = 200
"""Lines that tell how the file writes its fields."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.description = "Looks at a CSV of clients, writes the portfolio's YAML, and runs the first tick."
    parser.add_argument("file", type=Path, help="a CSV with a header, one client a row")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the outcome: whether the client left")
    parser.add_argument("--id", metavar="COLUMN", help="what names a client; else found, else made")
    parser.add_argument("--positive", metavar="VALUE", help="how the file writes that a client left; else found")
    parser.add_argument("--name", help="of the portfolio; else the file's")
    parser.add_argument("--dry-run", action="store_true", help="show the YAML and write nothing")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Write the portfolio and run it; returns the exit status.

    Raises:
        UsageError: the file cannot be read or has no such column, or the portfolio is there already.
    """
    from attrition.draft import yaml_text

    path: Path = arguments.file
    place = home.place(arguments.name or _named(path))
    if safe.exists(place.params) and not arguments.dry_run:
        raise UsageError(
            f"{place.params} is there already: to take more clients in, put the file into {place.incoming}; "
            "for another portfolio choose a --name"
        )
    form, columns = _read(path)
    found = profile(columns, arguments.target, id=arguments.id, positive=arguments.positive, decimal=form.decimal)
    text = yaml_text(found, form, title=place.name.replace("_", " ").replace("-", " ").capitalize(), source=path.name)
    _check(text, place.name)
    _tell(place, found)
    if arguments.dry_run:
        print(text, end="")
        return 0
    _begin(place, path, text)
    return _first_tick(home, place)


def _named(path: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "_", path.name.lower().lstrip(".").partition(".")[0]).strip("_-")
    name = (name if name[:1].isalpha() else f"p_{name}")[:32]
    return name if NAME.fullmatch(name) else "clients"


def _read(path: Path) -> tuple[Dialect, dict[str, list[str]]]:
    """How the file writes its fields, and its columns as texts."""
    try:
        if safe.exists(path) and not safe.is_file(path):
            raise UsageError(f"{path} is no regular file: what comes through a pipe, save into one first")
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(islice(file, LINES))
            if not lines:
                raise UsageError(f"{path}: an empty file")
            form = dialect(lines[0], lines[1:])
            file.seek(0)
            records = [row for row in islice(csv.reader(file, delimiter=form.delimiter, strict=True), ROWS + 1) if row]
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: not UTF-8 ({error.reason}); in Excel: Save As, 'CSV UTF-8 (comma delimited)'"
        ) from None
    except csv.Error as error:
        raise UsageError(f"{path}: not a CSV that can be read: {error}") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not records:
        raise UsageError(f"{path}: blank lines and nothing else")
    header = [name.strip() for name in records[0]]
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise UsageError(f"{path}: the header has {twice!r} twice")
    whole = [row for row in records[1:] if len(row) == len(header)]
    if not whole:
        raise UsageError(f"{path}: a header and no rows")
    if wrong := len(records) - 1 - len(whole):
        print(f"warning: {wrong:,} rows have more or fewer fields than the header; the tick sets them aside")
    return form, {name: list(values) for name, values in zip(header, zip(*whole, strict=True), strict=True)}


def _check(text: str, name: str) -> None:
    """What was written must be a portfolio: a column may be of a kind that none can have."""
    from attrition import params

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.yaml")
        path.write_text(text, encoding="utf-8")
        params.load(path)


def _tell(place: Place, found: Profile) -> None:
    out = sys.stderr
    used = [each.name for each in found.columns if not each.left_out and each.name not in (found.id, found.as_of)]
    known = found.rows - found.unlabelled
    print(f"{place.name}: {found.rows:,} rows, {known:,} with an outcome; {len(used)} columns to learn from", file=out)
    outcomes = f"{found.target} = {found.positive} is a client who left, {found.negative} one who stayed"
    print(f"  {plain(outcomes)}", file=out)
    print(f"  a client is named by {plain(found.id)}{' (made)' if found.made_id else ''}", file=out)
    for warning in found.warnings:
        print(f"  warning: {plain(warning)}", file=out)


def _begin(place: Place, path: Path, text: str) -> None:
    """Make the portfolio: its YAML, and the whole file as a drop; or nothing of both.

    Raises:
        UsageError: a drop of that name waits already.
        OSError: there is no room, or a folder cannot be written to.
    """
    target = safe.make_folder(place.incoming) / _taken_as(path.name)
    if safe.there(target):
        raise UsageError(f"{target} is there already: move it away, and call this with the file where it is then")
    beside = marks.released(place.incoming, 0)  # no drop's number; of a kill the next tick sweeps it
    with ExitStack() as undo:
        undo.callback(beside.unlink, missing_ok=True)
        shutil.copyfile(path, beside)
        safe.sync(beside)
        safe.make_folder(place.params.parent)
        undo.callback(place.params.unlink, missing_ok=True)
        safe.write(place.params, text)
        beside.replace(target)
        undo.pop_all()  # from here on a tick may take it in
    safe.sync(target.parent)
    safe.write(target.with_name(f"{target.name}.done"), "")


def _taken_as(name: str) -> str:
    """A file's name, or one of it by which a tick takes it for a drop."""
    name = name.lstrip(".")
    return name if Path(name).suffix and is_drop(name) else f"{name}.csv"


def _first_tick(home: Home, place: Place) -> int:
    from runner import tick

    print(f"{place.params}: written. The first tick:", flush=True)
    if (status := tick(home, place.name)) == 0:
        print("\n".join(["", *_list(place), "", "Next:", *_next(place)]))
    return status


def _list(place: Place) -> Iterator[str]:
    """The head of the list, where there is a model."""
    from attrition import assessment, params

    if not safe.exists(place.ranking):
        yield "No list yet: the report says what is wanting for a first model."
        return
    yield "To be called first:"
    for place_, client in enumerate(assessment.top(params.load(place.params), place.ranking)[:FIRST], 1):
        name, reasons = plain(client["id"]), plain(_whole(client["reasons"]))
        yield f"  {place_}  {name:<28} {client['probability']:>4.0%}  {reasons}"


def _whole(reasons: str, width: int = 120) -> str:
    """As many reasons as fit a line, none of them cut; the first always."""
    first, *others = reasons.split("; ")
    for other in others:
        if len(first) + len(other) + 2 > width:
            break
        first = f"{first}; {other}"
    return first


def _next(place: Place) -> Iterator[str]:
    """The three commands that come next."""
    me, api = _me()
    yield f"  {api:<34}  the whole list: http://127.0.0.1:8000/clients?portfolio={place.name}"
    yield f"  {f'{me} tick {place.name}':<34}  after more files were put into {place.incoming}"
    yield f"  {f'{me} schedule --install':<34}  that, every 15 minutes, and the API after a restart"
    yield f"To read: {place.executed / 'index.html'}"
    yield f"To look over: {place.params}"


def _me() -> tuple[str, str]:
    """How the runner was called, and how the API is."""
    called = Path(sys.argv[0]).name
    if not called.endswith(".py"):
        return "attrition", "attrition-api"
    python = Path(sys.executable)  # not resolved: the link within .venv is what finds the libraries
    here = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f"{here} runner.py", f"{here} api.py"
