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
    "name", [*(f"{kind}-{NOBODY}-x_1" for kind in ("kernel", "notebook", "replay", "sample", "try")), NOBODY]
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


@pytest.mark.parametrize("name", ["replay-{own}-x", "{own}", f"campaign-{NOBODY}", f"replay-{NOBODY}", "try-x"])
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
    left = folder(temporary / f"attrition-try-{os.getpid()}-x", at=1)
    scratch.sweep()
    assert not left.exists()


def test_what_another_user_left_is_his(temporary):
    require(os.geteuid() == 0, "only root can give files away")
    theirs = folder(temporary / f"attrition-replay-{NOBODY}-x")
    os.chown(theirs, 1234, -1)
    scratch.sweep()
    assert theirs.exists()
