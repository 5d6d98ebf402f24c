# ruff: noqa: S608 -- every name that enters SQL is our own or quoted, every value is a parameter
"""The files that an assessment leaves: the predictions, this tick's list, and all current clients by risk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from attrition import safe
from attrition.store.clients import SCORES
from attrition.store.engine import Room, connect, listed, literal, quoted, rows_in

__all__ = ["COLUMNS", "lines", "readable", "write_ranking"]

COLUMNS = SCORES | {
    **{"band": "VARCHAR", "hold_out": "BOOLEAN", "gone": "BOOLEAN", "reasons": "VARCHAR[]"},
    **{"change": "DOUBLE", "change_since": "DATE", "trail": "STRUCT(day DATE, risk DOUBLE)[]"},
}
"""What a ranking holds beside the rank and the columns to show, which are text there. ``change`` is of the probability
against the newest one that is a week older at least, given on ``change_since``. ``trail`` has a client's earlier
risks, a day each, as far back as that: what the next change needs, so that nobody has to read all that was ever scored.
"""
WEEK = "INTERVAL 7 DAY"
DAY = "coalesce({0}.as_of, try_strptime(left({0}.run, 8), '%Y%m%d')::DATE)"
"""The day that a line speaks of: its as-of date, or that of the run where the portfolio has none."""
ROOM = Room("768MB", 2)
"""So that the process that assesses 20 million clients stays below 1.5 GB."""
ROWS = 10_240
"""Rows that are compressed together. A page of the list reads one such group, whatever the number of clients."""


def write_ranking(files: Sequence[Path], staging: Path, previous: Path, *, anew: bool = False) -> None:
    """Stage ``assessed.parquet`` (this tick's clients), ``ranking.parquet`` (all) and ``scores.parquet``.

    Args:
        files: Parquet files (`attrition.store.batches.write_batch`) with a row a client: ``_row``, ``id``, ``as_of``,
            ``data_version``, ``model_version``, ``run``, ``probability``, ``band``, ``hold_out`` (not to be called),
            ``gone`` (has left), ``reasons`` (list of text), then the columns to show; without ``rank``, which is
            among all current clients, highest risk first.
        staging: the run's folder.
        previous: the ranking that this one goes on from, if it is there; a client assessed again replaces its
            earlier line, of which its trail is kept.
        anew: all clients are assessed: of the previous ranking only the trails count.
    """
    ranking, assessed = staging / "ranking.parquet", staging / "assessed.parquet"
    with connect(ROOM) as db:  # its tables go to the disk where memory does not hold them
        declared = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in COLUMNS.items())
        listing, rows = rows_in(files), "*"
        if not files and safe.exists(previous):  # nobody to assess: the columns to show are the earlier ranking's
            listing, rows = rows_in([previous]), "* EXCLUDE (rank)"
        none = "" if files else "LIMIT 0"
        more = f"UNION ALL BY NAME (SELECT {rows} FROM {listing} {none})"
        if not files and not safe.exists(previous):
            more = ""
        kept = "TABLE" if safe.exists(previous) else "VIEW"  # only what an earlier ranking adds to need be held
        db.execute(f"CREATE {kept} everybody AS SELECT {declared} WHERE false {more}")
        db.execute("CREATE TABLE mine AS SELECT _row, id FROM everybody")
        if safe.exists(previous):
            _go_on(db, previous, anew)
        # One sort of whole lines, numbered as they come out of it.
        _write(
            db, "SELECT row_number() OVER () AS rank, * FROM (FROM everybody ORDER BY probability DESC, _row)", ranking
        )
        mine = "WHERE _row IN (SELECT _row FROM mine)"
        scores = f"SELECT {listed(SCORES)} FROM everybody {mine} ORDER BY _row"
        _write(db, scores, staging / "scores.parquet")
        (all_mine,) = db.execute("SELECT (SELECT count(*) FROM mine) = (SELECT count(*) FROM everybody)").fetchone()
        if all_mine:
            shutil.copyfile(ranking, assessed)
        else:
            _write(db, f"SELECT * FROM {rows_in([ranking])} {mine} ORDER BY rank", assessed)


def lines(ranking: Path) -> int:
    """How many clients are in a ranking, which its end says; 0 of one that is torn."""
    try:
        with connect(ROOM) as db:
            (counted,) = db.execute(f"SELECT count(*) FROM {rows_in([ranking])}").fetchone()
            return int(counted)
    except duckdb.InvalidInputException:
        return 0


def readable(ranking: Path) -> bool:
    """Whether all of a ranking can be read; it is, once.

    Raises:
        OSError: the disk does not give it at the moment.
        duckdb.OutOfMemoryException: nor does the memory.
    """
    try:
        with connect(ROOM) as db:
            db.execute(f"SELECT bit_xor(hash(line)) FROM {rows_in([ranking])} AS line").fetchone()
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error:
        safe.sha256(ranking)  # where that cannot be read either, it is the disk
        return False
    return True


def _write(db: Any, query: str, path: Path) -> None:
    db.execute(f"COPY ({query}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS})")


def _go_on(db: Any, previous: Path, anew: bool) -> None:
    """Add what an earlier ranking knows of the clients assessed, and the clients that are not, in shared columns."""
    earlier = rows_in([previous])
    has = {name for name, *_ in db.execute(f"DESCRIBE SELECT * FROM {earlier}").fetchall()}
    trail = "earlier.trail" if "trail" in has else f"[]::{COLUMNS['trail']}"  # a ranking of before there were any
    # What is known of a client: its trail and its last line, a risk a day, up to the day of the new line.
    db.execute(
        f"CREATE TABLE known AS SELECT mine._row AS _row, {DAY.format('everybody')} AS today, list_sort(list_filter("
        f" list_append(list_filter({trail}, lambda each: each.day <> {DAY.format('earlier')}),"
        f" {{'day': {DAY.format('earlier')}, 'risk': earlier.probability}}),"
        f" lambda each: each.day < {DAY.format('everybody')})) AS points"
        f" FROM mine JOIN everybody USING (_row) JOIN {earlier} AS earlier ON earlier.id = mine.id"
    )
    db.execute(
        "CREATE TABLE trails AS SELECT _row,"
        f" list_last(list_filter(points, lambda each: each.day <= today - {WEEK})) AS was,"
        f" list_filter(points, lambda each: each.day > today - {WEEK}) AS since FROM known"
    )
    db.execute(
        "UPDATE everybody SET change = probability - was.risk, change_since = was.day,"
        " trail = list_concat(if(was IS NULL, [], [was]), since) FROM trails WHERE everybody._row = trails._row"
    )
    if not anew:
        shared = listed(name for name, *_ in db.execute("DESCRIBE everybody").fetchall() if name in has)
        db.execute(
            f"INSERT INTO everybody BY NAME SELECT {shared} FROM {earlier} WHERE id NOT IN (SELECT id FROM mine)"
        )
