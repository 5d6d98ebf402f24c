"""The fault campaign in its short form, in processes of its own; and that its tools see what they should."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from conftest import require
from hypothesis import given
from hypothesis import strategies as st

from attrition.home import REPOSITORY
from campaign import command, disk, postgres, shim, table
from campaign.command import ROWS
from campaign.harness import JOBS, PART, Result
from campaign.planted import defects, text_with
from campaign.rows import clocks
from campaign.shim import Kind, Step
from campaign.table import Line


@pytest.fixture(scope="module")
def short():
    """What the short form of all rows said, run once: its beginning takes as long as two rows."""
    require(not shim.available(), shim.available())
    words = [sys.executable, "-m", "campaign", "--short"]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=False)


@pytest.mark.parametrize("row", [number for number, row in ROWS.items() if row.short])
def test_nothing_is_lost(short, row):
    if ROWS[row].at.startswith("queries"):
        require(not postgres.missing(), postgres.missing())
    told = [line.split(" | ") for line in short.stdout.splitlines() if line.startswith(f"| {row} |")]
    assert [line[4] for line in told] == ["0"], short.stdout + short.stderr[-3000:]
    cases = told[0][3]
    require(cases[0].isdigit(), f"row {row} was not run: {cases}")
    assert int(cases.split()[0].replace(",", "")) >= ROWS[row].short


def test_the_campaign_ends_with_0_where_nothing_is_lost(short):
    assert short.returncode == 0, short.stdout + short.stderr[-3000:]


def test_a_row_of_which_no_case_was_made_is_no_pass_and_has_no_line(monkeypatch, capsys, tmp_path):
    """Nor is it how a planted defect is seen."""
    for name in (JOBS, PART):  # which it sets
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(command, "warm", lambda: None)
    monkeypatch.setattr(command, "_done", lambda *_: Result())
    assert command.main(["--row", "1", "--count", "3", "--write", str(tmp_path / "none.md")]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "row 1: no case was made\n")


def test_every_defect_can_still_be_planted():
    planted = list(defects())
    assert len(planted) >= 25
    assert len({defect.name for defect in planted}) == len(planted)
    for defect in planted:
        compile(text_with(defect), defect.file, "exec")


def replayed(*steps: Step, start: disk.Tree | None = None) -> disk.Disk:
    return disk.Disk(Path("/home"), start or {}, {1: "."}, steps)


def kept(share):
    return lambda _change: share


FILE = (Step(Kind.CREATE, 2, 0, "/home/a", b""), Step(Kind.WRITE, 2, 0, "", b"content"))
SYNCED = (Step(Kind.SYNC, 2, 0, "", b""), Step(Kind.SYNC, 1, 0, "", b""))


def test_what_was_not_synced_may_be_gone():
    assert replayed(*FILE).after(2, kept(0)) == {}
    assert replayed(*FILE).after(2, kept(1)) == {"a": b"content"}
    assert replayed(*FILE).after(2, lambda change: isinstance(change, disk._Names)) == {"a": b""}
    assert replayed(*FILE, *SYNCED[:1]).after(3, kept(0)) == {}, "its name is not synced"
    assert replayed(*FILE, *SYNCED).after(4, kept(0)) == {"a": b"content"}
    assert replayed(*FILE, *SYNCED).after(3, kept(0)) == {}, "the power went before the sync of the folder"


def test_a_rename_happens_or_not():
    whole = replayed(*FILE, *SYNCED, Step(Kind.RENAME, 0, 0, "/home/a", b"/home/b"), start={"b": b"old"})
    assert whole.after(5, kept(0)) == {"a": b"content", "b": b"old"}
    assert whole.after(5, kept(1)) == {"b": b"content"}


def test_a_write_may_be_torn_and_a_file_cut():
    whole = replayed(*FILE, Step(Kind.CUT, 2, 3, "", b""))
    assert whole.after(3, kept(1)) == {"a": b"con"}
    assert whole.after(2, kept(0.5)) == {"a": b"cont"}


def test_the_same_seed_gives_the_same_states():
    for one, other in zip(disk.ways(Random(1)).values(), disk.ways(Random(1)).values(), strict=True):
        whole = replayed(*FILE)
        assert whole.after(2, one) == whole.after(2, other)


def _home(
    root, *, pid=7, table="0a1b2c3d-0000-4000-8000-000000000001", error="[Errno 5] Input/output error", rows=b"c1"
):
    (root / "clients").mkdir(parents=True)
    (root / "lock").write_text(f'{{"pid": {pid}}}')
    (root / f".run.json.{pid}.tmp").write_text(error)
    (root / "clients" / "0.json").write_text(f'{{"id":"{table}","createdTime":{pid}}}')
    (root / "clients" / "part.parquet").write_bytes(rows)
    with closing(sqlite3.connect(root / "book.db")) as book, book:
        book.execute("CREATE TABLE runs (reason TEXT)")
        book.execute("INSERT INTO runs VALUES (?)", [error * 400])  # of another length, and so on other pages
    return disk.likeness(root, ["Input/output error", "Permission denied"])


def test_two_homes_are_alike_but_for_what_each_process_has_its_own_of(tmp_path):
    first = _home(tmp_path / "a")
    other = {"pid": 81, "table": "ffffffff-0000-4000-8000-000000000002", "error": "[Errno 13] Permission denied"}
    assert _home(tmp_path / "b", **other) == first


@pytest.mark.parametrize("other", [{"rows": b"c2"}, {"rows": b""}, {"error": "[Errno 5] Input/output error!"}])
def test_two_homes_with_other_rows_or_another_reason_are_not_alike(tmp_path, other):
    assert _home(tmp_path / "a") != _home(tmp_path / "b", **other)


def line(number=5, **changed):
    usual = {"fault": "a fault", "how": "a way", "cases": 60, "whole": 2_000, "failures": 0, "seed": "81 1/12"}
    return Line(number, **usual | {"seconds": 1_200, "code": "abc1234", "date": "2026-12-01"} | changed)


def test_the_table_keeps_the_rows_that_were_not_run(tmp_path):
    path = tmp_path / "faults.md"
    path.write_text("before\n" + "\n".join(table.HEAD) + "\n| 2 | old |\n| 10 | stays |\n\nafter\n")
    lines = [line(2), line(1, cases=2_000)]
    table.write(path, lines)
    assert path.read_text().splitlines()[3:] == [str(lines[1]), str(lines[0]), "| 10 | stays |", "", "after"]
    shutil.copy(path, tmp_path / "none.md")
    (tmp_path / "none.md").write_text("no table")
    with pytest.raises(ValueError, match="no table"):
        table.write(tmp_path / "none.md", [])


def test_the_parts_of_a_row_are_added_up(tmp_path, monkeypatch, capsys):
    parts = [line(), line(cases=1_950, seed="81 2/12", seconds=900, date="2026-12-02"), line(seed="82", failures=1)]
    (tmp_path / "one.out").write_text(f"{line(4)}\n  a note\n{parts[0]}\n{parts[1]}\n")
    (tmp_path / "other.out").write_text(f"{parts[2]}\n")
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path / "one.out"), str(tmp_path / "other.out")])
    table.main()
    fourth, fifth = capsys.readouterr().out.splitlines()
    assert fourth == str(line(4))
    assert fifth == "| 5 | a fault | a way | 2,070 | 1 | 81, 82 | 3,300 s | abc1234 | 2026-12-02 |"


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from(["", "no strace"]))
def test_a_line_is_read_as_it_was_told(cases, more, skipped):
    told = line(cases=0, whole=0, skipped=skipped) if skipped else line(cases=cases, whole=cases + more)
    assert Line.read(str(told)) == told


@pytest.mark.parametrize("other", [line(), line(4, seed="82"), line(seed="82", skipped="no strace")])
def test_what_has_no_sum_is_not_added_up(other):
    """The same cases twice, another row, one that was not run."""
    with pytest.raises(ValueError, match=r"count once|have no sum"):
        table.total([line(), other])


def test_only_a_row_whose_cases_are_counted_is_done_in_parts(capsys):
    with pytest.raises(SystemExit):
        command.main(["--row", "4", "--part", "2/6"])
    assert "only row 5" in capsys.readouterr().err


def test_a_tick_of_row_11_crosses_a_change_of_its_own_zone():
    offsets = {}
    for moment in (each for each in clocks.MOMENTS if "hour" in each.words):
        local = [(moment.at + timedelta(seconds=by)).astimezone(ZoneInfo(moment.zone)) for by in (-1, 0)]
        offsets[moment.zone, local[0].month] = (local[1].utcoffset() - local[0].utcoffset()) / timedelta(hours=1)
        assert moment.crossed
    assert sorted(offsets.values()) == [-1, -1, -0.5, 0.5, 1, 1]


def test_row_12_sees_what_grows_with_each_tick_and_not_what_is_dear_once():
    year = [{"steps": 100.0, "calls": 1000, "milliseconds": 5.0, "bytes": 0.0} for _ in range(10)]
    dear = [used | {"calls": 5000, "bytes": 9.0} if at in (3, 8) else used for at, used in enumerate(year)]
    assert clocks._grown("quiet", dear) == []
    for what, more in (("steps", 2), ("calls", 10), ("milliseconds", 2), ("bytes", 1)):
        grown = [used | {what: used[what] + more * at} for at, used in enumerate(year)]
        assert [what in fault for fault in clocks._grown("quiet", grown)] == [True]
