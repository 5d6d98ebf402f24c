# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""One client taken out of tables and lists: Delta, and single files of Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


def count(place: Place, whom: Whom) -> dict[str, Any]:
    """What tells of the client's rows once they are gone.

    Returns:
        ``rows`` of clients/ that are the client's; ``since``, the data version that the first of them came with;
        ``numbered``, the rows as `Whom` takes them; ``renamed``, whether there are predictions of them by another id.
    """
    from attrition.store.clients import Clients
    from attrition.store.engine import quoted

    found = Clients(whom.portfolio, place.clients).sql(
        "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM clients "
        f"WHERE CAST({quoted(str(whom.portfolio.id))} AS VARCHAR) = $client ORDER BY _row",
        client=whom.client,
    )
    texts = found.drop(columns=["_row", "_version", "_hash"]).to_numpy().tolist()
    named = {
        row: [text for text in of_row if text is not None] for row, of_row in zip(found["_row"], texts, strict=True)
    }
    return {
        "rows": len(found),
        "since": min(map(int, found["_version"]), default=None),
        # Where the YAML named no id before, the number was one.
        "numbered": {row: sorted({*of_row, row}) for row, of_row in named.items()},
        "renamed": _renamed(place.scores, whom, named),
    }


def _renamed(scores: Path, whom: Whom, named: Mapping[str, Sequence[str]]) -> bool:
    from deltalake import DeltaTable

    from attrition.store import delta
    from attrition.store.engine import connect, rows_in

    files = delta.files(scores, DeltaTable(str(scores))) if named and delta.is_table(scores) else []
    others = {row: [text for text in texts if text != whom.client] for row, texts in named.items()}
    if not files or not any(others.values()):
        return False
    with connect() as db:
        query = f"SELECT count(*) FROM {rows_in(files)} WHERE {_numbered('id', others)}"
        return bool(db.execute(query).fetchone()[0])


def version(place: Place) -> int:
    """The newest version of clients/."""
    from deltalake import DeltaTable

    from attrition.store import delta

    return int(DeltaTable(str(place.clients)).version()) if delta.is_table(place.clients) else 0


def tables(place: Place, whom: Whom) -> int:
    """Rewrite the files of both tables that hold the client, and remove what the tables do not name any more."""
    return _table(place.clients, _is(str(whom.portfolio.id), whom), whom) + _table(place.scores, _his("id", whom), whom)


def _table(folder: Path, his: str, whom: Whom) -> int:
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
            if not db.execute(f"SELECT count(*) {rows} WHERE {his}").fetchone()[0]:
                continue
            new = folder / f"{path.stem}-{table.version() + 1}.parquet"
            kept = f"SELECT * {rows} WHERE NOT coalesce({his}, false)"
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
        there = _his(name, whom) if "_row" in columns else _is(name, whom)
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


def _is(column: str, whom: Whom) -> str:
    """SQL for whether a row has the client's id."""
    from attrition.store.engine import literal, quoted

    return f"CAST({quoted(column)} AS VARCHAR) = {literal(whom.client)}"


def _his(column: str, whom: Whom) -> str:
    """SQL for whether a row with a ``_row`` is of the client, by the id of today or by one of before."""
    return f"({_is(column, whom)} OR {_numbered(column, whom.rows)})" if whom.rows else _is(column, whom)


def _numbered(column: str, rows: Mapping[str, Sequence[str]]) -> str:
    """SQL for whether a row is one of ``rows`` by its ``_row``, under a text of that row.

    The number alone does not tell: of a table that was made anew the rows have others, and the predictions of before
    stay. Whoever works in a folder may have a ``_row`` of any type.
    """
    from attrition.store.engine import literal, quoted

    cases = " ".join(
        f"WHEN {int(row)} THEN CAST({quoted(column)} AS VARCHAR) IN ({', '.join(map(literal, texts))})"
        for row, texts in rows.items()
        if texts
    )
    return f"coalesce(CASE TRY_CAST(CAST(_row AS VARCHAR) AS BIGINT) {cases} END, false)"
