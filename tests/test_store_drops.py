from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attrition import due
from attrition.home import Home
from attrition.signals import Stop
from attrition.store import marks
from attrition.store.drops import Waiting, being_written, speakable, waiting

NOW = 2_000_000_000.0


def put(folder: Path, name: str, age: float) -> Path:
    path = folder / name
    path.write_text("x")
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert waiting(tmp_path / "none", 2.0, NOW) == Waiting([], 0.0)


def test_settled_files_and_folders_are_ready_by_name(tmp_path: Path) -> None:
    second, first = put(tmp_path, "b.csv", 2.0), put(tmp_path, "a.csv", 60.0)
    folder = tmp_path / "c.csv"
    folder.mkdir()
    os.utime(folder, (NOW - 5, NOW - 5))
    assert waiting(tmp_path, 2.0, NOW) == Waiting([first, second, folder], 0.0)


@pytest.mark.parametrize("name", [".DS_Store", "a.csv.tmp", "a.csv.part", "a.csv.done"])
def test_what_is_no_drop_is_never_taken(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, 1000.0)
    assert waiting(tmp_path, 2.0, NOW) == Waiting([], 0.0)


def test_unsettled_says_when_the_youngest_is_ready(tmp_path: Path) -> None:
    put(tmp_path, "old.csv", 1.5)
    put(tmp_path, "young.csv", 0.25)
    assert waiting(tmp_path, 2.0, NOW) == Waiting([], 1.75)
    assert len(waiting(tmp_path, 2.0, NOW + 1.75).ready) == 2


def test_done_beside_it_makes_a_young_file_ready(tmp_path: Path) -> None:
    young = put(tmp_path, "young.csv", 0.0)
    put(tmp_path, "young.csv.done", 0.0)
    assert waiting(tmp_path, 2.0, NOW) == Waiting([young], 0.0)


def test_a_time_in_the_future_does_not_wait_longer_than_settle(tmp_path: Path) -> None:
    ahead = put(tmp_path, "ahead.csv", -86_400.0)
    made = ahead.stat().st_ctime
    assert waiting(tmp_path, 2.0, made).unsettled == pytest.approx(2.0)
    assert waiting(tmp_path, 2.0, made + 2.1).ready == [ahead]
    assert (waiting(tmp_path, 2.0, made - 1000.0).ready, waiting(tmp_path, 2.0, made - 1000.0).unsettled) == ([], 2.0)


def test_of_a_clock_that_was_set_back_a_drop_that_lies_still_is_ready_at_the_second_look(tmp_path: Path) -> None:
    for name in ("still.csv", "grows.csv", "replaced.csv", "touched.csv", "open.csv"):
        (tmp_path / name).write_text("x")
    year_ago = time.time() - 365 * 86_400
    first = waiting(tmp_path, 2.0, year_ago)
    assert (first.ready, first.unsettled, len(first.ahead)) == ([], 2.0, 5)
    (tmp_path / "grows.csv").write_text("xx")
    (tmp_path / "new").write_text("y")
    (tmp_path / "new").rename(tmp_path / "replaced.csv")
    os.utime(tmp_path / "touched.csv", (NOW * 2, NOW * 2))
    with (tmp_path / "open.csv").open("a"):
        second = waiting(tmp_path, 2.0, year_ago + 2.0, first.ahead)
    assert second.ready == [tmp_path / "still.csv"]
    assert second.held == (tmp_path / "open.csv",)
    assert (second.unsettled, len(second.ahead)) == (2.0, 5)


def test_a_tick_on_a_clock_that_was_set_back_takes_what_has_lain_still_while_it_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Home(tmp_path).place("shop")
    place.incoming.mkdir(parents=True)
    for name in ("still.csv", "grows.csv"):
        (place.incoming / name).write_text("x")

    class Waits(Stop):
        def sleep(self, seconds: float) -> None:
            assert seconds == 2.0
            (place.incoming / "grows.csv").write_text("xx")

    year_ago = time.time() - 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: year_ago)
    assert due.drops(place, 2.0, Waits()) == [place.incoming / "still.csv"]


def test_a_dangling_link_is_a_drop(tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "nowhere")
    assert waiting(tmp_path, 0.0, NOW).ready == [link]


def test_what_lies_still_is_not_ready_while_a_process_has_it_open_for_writing(tmp_path: Path) -> None:
    drop = put(tmp_path, "a.csv", 60.0)
    with drop.open("a"):
        assert waiting(tmp_path, 2.0, NOW) == Waiting([], 0.0, (drop,))
        assert waiting(tmp_path, 0.0, NOW) == Waiting([], 0.0, (drop,))
        put(tmp_path, "a.csv.done", 0.0)
        assert waiting(tmp_path, 2.0, NOW) == Waiting([drop], 0.0)
    (tmp_path / "a.csv.done").unlink()
    with drop.open():
        assert waiting(tmp_path, 2.0, NOW) == Waiting([drop], 0.0)


@pytest.mark.parametrize("end", [b".csv", b".csv.gz", b".parquet"])
def test_a_name_that_is_longer_when_it_can_be_written_down_fits_too(tmp_path: Path, end: bytes) -> None:
    made = []
    for last in (b"\xe9", b"\xe8"):
        drop = tmp_path / os.fsdecode(b"\xe9" * 200 + last + end)
        drop.write_bytes(last)
        made.append(speakable(drop))
    assert [path.read_bytes() for path in made] == [b"\xe9", b"\xe8"]
    assert all(path.name.startswith("%e9%e9") and path.name.endswith(end.decode()) for path in made)


def test_a_name_that_can_be_written_down_is_not_that_of_another_file(tmp_path: Path) -> None:
    latin, other = tmp_path / os.fsdecode(b"caf\xe9.csv"), tmp_path / "caf%e9.csv"
    for path in (latin, other):
        path.write_text(repr(path.name))
    done = latin.with_name(f"{latin.name}.done")
    done.touch()
    assert waiting(tmp_path, 2.0, latin.stat().st_mtime).ready == [latin]
    made = speakable(latin)
    assert (made.name, made.read_text()) == ("1-caf%e9.csv", repr(latin.name))
    assert (speakable(other), other.read_text()) == (other, repr(other.name))
    assert not os.path.lexists(done), "it would vouch for the next file of the name"


def test_of_what_is_no_file_nobody_waits_for_an_answer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    assert not any(being_written(tmp_path / name) for name in ("pipe", "link", "none", "."))


def test_a_writer_that_comes_while_it_is_asked_kills_nobody(tmp_path: Path) -> None:
    drop = put(tmp_path, "a.csv", 60.0)
    asking = (
        "import sys; from pathlib import Path; from attrition.store.drops import being_written; "
        "print('begun', flush=True); print(sum(being_written(Path(sys.argv[1])) for _ in range(20_000)))"
    )
    command = [sys.executable, "-c", asking, str(drop)]  # in another process: what it is to be spared kills
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == "begun\n"
        while asker.poll() is None:
            drop.open("a").close()
        answers = asker.stdout.read()
    assert asker.returncode == 0
    assert 0 < int(answers) < 20_000  # it was asked while there was a writer, and while there was none


def test_a_quiet_tick_loads_no_engine() -> None:
    heavy = "{'duckdb', 'pandas', 'numpy', 'deltalake', 'pydantic'}"
    code = f"import sys, attrition.store.drops; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_an_earlier_version_left_vouches_for_no_later_drop(tmp_path: Path) -> None:
    left = [tmp_path / name for name in (".x.csv.mark", "x.csv.done")]
    left[0].write_text('{"sha256": "00", "source": "a", "key": "b", "mark": 1}')
    left[1].touch()
    theirs = tmp_path / "y.csv.done"  # which somebody laid there first
    theirs.touch()
    marks.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [theirs]


def test_a_mark_that_nobody_can_read_keeps_no_drop_out(tmp_path: Path) -> None:
    (tmp_path / ".x.csv.mark").mkdir()
    ready = [put(tmp_path, name, age=60) for name in ("good.csv", "x.csv")]
    marks.sweep(tmp_path)
    assert waiting(tmp_path, 2.0, NOW).ready == ready
    assert marks.of(ready[1], "00") is None
