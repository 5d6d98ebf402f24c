"""A file appears whole or not at all, and a lock belongs to one process."""

import multiprocessing
import os
import signal

import pytest

from attrition import safe


def test_write_replaces_whole_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "current.json"
    safe.write(path, "old")
    safe.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["current.json"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "current.json"
    safe.write(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _handle: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        safe.write(path, "new" * 1000)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["current.json"]


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


def test_sweep_removes_what_a_killed_process_left_and_nothing_else(tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    gone, alive = f".a.json.{2**22 + 1}.tmp", f".a.json.{os.getppid()}.tmp"
    for name in (gone, alive, ".a.json.tmp", "a.tmp"):
        (tmp_path / name).touch()
        (below / name).touch()
    safe.sweep(tmp_path)
    assert not (tmp_path / gone).exists()
    assert (below / gone).exists()
    safe.sweep(tmp_path, deep=True)
    kept = {alive, ".a.json.tmp", "a.tmp"}
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "below"}
    assert {path.name for path in below.iterdir()} == kept
