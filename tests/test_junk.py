"""Junk beside the drops: each piece is accounted for, the good rows go on, and nobody sees a traceback."""

import os
import shutil

import pytest
from pipeline_kit import CAPSTONE, capstone, here, quick, reports

from attrition.book import Book

HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
JUNK = {
    ".DS_Store": b"\0\0\0\1Bud1",
    "empty.csv": b"",
    "picture.csv": PNG,
    "no_target.csv": b"corporation,lastmonth_activity,lastyear_activity,number_of_employees\naa,1,2,3\nbb,4,5,6\n",
    "more.csv": b"exited,colour,number_of_employees,lastyear_activity,lastmonth_activity,corporation\n1,red,3,2,1,cc\n",
    "words.csv": f"{HEADER}\ndd,NaN,2,3,1\nee,many,2,3,0\nff,1,2,3,1\ngg,1,2,,0\n".encode(),
    "one_class.csv": f"{HEADER}\nhh,1,2,3,1\nii,2,3,4,1\n".encode(),
    "bom.csv": b"\xef\xbb\xbf" + f"{HEADER}\njj,1,2,3,0\n".encode(),
    "semicolons.csv": f"{HEADER}\nkk,1,2,3,0\n".replace(",", ";").encode(),
    "no_rows.csv": f"{HEADER}\n".encode(),
    "latin.csv": f"{HEADER}\n".encode() + b"caf\xe9,1,2,3,0\n",
}
EXPECTED = {  # rows in, ingested, quarantined, where to, and a word of the reason or note
    "empty.csv": (0, 0, 0, "quarantine", "empty"),
    "picture.csv": (0, 0, 0, "quarantine", "not text"),
    "no_target.csv": (2, 0, 2, "quarantine", "exited"),
    "more.csv": (1, 1, 0, "taken", "colour"),
    "words.csv": (4, 1, 3, "taken", "lastmonth_activity"),
    "one_class.csv": (2, 2, 0, "taken", "every outcome is 1"),
    "bom.csv": (1, 1, 0, "taken", ""),
    "semicolons.csv": (1, 0, 1, "quarantine", "';'"),
    "no_rows.csv": (0, 0, 0, "taken", "no rows"),
    "latin.csv": (0, 0, 0, "quarantine", "UTF-8"),
    "folder.csv": (0, 0, 0, "quarantine", "folder"),
    "caf%e9.csv": (1, 1, 0, "taken", ""),
    "dataset1.csv": (17, 17, 0, "taken", ""),
}


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """The furnished portfolio after a tick over all the junk and one good file."""
    root = tmp_path_factory.mktemp("junk")
    home = capstone(root / "home")
    place = home.place("capstone")
    for name, content in JUNK.items():
        (place.incoming / name).write_bytes(content)
    (place.incoming / "folder.csv").mkdir()
    (place.incoming / "folder.csv" / "inner.csv").write_bytes(JUNK["bom.csv"])
    (place.incoming / "growing.csv.part").write_bytes(JUNK["bom.csv"])
    shutil.copy(CAPSTONE / "practicedata" / "dataset1.csv", place.incoming)
    latin = place.incoming / os.fsdecode(b"caf\xe9.csv")  # a name from another machine: not UTF-8
    latin.write_bytes(JUNK["bom.csv"].replace(b"jj", b"kk"))
    for path in place.incoming.iterdir():
        os.utime(path, (0, 0))
    done = here(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(quick(root / "notebooks")))
    return place, done


def test_it_ends_well_and_without_a_traceback(after):
    place, done = after
    assert (done.returncode, done.stderr) == (0, "")
    assert reports(place)[0]["status"] == "completed"


@pytest.mark.parametrize("name", EXPECTED)
def test_each_piece_is_accounted_for(after, name):
    place = after[0]
    with Book.open(place.book, read_only=True) as book:
        line = {drop["name"]: drop for drop in book.drops(reports(place)[0]["run"])}[name]
    rows_in, ingested, quarantined, where, word = EXPECTED[name]
    assert (line["rows_in"], line["ingested"], line["quarantined"]) == (rows_in, ingested, quarantined)
    assert line["moved_to"] == where
    told = [*line["reasons"], *line["notes"]]
    assert any(word in each for each in told) or not word, told
    assert (getattr(place, where) / reports(place)[0]["run"] / name).exists()


def test_what_is_no_drop_stays_where_it_is(after):
    assert sorted(path.name for path in after[0].incoming.iterdir()) == [".DS_Store", "growing.csv.part"]


def test_rejected_rows_are_kept_with_line_and_reason(after):
    place = after[0]
    rejected = (place.quarantine / reports(place)[0]["run"] / "words.csv.jsonl").read_text()
    assert '"line": 2' in rejected
    assert "NaN" in rejected
    assert "many" in rejected
