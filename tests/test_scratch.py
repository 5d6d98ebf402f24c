"""Folders among the system's temporary ones: those whose process is gone go, and no others."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import require
from keep_kit import NOBODY

from attrition import scratch
from attrition.stages import Stage


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def folder(path, *, at=None):
    """A folder with a file; ``at``: when it was written, in seconds since the epoch."""
    path.mkdir()
    (path / "rows.csv").write_text("client\nann\n")
    if at is not None:
        os.utime(path, (at, at))
    return path


@pytest.mark.parametrize(
    "name",
    [*(f"{kind}-pid{NOBODY}-x_1" for kind in ("kernel", "notebook", "replay", "sample", "try")), f"duckdb-pid{NOBODY}"],
)
def test_what_a_process_left_that_is_gone_is_removed(temporary, name):
    left = folder(temporary / f"attrition-{name}")
    assert scratch.sweep() == []
    assert not left.exists()


def test_a_process_that_is_killed_leaves_what_the_next_one_removes(temporary):
    code = (
        "import os, tempfile; from attrition import scratch; print(tempfile.mkdtemp(prefix=scratch.prefix('replay')),"
    )
    code += "flush=True); input()"
    words = [sys.executable, "-c", code]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        made = Path(process.stdout.readline().strip())
        scratch.sweep()
        assert made.exists()
        process.kill()
    scratch.sweep()
    assert not made.exists()


@pytest.mark.parametrize(
    "name", ["replay-pid{own}-x", "duckdb-pid{own}", f"campaign-pid{NOBODY}", f"replay-{NOBODY}-x", "20261130", "try-x"]
)
def test_what_is_in_use_or_anothers_is_spared(temporary, name):
    kept = folder(temporary / f"attrition-{name.format(own=os.getpid())}")
    assert scratch.sweep() == []
    assert kept.exists()


def test_the_scratch_folder_of_a_notebook_at_work_is_spared_and_no_older_for_what_was_copied(temporary):
    staging = Stage.open("", "sample", "").staging
    assert scratch.sweep() == []
    assert (staging / "run.json").exists()
    assert [path.name.startswith(scratch.prefix("notebook")) for path in temporary.iterdir()] == [True]


def test_an_earlier_process_of_the_same_number_is_gone(temporary):
    """In a container a runner has the same number each time."""
    left = folder(temporary / f"attrition-try-pid{os.getpid()}-x", at=1)
    scratch.sweep()
    assert not left.exists()


def test_what_another_user_left_is_his(temporary):
    require(os.geteuid() == 0, "only root can give files away")
    theirs = folder(temporary / f"attrition-replay-pid{NOBODY}-x")
    os.chown(theirs, 1234, -1)
    scratch.sweep()
    assert theirs.exists()


def test_a_backup_that_is_called_by_its_day_is_no_folder_of_a_process(temporary):
    """No process has the number 20261130, which a machine may give to 4,194,304 at most."""
    names = ("20261130", "2026", "try-2026-11-30", "sample-9999999-x")
    kept = [folder(temporary / f"attrition-{name}") for name in names]
    assert scratch.sweep() == []
    assert all(path.exists() for path in kept)
