"""Spoilt files of every format: each row accounted for, no traceback, memory bounded, and again changes nothing.

500 files in a test; ``make campaign-input`` makes 10,000.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import HEADER, Shop, portfolio

from attrition.store.aside import rejected
from attrition.store.engine import database, literal
from attrition.store.manifest import Drop

FILES = int(os.environ.get("ATTRITION_CAMPAIGN", "500"))
AT_ONCE = 10  # files in one ingest
MOST = 1_500_000  # KiB that one example may take

NAMES = HEADER.split(",")
ROWS = [
    ["ann", "2026-01-31", "Team", "3", "9.5", "yes", "1"],
    ["bob", "2026-01-31", "Basic", "0", "", "no", "0"],
    ["Zoë 😀", "2026-02-28", "Team", "1000", "-1e3", "TRUE", ""],
    ['q"u,o\nte', "0001-01-01", "Basic", "+07", ".5", "0", "1"],
    ["ann", "2026-01-31", "Team", "3", "9.50", "yes", "1"],
    ["bad", "2026-02-30", "team", "3.7", "NaN", "maybe", "2"],
]
VALUES = [
    "1e308",
    "1e309",
    "-1e400",
    "Infinity",
    "-inf",
    "NaN",
    "0000-01-01",
    "0000-00-00",
    "9999-12-31",
    "-0001-01-01",
]
VALUES += ["", " ", "NULL", "007", "-0", "0x10", "1_000", "٣", "9" * 400, "9223372036854775808", "\u2028", "\u0000"]
VALUES += ["'; DROP TABLE good; --", "=1+1", "{", "[]", "\\", '"', "true"]
PIECES = [
    b'"',
    b'""',
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xe9",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
]
PIECES += [b"{", b"}", b"[" * 2000, b"\\ud800", b"PAR1", b"\x1f\x8b\x08", b"x" * (2**17 + 1), b"," * 10_000]


def as_csv(header: list[str], rows: list[list[str]]) -> bytes:
    quoted = [
        [f'"{v}"'.replace('q"u', 'q""u') if re.search('[",\n]', v) else v for v in row] for row in [header, *rows]
    ]
    return "\n".join(map(",".join, quoted)).encode("utf-8", "surrogatepass")


def as_json(header: list[str], rows: list[list[str]]) -> bytes:
    return "\n".join(json.dumps(dict(zip(header, row, strict=False))) for row in rows).encode()


@cache
def writer() -> Any:
    return database()


@cache
def as_parquet(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> bytes:
    """Texts as they are, under names that Parquet lets stand beside each other."""
    names = [f"{name}{'' if header.index(name) == place else place}" for place, name in enumerate(header)]
    values = ", ".join("(" + ", ".join(literal(v.replace("\0", "")) for v in row) + ")" for row in rows)
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.parquet")
        writer().execute(f"COPY (SELECT * FROM (VALUES {values}) AS t({listed})) TO {literal(path)} (FORMAT parquet)")
        return path.read_bytes()


def packed(make: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda header, rows: gzip.compress(make(header, rows), mtime=0)


FORMATS: dict[str, Callable[..., bytes]] = {
    ".csv": as_csv,
    ".jsonl": as_json,
    ".csv.gz": packed(as_csv),
    ".ndjson.gz": packed(as_json),
    ".parquet": lambda header, rows: as_parquet(tuple(header), tuple(map(tuple, rows))),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Header and rows, some values odd; columns doubled, renamed, added or missing."""
    header, rows = list(NAMES), [list(row) for row in draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=6))]
    for _ in range(draw(st.integers(0, 2))):
        rows[draw(st.integers(0, len(rows) - 1))][draw(st.integers(0, 6))] = draw(st.sampled_from(VALUES))
    change = draw(st.sampled_from(["none"] * 6 + ["double", "rename", "extra", "missing", "wide"]))
    place = draw(st.integers(0, 6))
    if change == "double":
        header[place] = header[place - 1]
    elif change == "rename":
        header[place] = header[place].upper() + draw(st.sampled_from(["", " ", "\u200b", "x"]))
    elif change in ("extra", "wide"):
        more = 1 if change == "extra" else 10_000
        header, rows = header + [f"more{n}" for n in range(more)], [row + ["x"] * more for row in rows]
    elif change == "missing":
        header, rows = header[:place] + header[place + 1 :], [row[:place] + row[place + 1 :] for row in rows]
    return header, rows


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """A suffix and a content: of a good or an odd table, with bytes flipped, put in, cut away or encoded otherwise."""
    suffix = draw(st.sampled_from(list(FORMATS)))
    header, rows = draw(tables())
    if suffix == ".parquet" and len(header) > 1000:
        header, rows = header[:1001], [row[:1001] for row in rows]
    content = FORMATS[suffix](header, rows)
    how = draw(st.sampled_from(["none", "flip", "flip", "piece", "cut", "repeat", "encode", "suffix"]))
    at = draw(st.integers(0, max(0, len(content) - 1)))
    if how == "flip":
        spoil = bytearray(content)
        for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
            spoil[place] ^= draw(st.integers(1, 255))
        content = bytes(spoil)
    elif how == "piece":
        content = content[:at] + draw(st.sampled_from(PIECES)) + content[at + draw(st.integers(0, 3)) :]
    elif how == "cut":
        content = content[:at]
    elif how == "repeat":
        content = content[:at] + content[at // 2 :]
    elif how == "encode":
        text = content.decode("utf-8", "replace")
        content = text.encode(draw(st.sampled_from(["utf-16", "utf-32", "latin-1", "cp037", "utf-8-sig"])), "replace")
    elif how == "suffix":
        suffix = draw(st.sampled_from([*FORMATS, ".txt", ".gz", ".PARQUET", ""]))
    return suffix, content


def records(suffix: str, content: bytes) -> int | None:
    """How many records a text file has, where that can be said without reading it as the store does."""
    if suffix not in (".csv", ".jsonl"):
        return None
    text = content.decode("utf-8-sig")
    if suffix == ".jsonl":
        return sum(1 for line in text.split("\n") if line.strip())
    if suffix == ".csv" and '"' not in text:
        return sum(1 for line in re.split("\r\n|\r|\n", text) if line) - 1
    return None


def account(drop: Drop, staging: Path, suffix: str, content: bytes) -> None:
    """A drop's account, held against what it left and what can be counted in it."""
    assert drop.rows_in == drop.ingested + drop.duplicates + drop.quarantined
    assert min(drop.ingested, drop.duplicates, drop.quarantined) >= 0
    assert drop.reasons or drop.quarantined == 0
    if drop.to == "quarantine":
        assert (drop.ingested, drop.duplicates) == (0, 0)
        assert all(reason and reason == reason.strip() for reason in drop.reasons)
        return
    path = staging / "quarantine" / rejected(drop.name)
    aside = [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]] if path.exists() else []
    assert len(aside) == drop.quarantined
    assert all(row["file"] == drop.name and row["line"] >= 1 and row["reason"] for row in aside)
    assert len({row["line"] for row in aside}) == len(aside), "one line, one reason"
    counted = records(suffix, content)
    assert counted is None or counted == drop.rows_in


def memory(name: str, *, anew: bool = False) -> int:
    """This process's memory in KB; ``anew``: its peak is told from now on, whatever other tests took before."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


@settings(
    max_examples=max(1, FILES // AT_ONCE),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(files=st.lists(spoilt(), min_size=AT_ONCE, max_size=AT_ONCE))
def test_spoilt_files(files: list[tuple[str, bytes]]) -> None:
    before = memory("VmRSS", anew=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shop, drops = Shop(root, portfolio()), []
        for number, (suffix, content) in enumerate(files):
            drops.append(root / f"{number}{suffix}")
            drops[-1].write_bytes(content)
        done, staging = shop.stage(*drops)
        for drop, (suffix, content) in zip(done.drops, files, strict=True):
            account(drop, staging, suffix, content)
        shop.commit(staging)
        rows: dict[str, Any] = done.rows
        assert shop.clients.rows == rows["ingested"] == len(shop.clients.frame())
        again = shop.take(*drops)
        assert again.rows == {**rows, "ingested": 0, "duplicates": rows["ingested"] + rows["duplicates"]}
        assert again.data_version == done.data_version
    assert memory("VmHWM") - before < MOST
