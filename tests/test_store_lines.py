"""The lines on which rows with faults stand, and what a look through a file says of it, in pieces of any size."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attrition.store import fast, lines

FIELDS = st.text(alphabet='ab1,"é', max_size=12)
SPACED = re.compile(r'(?:^|,)"?[ \t\v\f\xa0]|[ \t\v\f\xa0]"?(?:,|\r?$)', re.MULTILINE)


def written(row: list[str], quoted: bool) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator="").writerow(row)
    return text.getvalue()


@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS).map(list), max_size=20),
    wanted=st.sets(st.integers(0, 20)),
    quoted=st.lists(st.booleans(), min_size=20, max_size=20),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    piece=st.integers(1, 40),
)
@example(
    rows=[["a", "b"], ["long enough", "for a word"]],
    wanted={0, 1},
    quoted=[False] * 20,
    end="\r\n",
    last=False,
    piece=40,
)
def test_each_line_with_the_fields_of_a_wanted_row_is_found(
    rows: list[list[str]], wanted: set[int], quoted: list[bool], end: str, last: bool, piece: int
) -> None:
    asked = [(number, rows[number]) for number in sorted(wanted) if number < len(rows)]
    told = {tuple(row): number for number, row in asked}
    content = end.join(["x,y", *map(written, rows, quoted)]) + end * last
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE", piece)
        found = set(lines.lines_of(io.BytesIO(content.encode()), ",", asked))
    assert found == {(at, told[tuple(row)]) for at, row in enumerate(rows, start=2) if tuple(row) in told}


def test_a_header_is_no_wanted_line() -> None:
    assert list(lines.lines_of(io.BytesIO(b"a,b\na,b\n"), ",", [(5, ["a", "b"])])) == [(2, 5)]


def test_lines_that_look_alike_from_both_ends_are_told_apart() -> None:
    content = b"".join(b"same word %d same word\n" % number for number in range(10))
    assert list(lines.lines_of(io.BytesIO(content), ",", [(0, ["same word 7 same word"])])) == [(8, 0)]


@given(
    rows=st.lists(st.text(alphabet="a1,_+ \t\v\xa0é", max_size=8), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    piece=st.integers(1, 9),
)
@example(rows=["a", "b\xa0,c"], end="\n", last=True, piece=3)
@example(rows=["b\xa0,c"], end="\n", last=False, piece=9)
@example(rows=["a ", ",b"], end="\n", last=False, piece=2)
def test_what_is_known_of_all_fields_holds_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], end: str, last: bool, piece: int
) -> None:
    path = tmp_path_factory.mktemp("look") / "drop.csv"
    content = end.join(["x,y", *rows]) + end * last
    path.write_bytes(content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "PIECE", piece)
        form = fast._looked_through(path, b",")
    if form is None:  # it may always be left to the exact reader
        return
    assert form.lines == content.count("\n")
    assert not (form.texts.tight and SPACED.search(content))
    assert form.texts.plain == (not set("_+") & set(content))
