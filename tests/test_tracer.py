"""strace makes the very call fail that it is told to, of those below one folder, also what no library sees."""

import os

import pytest
from conftest import require

from campaign import tracer

CALLS = [tracer.Call("getdents64", None, 1), tracer.Call("fsync", tracer.Kind.SYNC, 2)]


def work(root):
    """Lists a folder beside ``root`` and ``root`` itself, and syncs two files below it."""

    def done():
        found = [sorted(path.name for path in folder.iterdir()) for folder in (root.parent, root)]
        for name in ("a", "b"):
            handle = os.open(root / name, os.O_WRONLY)
            os.write(handle, b"more")
            os.fsync(handle)
        return found

    return done


@pytest.fixture
def root(tmp_path):
    require(not tracer.available(), tracer.available())
    root = tmp_path / "home"
    root.mkdir()
    for name in ("a", "b"):
        (root / name).touch()
    return root


def test_it_lists_the_calls_below_the_folder(root, tmp_path):
    calls, names = tracer.made(work(root), root, tmp_path / "trace")
    assert {(call.name, call.number) for call in calls} >= {("openat", 3), ("write", 2), ("fsync", 2)}
    assert set(CALLS) < set(calls)
    assert names == ["a", "b"]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_call_fails_that_is_meant(root, tmp_path, call):
    log = tmp_path / "trace"
    ended = tracer.child(work(root), log, tracer.failing(call, "EIO", root, ["a", "b"], lasting=False))
    assert tracer.injected(log) == 1
    assert ended.status == 70
    assert "Input/output error" in ended.said
    written = [(root / name).read_bytes() for name in ("a", "b")]
    assert written == ([b"", b""] if call.name == "getdents64" else [b"more", b"more"])


def test_a_call_that_is_not_made_fails_nothing(root, tmp_path):
    log = tmp_path / "trace"
    later = tracer.Call("fsync", tracer.Kind.SYNC, 3)
    ended = tracer.child(work(root), log, tracer.failing(later, "EIO", root, ["a", "b"], lasting=True))
    assert not tracer.injected(log)
    assert ended.value[1] == ["a", "b"]
