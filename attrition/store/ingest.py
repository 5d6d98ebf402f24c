# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Drops to new rows: checked, without duplicates, numbered, and staged as Parquet for the runner to commit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attrition import safe
from attrition.params import Portfolio
from attrition.store import outcomes, repeats
from attrition.store.check import bad_rows, check, reasons
from attrition.store.clients import Clients
from attrition.store.engine import connect, fields, listed, literal, quoted
from attrition.store.manifest import Drop, Ingest, Part

__all__ = ["Drop", "Ingest", "Part", "ingest"]


def ingest(portfolio: Portfolio, clients: Clients, drops: Sequence[Path], staging: Path, *, run: str) -> Ingest:
    """Check ``drops`` in order of their names and stage what is new against ``clients`` and among themselves.

    Writes into ``staging`` only: ``rows/part-….parquet`` (none without a new row),
    ``quarantine/<drop>.jsonl`` for drops with rows that cannot be taken, and ``ingest.json``.

    Raises:
        FileNotFoundError: a drop is gone.
    """
    for folder in ("rows", "quarantine"):
        safe.make_folder(staging / folder)
    drops = sorted(drops, key=lambda path: path.name)
    with connect() as connection:
        _create_tables(connection, portfolio)
        taken = [_take(connection, portfolio, number, path, staging) for number, path in enumerate(drops)]
        _find_new(connection, portfolio, clients.files)
        told = _join_outcomes(connection, portfolio, clients.files)
        accounts = [_without_duplicates(connection, number, drop) for number, drop in enumerate(taken)]
        for number in told:
            accounts[number] = _with_unmatched(connection, portfolio, number, accounts[number], drops[number], staging)
        part = _write(connection, portfolio, clients, staging / "rows")
    done = Ingest(
        run=run,
        ingest=clients.ingests + (part is not None),
        data_version=clients.version + (part is not None),
        files=[part] if part else [],
        drops=accounts,
    )
    done.write(staging)
    return done


def _create_tables(connection: Any, portfolio: Portfolio) -> None:
    """What arrived, what of it is new, each with ``_told``: whether an outcome that came alone made the row."""
    typed = ", ".join(f"{quoted(name)} {kind}" for name, kind in fields(portfolio).items())
    for table in ("arrived", "new"):
        connection.execute(f"CREATE TABLE {table} (_drop BIGINT, _line BIGINT, {typed}, _hash BIGINT, _told BOOLEAN)")
    outcomes.create_told(connection, portfolio)


def _take(connection: Any, portfolio: Portfolio, number: int, path: Path, staging: Path) -> Drop:
    """Check one drop, add its good rows to ``arrived`` and keep its bad ones; duplicates are not told apart yet."""
    # Before it is read: if it changes meanwhile, the hash is not that of the new content, which is thus not moved away.
    sha256, size = _identity(path)
    checked = check(connection, portfolio, path)
    (good,) = connection.execute("SELECT count(*) FROM good").fetchone()
    if checked.outcomes:
        outcomes.keep(connection, number)
    else:
        _arrive(connection, portfolio, f"SELECT {number} AS _drop, * FROM good", told=False)
    return Drop(
        name=path.name,
        sha256=sha256,
        size=size,
        rows_in=checked.rows,
        ingested=good,
        duplicates=0,
        quarantined=checked.rows - good,
        reasons={checked.refused: checked.rows} if checked.refused else _quarantine(connection, path, staging),
        notes=list(checked.notes),
        to="quarantine" if checked.refused else "taken",
    )


def _arrive(connection: Any, portfolio: Portfolio, rows: str, *, told: bool) -> None:
    """Add the rows that the SQL ``rows`` selects (_drop, _line, columns, target) to ``arrived``."""
    values = f"_drop, _line, {listed(fields(portfolio))}, {_hash(portfolio)}, {told}"
    connection.execute(f"INSERT INTO arrived SELECT {values} FROM ({repeats.numbered(portfolio, rows)})")


def _identity(path: Path) -> tuple[str | None, int]:
    if path.is_symlink() or not path.is_file():
        return None, 0
    try:
        return safe.sha256(path), path.stat().st_size
    except PermissionError:
        return None, path.stat().st_size


def _hash(portfolio: Portfolio) -> str:
    """SQL for 64 bits of a row: the last 8 bytes of the MD5 of its canonical text, little-endian, signed.

    The text is each value's length and itself, in order of the columns' names, so that no two
    rows share it and the order of columns in the YAML means nothing.
    """
    values = [f"CAST({quoted(name)} AS VARCHAR)" for name in sorted(fields(portfolio))]
    canonical = " || ".join(f"coalesce(length({value}) || ':' || {value}, '-')" for value in values)
    number = f"CAST(md5_number_lower({canonical}{repeats.suffix(portfolio)}) AS HUGEINT)"
    return f"CAST({number} - CASE WHEN {number} >= {2**63} THEN {2**64} ELSE 0 END AS BIGINT)"


def _quarantine(connection: Any, path: Path, staging: Path) -> dict[str, int]:
    """Write the rows that cannot be taken, one JSON a line, and count their faults."""
    counts = reasons(connection)
    if counts:
        # A name near the file system's limit has no room for a suffix; a name need not be UTF-8 either.
        long = len(os.fsencode(path.name)) > 200
        name = hashlib.sha256(os.fsencode(path.name)).hexdigest() if long else path.name
        target = staging / "quarantine" / f"{name}.jsonl"
        with target.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for row in bad_rows(connection):
                line = {"file": path.name, "line": row.line, "reason": row.reason, "raw": row.raw}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return counts


def _find_new(connection: Any, portfolio: Portfolio, store: list[Path]) -> None:
    """Move the first of each row in ``arrived`` to the table ``new``, but for what that or the store has already."""
    names = fields(portfolio)

    def same(table: str, other: str) -> str:
        pairs = ((f"{table}.{quoted(name)}", f"{other}.{quoted(name)}") for name in ("_hash", *names))
        return " AND ".join(f"{one} IS NOT DISTINCT FROM {two}" for one, two in pairs)

    connection.execute(
        f"INSERT INTO new SELECT * FROM arrived WHERE NOT EXISTS (SELECT 1 FROM new WHERE {same('arrived', 'new')}) "
        f"QUALIFY row_number() OVER (PARTITION BY _hash, {listed(names)} ORDER BY _drop, _line) = 1"
    )
    connection.execute("DELETE FROM arrived")
    if not store:
        return
    # Most ticks bring only new rows: one column of the store tells, and the others are not read.
    table = f"read_parquet([{', '.join(map(literal, store))}], hive_partitioning = false)"
    connection.execute(
        f"CREATE OR REPLACE TABLE hits AS SELECT DISTINCT _hash FROM {table} WHERE _hash IN (SELECT _hash FROM new)"
    )
    if connection.execute("SELECT count(*) FROM hits").fetchone() == (0,):
        return
    connection.execute(
        "CREATE OR REPLACE TABLE known AS "
        f"SELECT _hash, {listed(names)} FROM {table} WHERE _hash IN (SELECT _hash FROM hits)"
    )
    connection.execute(f"DELETE FROM new WHERE EXISTS (SELECT 1 FROM known WHERE {same('new', 'known')})")


def _join_outcomes(connection: Any, portfolio: Portfolio, store: list[Path]) -> list[int]:
    """Add to ``new`` what outcomes that came alone make of the rows they join; the numbers of their drops."""
    found = connection.execute("SELECT _drop FROM told UNION SELECT _drop FROM told_bad ORDER BY _drop").fetchall()
    if found:
        outcomes.join(connection, portfolio, store)
        _arrive(connection, portfolio, "SELECT * FROM joined", told=True)
        _find_new(connection, portfolio, store)
    return [number for (number,) in found]


def _without_duplicates(connection: Any, number: int, drop: Drop) -> Drop:
    (new,) = connection.execute("SELECT count(*) FROM new WHERE _drop = $number", {"number": number}).fetchone()
    return replace(drop, ingested=new, duplicates=drop.ingested - new)


def _with_unmatched(connection: Any, portfolio: Portfolio, number: int, drop: Drop, path: Path, staging: Path) -> Drop:
    """The account of a drop of outcomes: what joined no row is no duplicate, but quarantined."""
    unmatched = outcomes.set_aside(connection, number)
    (clients,) = connection.execute(
        f"SELECT count(DISTINCT {quoted(portfolio.id or '')}) FROM new WHERE _drop = $number", {"number": number}
    ).fetchone()
    return replace(
        drop,
        duplicates=drop.duplicates - unmatched,
        quarantined=drop.quarantined + unmatched,
        reasons=_quarantine(connection, path, staging),
        notes=[*drop.notes, f"outcomes of {clients:,} client{'' if clients == 1 else 's'} joined"],
    )


def _write(connection: Any, portfolio: Portfolio, clients: Clients, rows: Path) -> Part | None:
    """Number the new rows by as-of date (unknown first), then hash, never by file order, and write them.

    Of a day those that an outcome made come last, so that the newest row of a client knows it.
    """
    if connection.execute("SELECT count(*) FROM new").fetchone() == (0,):
        return None
    names, version, last = list(fields(portfolio)), clients.version + 1, clients.rows
    order = ([f"{quoted(portfolio.as_of)} NULLS FIRST"] if portfolio.as_of else []) + ["_told", "_hash", listed(names)]
    path = rows / f"part-{version:06d}-0.parquet"
    connection.execute(
        f"COPY (SELECT {listed(names)}, {last} + row_number() OVER (ORDER BY {', '.join(order)}) AS _row, "
        f"CAST({version} AS BIGINT) AS _version, _hash FROM new ORDER BY _row) "
        f"TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)"
    )
    (count,) = connection.execute("SELECT count(*) FROM new").fetchone()
    stats = {
        "numRecords": count,
        "minValues": {"_row": last + 1, "_version": version},
        "maxValues": {"_row": last + count, "_version": version},
        "nullCount": {"_row": 0, "_version": 0},
    }
    return Part(path.name, path.stat().st_size, safe.sha256(path), count, stats)
