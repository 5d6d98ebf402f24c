"""A file appears whole or not at all, and a lock belongs to one process."""

import errno
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import open_below

from attrition import safe
from attrition.home import REPOSITORY


def test_write_replaces_whole_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "current.json"
    safe.write(path, "old")
    safe.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["current.json"]


@pytest.mark.parametrize("step", [(os, "fsync"), (Path, "open"), (Path, "replace")])
def test_a_write_that_fails_says_so_and_keeps_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "current.json"
    safe.write(path, "old")
    owner, name = step

    def fails(*_given):
        monkeypatch.undo()
        raise OSError(28, "No space left")

    monkeypatch.setattr(owner, name, fails)
    with pytest.raises(OSError, match="No space"):
        safe.write(path, "new" * 1000)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["current.json"]


def test_where_the_system_names_no_file_a_write_that_fails_does(tmp_path):
    path, allowed = tmp_path / "book.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, allowed[1]))
    try:
        with pytest.raises(OSError, match=rf"File too large: '{path}'"):
            safe.write(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        signal.signal(signal.SIGXFSZ, before)


def test_publish_moves_the_whole_folder_once(tmp_path):
    staging = tmp_path / "staging"
    (staging / "model").mkdir(parents=True)
    (staging / "model" / "model.pkl").write_bytes(b"x")
    safe.publish(staging, tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.pkl").read_bytes() == b"x"
    staging.mkdir()
    with pytest.raises(FileExistsError, match="already published"):
        safe.publish(staging, tmp_path / "run")


def _hold(path, ready, _done):
    with safe.lock(path, "2026-03-01T03:15:00Z"):
        ready.set()
        signal.pause()


def test_who_has_a_lock_knows_when_its_file_is_another_ones(tmp_path):
    path = tmp_path / "lock"
    with safe.lock(path, "now") as ours:
        assert ours()
        path.unlink()
        assert ours(), "nobody else can have it yet"
        path.touch()
        assert not ours()


def test_of_a_file_it_is_known_who_held_it_and_whether_it_changed(tmp_path):
    path = tmp_path / "lock"
    assert safe.identity(path) is None
    with safe.lock(path, "now"):
        before = safe.identity(path)
        assert before == safe.identity(path)
    assert safe.holder(path) == {"pid": os.getpid(), "since": "now"}
    path.write_text("{}")
    assert safe.identity(path) not in (None, before)


def test_what_is_below_a_folder_comes_in_order_of_names(tmp_path):
    for name in ("c", "a", "b"):
        safe.make_folder(safe.make_folder(tmp_path / name))
        (tmp_path / name / "x").touch()
    assert [path.parent.name for path in safe.below(tmp_path) if path.name == "x"] == ["a", "b", "c"]


def test_a_held_lock_names_its_holder_and_dies_with_it(tmp_path):
    path = tmp_path / "lock"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready, None))
    holder.start()
    try:
        assert ready.wait(30)
        with pytest.raises(safe.Held) as held, safe.lock(path, "now"):
            pass
        assert held.value.holder == {"pid": holder.pid, "since": "2026-03-01T03:15:00Z"}
        assert f"process {holder.pid}, since 2026-03-01T03:15:00Z" in str(held.value)
    finally:
        holder.kill()
        holder.join()
    with safe.lock(path, "now"):
        pass


def test_a_name_made_of_another_is_that_one_where_it_fits():
    assert safe.derived("a.csv", ".", ".mark") == ".a.csv.mark"
    assert safe.derived("x" * 249, ".", ".mark") == f".{'x' * 249}.mark"
    assert safe.derived("x" * 255) == "x" * 255


@pytest.mark.parametrize("sign", ["x", "ж", "😀", "\udce9"])  # the last stands for a byte that is not UTF-8
@pytest.mark.parametrize("end", [".csv", ".ndjson.gz", ".parquet", ""])
def test_a_name_made_of_a_long_one_fits_and_is_its_own(sign, end):
    length = (256 - len(end)) // len(os.fsencode(sign))
    long = sign * length + end
    made = [safe.derived(name, "1-", ".mark") for name in (long, "y" + long, long + ".gz", "x" + long[1:] + "0")]
    assert len({*made, safe.derived(long, "2-", ".mark")}) == 5
    assert all(len(os.fsencode(name)) <= 255 for name in made)
    assert all(name.startswith("1-") and name.endswith(".mark") for name in made)
    assert made[0].encode().endswith(f"{end}.mark".encode())


def test_a_name_of_any_length_is_written_and_swept(tmp_path):
    path = tmp_path / ("x" * 255)
    safe.write(path, "a")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    left = tmp_path / safe.derived(path.name, ".", f".{2**22 + 1}.tmp")
    left.touch()
    safe.sweep(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_sweep_removes_what_a_killed_process_left_and_nothing_else(tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        gone, alive, before = (f".a.json.{pid}.tmp" for pid in (2**22 + 1, other.pid, os.getpid()))
        reused = tmp_path / f".older.json.{other.pid}.tmp"
        reused.touch()
        os.utime(reused, (1, time.time() - 3600))
        for name in (gone, alive, before, ".a.json.tmp", "a.tmp"):
            (tmp_path / name).touch()
            (below / name).touch()
        safe.sweep(tmp_path)
        assert not (tmp_path / gone).exists()
        assert not (tmp_path / before).exists(), "an earlier process had our number"
        assert not reused.exists(), "or that of one that began later"
        assert (below / gone).exists()
        safe.sweep(tmp_path, deep=True)
        assert other.poll() is None
        other.communicate(b"\n")
    kept = {alive, ".a.json.tmp", "a.tmp"}
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "below"}
    assert {path.name for path in below.iterdir()} == kept


def test_clear_removes_what_is_hidden_whoever_makes_it(tmp_path):
    beside, scratch = tmp_path / "model" / f".model.pkl.{os.getppid()}.tmp", tmp_path / ".abc"
    for folder in (beside.parent, scratch / ".deeper"):
        folder.mkdir(parents=True)
    for path in (beside, scratch / "part.parquet", scratch / ".deeper" / "x", tmp_path / "run.json"):
        path.touch()
    (tmp_path / ".link").symlink_to(tmp_path / "model")
    safe.clear(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"model", "run.json"}


def test_sweep_spares_what_a_process_of_another_user_writes(tmp_path, monkeypatch):
    (tmp_path / ".a.json.7.tmp").touch()
    monkeypatch.setattr(os, "kill", lambda _pid, _signal: (_ for _ in ()).throw(PermissionError))  # root may signal all
    safe.sweep(tmp_path)
    assert (tmp_path / ".a.json.7.tmp").exists()


def test_sweep_is_not_disturbed_by_another_that_was_quicker(tmp_path, monkeypatch):
    left = tmp_path / f".a.json.{2**22 + 1}.tmp"
    left.touch()

    def goes(_pid, _signal):
        left.unlink()
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", goes)
    safe.sweep(tmp_path)


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """What is synced and renamed from here on, in order, by its name in the folder."""
    made, fsync, replace = [], os.fsync, Path.replace

    def synced(handle):
        made.append(os.path.relpath(Path(f"/proc/self/fd/{handle}").readlink(), tmp_path))
        assert os.fstat(handle).st_size > 0, "what is still in a buffer is not synced"
        fsync(handle)

    def renamed(source, target):
        made.append(f"{os.path.relpath(source, tmp_path)} -> {os.path.relpath(target, tmp_path)}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    return made


def test_a_file_is_synced_before_it_has_its_name_and_its_name_is_after(tmp_path, steps):
    safe.write(tmp_path / "a", "é")
    beside = f".a.{os.getpid()}.tmp"
    assert steps == [beside, f"{beside} -> a", "."]
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9"


def test_a_move_is_synced_in_both_folders(tmp_path, steps):
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "a").write_text("a")
    safe.move(tmp_path / "from" / "a", tmp_path / "to" / "a")
    assert steps == ["from/a -> to/a", "to", "from"]
    steps.clear()
    safe.move(tmp_path / "to" / "a", tmp_path / "to" / "b")
    assert steps == ["to/a -> to/b", "to"]


def test_a_folder_is_made_with_those_above_it_each_synced_into_its_parent(tmp_path, steps, monkeypatch):
    assert safe.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert steps == [".", "a"]
    assert safe.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert steps == [".", "a"]
    is_dir, asked = Path.is_dir, []

    def made_right_after(path):
        asked.append(path)
        return is_dir(path) and len(asked) > 1

    monkeypatch.setattr(Path, "is_dir", made_right_after)
    assert safe.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_all_of_a_folder_is_synced_before_it_is_published(tmp_path, steps):
    (tmp_path / "staging" / "model").mkdir(parents=True)
    for name in ("model/a", "b"):
        (tmp_path / "staging" / name).write_text(name)
    safe.publish(tmp_path / "staging", tmp_path / "run")
    *synced, renamed, last = steps
    assert sorted(synced) == ["staging", "staging/b", "staging/model", "staging/model/a"]
    assert (renamed, last) == ("staging -> run", ".")


def test_a_folder_is_removed_and_its_name_is_synced_away(tmp_path, steps):
    (tmp_path / "a" / "b").mkdir(parents=True)
    safe.remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert steps == ["."]
    safe.remove(tmp_path / "a")
    assert steps == ["."]


def test_no_power_cut_brings_back_what_was_removed(tmp_path, steps):
    for number, removed in enumerate(
        (safe.unlink, lambda path: safe.sweep(path.parent), lambda path: safe.clear(path.parent))
    ):
        path = tmp_path / str(number) / f".a.{2**22 + 1}.tmp"
        path.parent.mkdir()
        path.touch()
        removed(path)
        assert not path.exists()
    assert steps == ["0", "1", "2"]
    safe.unlink(path)
    assert steps == ["0", "1", "2", "2"]


def test_no_handle_stays_open(tmp_path):
    for _ in range(3):
        safe.sync(tmp_path)
        with safe.lock(tmp_path / "lock", "now"):
            pass
    assert open_below(tmp_path) == []


def test_the_hash_of_a_file_is_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert safe.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("held", ["", "{", "[1]", "{}"])
def test_a_holder_that_has_not_written_its_line_yet_is_another_process(tmp_path, held):
    with safe.lock(tmp_path / "lock", "now"):
        (tmp_path / "lock").write_text(held)
        with pytest.raises(safe.Held, match="another process holds") as caught, safe.lock(tmp_path / "lock", "now"):
            pass
        assert caught.value.holder == {}


def test_the_line_of_the_last_holder_replaces_a_longer_one_whole(tmp_path):
    for since in ("a long moment" * 5, "now"):
        with safe.lock(tmp_path / "new" / "lock", since):
            pass
    assert json.loads((tmp_path / "new" / "lock").read_text()) == {"pid": os.getpid(), "since": "now"}
    assert (tmp_path / "new" / "lock").stat().st_mode & 0o777 == 0o644


MOUNT = "{number} 1 {device} / {at} rw,relatime {optional}- {kind} none rw\n"


def test_a_lock_is_refused_where_other_machines_see_it(tmp_path, monkeypatch):
    device = tmp_path.stat().st_dev
    own = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mounts"
    lines = [("0:999", "/else", "", "tmpfs"), (own, "/below", "", "ext4"), (own, "/caf\udce9", "shared:1 ", "nfs4")]
    text = "".join(
        MOUNT.format(number=number, device=at, at=where, optional=optional, kind=kind)
        for number, (at, where, optional, kind) in enumerate(lines)
    )
    mounts.write_bytes(text.encode(errors="surrogateescape"))
    assert safe.file_system(tmp_path, mounts) == "nfs4"  # the last one lies over the others
    mounts.write_text(text.splitlines()[0])
    assert safe.file_system(tmp_path, mounts) == ""
    assert safe.file_system(tmp_path, tmp_path / "none") == ""
    monkeypatch.setattr(safe, "file_system", lambda _path: "nfs4")
    with pytest.raises(safe.NotLocal, match="nfs4"), safe.lock(tmp_path / "lock", "now"):
        pass
    assert not (tmp_path / "lock").exists()


def test_what_lies_in_a_folder_is_found_by_its_name(tmp_path):
    for name in ("b.csv", "a.csv", ".c.csv", "d.txt", "sub/e.csv", "sub/deep/f.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in safe.entries(tmp_path)] == [".c.csv", "a.csv", "b.csv", "d.txt", "sub"]
    assert safe.entries(tmp_path, "[ab]*.csv") == [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert [str(path.relative_to(tmp_path)) for path in safe.below(tmp_path)] == [
        *(".c.csv", "a.csv", "b.csv", "d.txt", "sub"),
        *("sub/deep", "sub/e.csv", "sub/deep/f.csv"),
    ]
    many = [tmp_path / "many" / str(number) for number in range(10)]
    for path in reversed(many):
        path.mkdir(parents=True)
    assert list(safe.below(tmp_path / "many")) == many
    assert safe.entries(tmp_path / "none") == [*safe.below(tmp_path / "none")] == []


@pytest.mark.parametrize("find", [safe.entries, lambda folder: [*safe.below(folder)], safe.sync_below, safe.clear])
def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path, find):
    path = tmp_path / "loop"
    path.symlink_to(path)  # nobody can open it, whoever runs the tests
    with pytest.raises(OSError, match="symbolic links"):
        find(path)


@pytest.mark.parametrize("ask", [safe.exists, safe.is_file, safe.is_regular, safe.is_folder, safe.is_link, safe.there])
def test_what_cannot_be_told_is_not_taken_for_nothing(tmp_path, ask):
    class Broken(type(tmp_path)):
        def stat(self, **_how):
            raise OSError(errno.EIO, "the disk does not answer")

    with pytest.raises(OSError, match="does not answer"):
        ask(Broken(tmp_path))


def test_what_is_at_a_path(tmp_path):
    file, link, loop, dangling = (tmp_path / name for name in ("file", "link", "loop", "dangling"))
    file.touch()
    link.symlink_to(file)
    loop.symlink_to(loop)
    dangling.symlink_to(tmp_path / "nothing")
    asks = (safe.exists, safe.is_file, safe.is_regular, safe.is_folder, safe.is_link, safe.there)
    paths = (file, link, loop, dangling, tmp_path, tmp_path / "none", file / "below", tmp_path / ("n" * 300))
    assert [[ask(path) for path in paths] for ask in asks] == [
        [True, True, False, False, True, False, False, False],
        [True, True, False, False, False, False, False, False],
        [True, False, False, False, False, False, False, False],
        [False, False, False, False, True, False, False, False],
        [False, True, True, True, False, False, False, False],
        [True, True, True, True, True, False, False, False],
    ]


HIDES = re.compile(
    r"\.r?glob\(|\bos\.walk\(|\.(exists|is_file|is_dir|is_symlink)\(\)|\bos\.path\.(exists|lexists|isfile|isdir|islink)\("
)
OTHERWISE = {
    "safe.py",  # it is here that errors are raised
    "engine.py",  # its own code
    "fork_server.py",  # /proc, and it imports nothing of ours
    "scratch.py",  # what others left among the system's temporary files
    "files.py",  # other systems', by fsspec
}


def test_no_file_or_folder_of_a_home_is_looked_for_in_a_way_that_hides_errors():
    code = [*(REPOSITORY / "attrition").rglob("*.py"), REPOSITORY / "runner.py", REPOSITORY / "api.py"]
    assert {path.name for path in code if HIDES.search(path.read_text())} == OTHERWISE
