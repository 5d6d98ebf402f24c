"""The text that quarantine keeps of a record is the one in the file, on whatever lines and in whatever pieces."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import HEADER, ROW, Shop, portfolio

from attrition.store import verbatim
from attrition.store.verbatim import texts

OBJECT = json.dumps(dict(zip(HEADER.split(","), ROW.split(","), strict=True)))
FIELDS = st.text(alphabet='a,"é\n\r \u2028\x0b', max_size=6)


def written(row: list[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="").writerow(row)
    return text.getvalue()


def lines_in(text: str) -> int:
    return len(io.StringIO(text, newline="").readlines())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(FIELDS, min_size=1, max_size=3), min_size=1, max_size=12),
    wanted=st.sets(st.integers(0, 11)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
    piece=st.integers(1, 9),
    name=st.sampled_from(["drop.csv", "drop.csv.gz"]),
)
def test_a_record_is_told_as_it_stands_in_the_file(
    tmp_path: Path, rows: list[list[str]], wanted: set[int], end: str, last: bool, piece: int, name: str
) -> None:
    records = [written(row) for row in rows]
    starts = [1 + lines_in("".join(record + end for record in records[:at])) for at in range(len(records))]
    content = (end.join(records) + end * last).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    chosen = sorted(at for at in wanted if at < len(records))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbatim, "PIECE", piece)
        found = list(texts(path, ",", [(starts[at], rows[at]) for at in chosen]))
    assert found == [records[at] for at in chosen]


@pytest.mark.parametrize(
    ("name", "content", "line", "raw"),
    [
        ("drop.csv", f'{HEADER}\n"ann" x,2026\n{ROW}\n', 2, '"ann" x,2026'),
        ("drop.csv", f'{HEADER}\r\n{ROW},"more\r\n lines"\r\n{ROW}\r\n', 2, f'{ROW},"more\r\n lines"'),
        ("drop.csv", f"{HEADER}\n {ROW.replace('3', 'x')}", 2, f" {ROW.replace('3', 'x')}"),
        ("drop.csv", f'{HEADER}\n{ROW}\n"ann",2026-01-31,"Team",x,,yes,"1"\n', 3, '"ann",2026-01-31,"Team",x,,yes,"1"'),
        ("drop.jsonl", f'\ufeff{{"client": \n{OBJECT}\n', 1, '{"client": '),
        (
            "drop.jsonl.gz",
            f'{OBJECT}\n\n{{"client": "a\u2028", "left":  1 }}\n',
            3,
            '{"client": "a\u2028", "left":  1 }',
        ),
    ],
)
def test_quarantine_keeps_the_text(tmp_path: Path, name: str, content: str, line: int, raw: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    _, staging = Shop(tmp_path, portfolio()).stage(path)
    kept = map(json.loads, (staging / "quarantine" / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")[:-1])
    assert [each["raw"] for each in kept if each["line"] == line] == [raw]


def test_a_file_that_was_replaced_has_no_such_lines(tmp_path: Path) -> None:
    path = tmp_path / "drop.csv"
    path.write_text("one\ntwo\n")
    assert list(texts(path, ",", [(2, ["two"]), (3, ["three"]), (9, ["x"])])) == ["two", None, None]
    assert list(texts(path, ",", [(1, ["two"])])) == [None], "another row stands there now"
    (tmp_path / "drop.jsonl").write_text('{"a": 1, "b": null, "c": [2], "d": true}\n')
    told = [["1", None, "…", "true"], ["1", None, "…", "false"]]
    assert [next(texts(tmp_path / "drop.jsonl", ",", [(1, each)])) is None for each in told] == [False, True]


@pytest.mark.parametrize("content", [None, b"no gzip", gzip.compress(b"one\ntwo\n" * 2**18)[:-9]])
def test_a_file_that_is_gone_or_no_gzip_any_more_has_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "drop.csv.gz"
    if content:
        path.write_bytes(content)
    assert list(texts(path, ",", [(2, ["x"]), (2**20, ["y"])])) == [None, None]


@pytest.mark.parametrize("what", ["folder", "pipe", "link"])
def test_what_is_no_file_any_more_is_not_read(tmp_path: Path, what: str) -> None:
    path, other = tmp_path / "drop.csv", tmp_path / "other"
    other.write_text("secret\n")
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(other)
    assert list(texts(path, ",", [(1, ["secret"])])) == [None]


def test_a_file_that_became_one_endless_line_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "drop.csv"
    path.write_text("one\n" + "x" * 2**16)
    monkeypatch.setattr(verbatim, "PIECE", 2**8)
    monkeypatch.setattr(verbatim, "LINE", 2**10)
    assert list(texts(path, ",", [(2, ["x" * 2**16])])) == [None]
