# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""One client taken out of tables and lists: Delta, and single files of Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrition import safe
from attrition.home import Place
from attrition.params import Portfolio
from attrition.scrub.whom import Whom

__all__ = ["Damaged", "assessment", "count", "lists", "tables", "version"]


class Damaged(Exception):
    """A file of a run of which nobody can tell whose rows are in it.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path):
        self.path = path
        super().__init__(f"{path} is not whole")


def count(place: Place, whom: Whom) -> dict[str, int | None]:
    """How many rows of clients/ are the client's, and the data version that the first of them came with."""
    from attrition.store.clients import Clients
    from attrition.store.engine import quoted

    found = Clients(whom.portfolio, place.clients).sql(
        f"SELECT count(*) AS rows, min(_version) AS since FROM clients WHERE {_is(quoted(str(whom.portfolio.id)))}",
        client=whom.client,
    )
    rows = int(found["rows"].iloc[0])
    return {"rows": rows, "since": int(found["since"].iloc[0]) if rows else None}


def version(place: Place) -> int:
    """The newest version of clients/."""
    from deltalake import DeltaTable

    from attrition.store import delta

    return int(DeltaTable(str(place.clients)).version()) if delta.is_table(place.clients) else 0


def tables(place: Place, whom: Whom) -> int:
    """Rewrite the files of both tables that hold the client, and remove what the tables do not name any more."""
    from attrition.store.engine import quoted

    return sum(
        _table(folder, _is(quoted(column)), whom)
        for folder, column in ((place.clients, str(whom.portfolio.id)), (place.scores, "id"))
    )


def _table(folder: Path, is_client: str, whom: Whom) -> int:
    from deltalake import DeltaTable

    from attrition.store import delta, hashes
    from attrition.store.engine import connect, literal, rows_in

    if not delta.is_table(folder):
        return 0
    instead: dict[Path, Path | None] = {}
    stats: dict[Path, dict[str, Any]] = {}
    table = DeltaTable(str(folder))
    with connect() as db:
        for path in delta.files(folder, table):
            rows = f"FROM {rows_in([path])}"
            if not db.execute(f"SELECT count(*) {rows} WHERE {is_client}", {"client": whom.client}).fetchone()[0]:
                continue
            new = folder / f"{path.stem}-{table.version() + 1}.parquet"
            client = literal(whom.client)
            kept = f"SELECT * {rows} WHERE NOT coalesce({is_client.replace('$client', client)}, false)"
            db.execute(f"COPY ({kept}) TO {literal(new)} (FORMAT parquet, COMPRESSION zstd)")
            (left,) = db.execute(f"SELECT count(*) FROM {rows_in([new])}").fetchone()
            instead[path] = new if left else None
            if left:
                stats[new] = _stats(db, whom.portfolio, new)
    delta.rewrite(folder, instead, stats)
    named = set(delta.files(folder, DeltaTable(str(folder))))
    for path in safe.entries(folder, "*.parquet"):
        if path not in named:  # of a version before, or of a compaction cut short
            path.unlink()
    for spilt in safe.entries(folder, ".*.spilt"):
        safe.remove(spilt)
    hashes.drop_others(folder, named)
    safe.sync(folder)
    return len(instead)


def _stats(db: Any, portfolio: Portfolio, path: Path) -> dict[str, Any]:
    from attrition.store.buckets import stats
    from attrition.store.clients import score_stats
    from attrition.store.engine import rows_in

    described = db.execute(f"DESCRIBE SELECT * FROM {rows_in([path])}").fetchall()
    return stats(db, portfolio, path)[1] if "_version" in {name for name, *_ in described} else score_stats(path)


def lists(place: Place, whom: Whom) -> int:
    """The ranking without the client, its ranks dense again; whom to call first made from it anew."""
    from attrition import calling

    if not safe.exists(place.ranking):
        return 0
    changed = int(_without_lines(place.ranking, whom, ranked=True))
    calls = json.loads(place.call_list.read_text(encoding="utf-8")) if safe.exists(place.call_list) else {}
    if calls:
        about = {key: calls[key] for key in ("run", "model", "data_version")}
        anew = json.dumps(calling.lists(whom.portfolio, place.ranking, **about))
        if json.loads(anew) != calls:  # also where a call was cut short when the ranking was without the client already
            safe.write(place.call_list, anew)
            changed += 1
    return changed


def assessment(path: Path, whom: Whom) -> bool:
    """Take the client out of a Parquet file of a run; whether he was there.

    Raises:
        Damaged: it is not whole.
    """
    import duckdb

    try:
        return _without_lines(path, whom, ranked=path.stem in ("assessed", "ranking"))
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if _whole(path):
            raise
        raise Damaged(path) from error


def _whole(path: Path) -> bool:
    """Whether a Parquet file can be read to its end.

    Raises:
        OSError: the disk does not give it at the moment, which says nothing of what is in it.
    """
    import duckdb

    from attrition.store.engine import connect, rows_in

    safe.sha256(path)
    try:
        with connect() as db:
            db.execute(f"SELECT bit_xor(hash(line)) FROM (SELECT * FROM {rows_in([path])}) AS line").fetchall()
    except duckdb.Error:
        return False
    return True


def _without_lines(path: Path, whom: Whom, *, ranked: bool) -> bool:
    """Rewrite a Parquet file of assessments without the client; whether it was there."""
    from attrition.store.engine import connect, literal, rows_in
    from attrition.store.ranking import ROWS

    rows = f"FROM {rows_in([path])}"
    beside = path.with_name(f".{path.name}.tmp")
    with connect() as db:
        columns = {name for name, *_ in db.execute(f"DESCRIBE SELECT * {rows}").fetchall()}
        name = next((each for each in ("id", str(whom.portfolio.id)) if each in columns), None)
        if name is None:
            return False
        there = f'CAST("{name}" AS VARCHAR) = {literal(whom.client)}'
        if not db.execute(f"SELECT count(*) {rows} WHERE {there}").fetchone()[0]:
            return False
        dense = ranked and path.stem == "ranking"
        kept = "* REPLACE (row_number() OVER (ORDER BY rank) AS rank)" if dense else "*"
        order = " ORDER BY rank" if ranked else ""
        query = f"SELECT {kept} {rows} WHERE NOT coalesce({there}, false){order}"
        db.execute(f"COPY ({query}) TO {literal(beside)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS})")
    safe.sync(beside)
    safe.move(beside, path)
    return True


def _is(column: str) -> str:
    return f"CAST({column} AS VARCHAR) = $client"
