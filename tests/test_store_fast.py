"""The quick way through a file finds what the exact one finds, to the row, line and fault, or leaves it alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from store_kit import COLUMNS, HEADER, ROW, Shop, csv, portfolio

from attrition.store import arrivals, fast
from attrition.store.check import opened

MIXED = COLUMNS | {"note": {"type": "text", "nullable": True, "empty": "text"}}
LINES = [
    ROW + ",x",
    ROW.replace("ann", " bob ") + ",",
    "cat,2026-01-31,Team,3,,no,,é",
    "dan,2026-13-31,Team,3.7,1,yes,1,x",
    "eve,2026-01-31,Team,1e3,1e999,yes,2,'",
    "fay,2026-01-31,Team,007,-0.0,YES,0,\u00a0y",
    "ann,2026",
    "",
    " ",
    'gus,2026-01-31,"Team",3,1,yes,1,"a ""b"""',
    '"ivy","2026-01-31","Team","3","","yes","1","a,b ""c"""',
    '"jan","2026-01-31","Team","3.5","1","yes","1",""',
    'kim,2026-01-31,Team,3,1,yes,1,"a,b"',
    'kim,2026-01-31,Team,x,1,yes,1,"a,b"',
    'kim,2026-01-31,Team,x,1,yes,1,a""b',
    '"kim" ,2026-01-31,Team,3,1,yes,1,',
    ' "kim",2026-01-31,Team,3,1,yes,1,',
    '" kim",2026-01-31,Team,3,1,yes,1," x"',
    'leo,2026-01-31,Team,3,1,yes,1,"two',
    'lines"',
    'hal,2026-01-31,Team,3,1,yes,1,"',
    ",,,,,,,",
    "#,\t,,,,,,",
    "\v",
]


def found(folder: Path, content: bytes, *, quick: bool, name: str, **changes: Any) -> dict[str, Any]:
    """What an ingest of one file finds, in the quick way or without it."""
    shop = Shop(folder, portfolio(**{"columns": MIXED, **changes}))
    folder.mkdir()
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    with pytest.MonkeyPatch.context() as patch:
        if not quick:
            patch.setattr(fast, "source", lambda *_: None)
        done, staging = shop.stage(path)
    rejected = {each.name: each.read_text() for each in (staging / "quarantine").iterdir()}
    parts = sorted((staging / "rows").iterdir())
    rows = [duckdb.connect().execute("SELECT * FROM read_parquet($1)", [str(each)]).fetchall() for each in parts]
    return {"drops": [vars(drop) for drop in done.drops], "rejected": rejected, "rows": rows}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.one_of(st.sampled_from(LINES), st.text(alphabet='a1", \t\r\v\\\0é#', max_size=12)), max_size=8),
    end=st.sampled_from(["\n", "\n", "\r\n", "\r"]),
    last=st.sampled_from(["", "\n", "\r\n", "\n\n\n", " "]),
    start=st.sampled_from(["", "\ufeff", "\n"]),
    name=st.sampled_from(["drop.csv", "drop.csv.gz"]),
)
@example(lines=[LINES[0], "", LINES[1]], end="\n", last="", start="", name="drop.csv")
@example(lines=[LINES[0], "", LINES[1]], end="\r\n", last="\r\n", start="", name="drop.csv.gz")
@example(lines=[LINES[0], LINES[10]], end="\n", last="", start="", name="drop.csv")  # quotes in the last line alone
def test_both_ways_find_the_same(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, last: str, start: str, name: str
) -> None:
    root = tmp_path_factory.mktemp("both")
    content = (start + end.join([f"{HEADER},note", *lines]) + last).encode()
    exact = found(root / "exact", content, quick=False, name=name)
    assert found(root / "quick", content, quick=True, name=name) == exact


def test_faults_are_told_where_no_column_is_a_text(tmp_path: Path) -> None:
    numbers = {"seats": {"type": "integer", "min": 0}, "fee": {"type": "number"}}
    content = b'seats,fee,left,more\n1,2.5,0,\n-1,"x",1,"a ""b"\n3,4,no,c\n,,,\n'
    ways = [
        found(tmp_path / name, content, quick=quick, name="drop.csv", columns=numbers, id=None, as_of=None)
        for name, quick in (("exact", False), ("quick", True))
    ]
    assert ways[0] == ways[1]
    told = [json.loads(line)["fields"] for line in ways[0]["rejected"]["drop.csv.jsonl"].splitlines()]
    assert told == [["-1", "x", "1", 'a "b'], ["3", "4", "no", "c"], ["", "", "", ""]]


PLAIN = {
    "plain": (HEADER + "\n" + ROW + "\n" + ROW, 2),
    "carriage returns": (HEADER + "\r\n" + ROW + "\r\n", 1),
    "empty lines at the end": (HEADER + "\n" + ROW + "\n\n\n", 1),
    "a mark before UTF-8": ("\ufeff" + HEADER + "\n" + ROW, 1),
    "quotes": (HEADER + "\n" + ROW.replace("ann", '"a, ""nn"""'), 1),
    "a header in quotes": ('"client"' + HEADER.removeprefix("client") + "\n" + ROW + "\n", 1),
    "a quote within a field": (HEADER + "\n" + ROW.replace("ann", 'a"n"n'), None),
    "text after a closing quote": (HEADER + "\n" + ROW.replace("ann", '"ann" '), None),
    "a quote that stays open": (HEADER + "\n" + ROW[:-1] + '"1', None),
    "a line's end within quotes": (HEADER + "\n" + ROW.replace("ann", '"a\nnn"'), None),
    "an empty line at the start": ("\n" + HEADER + "\n" + ROW, None),
    "an empty line between, which DuckDB will miss": (HEADER + "\n" + ROW + "\n\n" + ROW, 3),
    "a return alone": (HEADER + "\n" + ROW + "\r" + ROW, None),
    "returns in part": (HEADER + "\r\n" + ROW + "\n", None),
}


@pytest.mark.parametrize(("content", "records"), PLAIN.values(), ids=PLAIN)
def test_what_is_plain_goes_the_quick_way(tmp_path: Path, content: str, records: int | None) -> None:
    path = tmp_path / "drop.csv"
    path.write_bytes(content.encode())
    source = fast.source(path, opened(portfolio(), path), ",")
    assert (source.records if source else None) == records


def test_rows_that_duckdb_loses_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fast.source

    def loses(*given: Any) -> Any:
        source = real(*given)
        assert source
        return fast.Source(f"(SELECT * FROM {source.rows} LIMIT 1)", source.records, source.texts)

    monkeypatch.setattr(fast, "source", loses)
    done = Shop(tmp_path, portfolio()).take(csv(tmp_path, *(ROW.replace("ann", f"c{n}") for n in range(5))))
    assert done.rows == {"in": 5, "ingested": 5, "duplicates": 0, "quarantined": 0}


def test_many_faults_are_told_with_their_lines_however_they_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [ROW if n % 3 else ROW.replace("9.5", "x") for n in range(30)]
    told = []
    for many in (100, 3):
        monkeypatch.setattr(arrivals, "MANY", many)
        folder = tmp_path / str(many)
        folder.mkdir()
        _, staging = Shop(folder, portfolio()).stage(csv(folder, *lines))
        told.append((staging / "quarantine" / "drop.csv.jsonl").read_text())
    assert told[0] == told[1]
    assert [json.loads(line)["line"] for line in told[0].splitlines()] == list(range(2, 32, 3))


def test_any_number_of_buckets_makes_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"c{n},2026-01-{n % 5 + 1:02d},Team,{n % 7},{n}.5,yes,{n % 2}" for n in range(300)]
    told = [f"c{n},2026-01-{n % 5 + 1:02d},{1 - n % 2}" for n in range(0, 300, 7)]
    frames = []
    # Of a file that many buckets need, what they need is gathered once, or each reads it.
    for before, buckets, many in ((1, 1, 0), (1, 16, 0), (1, 16, 1000), (16, 4, 0), (4, 4, 0)):
        monkeypatch.setattr("attrition.store.buckets.MANY", many)
        folder = tmp_path / f"{before}-{buckets}-{many}"
        folder.mkdir()
        shop = Shop(folder, portfolio())
        monkeypatch.setattr("attrition.store.ingest._buckets", lambda _drops, before=before: before)
        shop.take(csv(folder, *rows[:40], name="first.csv"))
        monkeypatch.setattr("attrition.store.ingest._buckets", lambda _drops, buckets=buckets: buckets)
        drops = [csv(folder, *rows[part::2], *rows[part:9], name=f"{part}.csv") for part in (0, 1)]
        done = shop.take(*drops, csv(folder, *told, name="told.csv", header="client,day,left"))
        assert done.rows["in"] == done.rows["ingested"] + done.rows["duplicates"]
        assert len(done.files) == buckets
        frames.append((shop.clients.sql("SELECT * FROM clients ORDER BY _row"), [vars(drop) for drop in done.drops]))
    assert all(frame.equals(frames[0][0]) and drops == frames[0][1] for frame, drops in frames)
    numbers = frames[0][0]["_row"].tolist()
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("buckets", [1, 4])
def test_large_parts_are_numbered_by_day_then_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    monkeypatch.setattr("attrition.store.ingest._buckets", lambda _: buckets)
    rows = [f"c{n},2026-01-{n * 7 % 28 + 1:02d},Team,{n % 7},{n}.5,yes,{n % 2}" for n in range(300_000)]
    _, staging = Shop(tmp_path, portfolio()).stage(csv(tmp_path, *rows[::2]), csv(tmp_path, *rows[1::2], name="b.csv"))
    parts = sorted(map(str, (staging / "rows").iterdir()))
    query = "SELECT day, _hash, _row, filename FROM read_parquet($1, filename = true)"
    frame = duckdb.connect().execute(query, [parts]).df()
    assert len(parts) == buckets
    assert frame["_row"].groupby(frame["filename"]).is_monotonic_increasing.all()
    assert frame.sort_values("_row")["_row"].tolist() == list(range(1, 300_001))
    assert frame.sort_values("_row", ignore_index=True).equals(frame.sort_values(["day", "_hash"], ignore_index=True))
