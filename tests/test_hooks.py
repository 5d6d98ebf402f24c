"""What ``make hooks`` tells git, in a repository of its own: outputs stay out of commits, diffs are of cells."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import require

from attrition.home import REPOSITORY

NAME = "30_train.ipynb"


def git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    tools = [Path(sys.executable).with_name(name) for name in ("nbstripout", "git-nbdiffdriver")]
    require(all(tool.exists() for tool in tools), "nbstripout and nbdime are not installed: make .venv/hooks")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.email", "a@b")
    git(tmp_path, "config", "user.name", "a")
    recipe = subprocess.run(
        ["make", "--dry-run", "--old-file", ".venv/hooks", "--file", str(REPOSITORY / "Makefile"), "hooks"],
        **{"cwd": REPOSITORY, "capture_output": True, "text": True, "check": True},
    ).stdout
    told = [line for line in recipe.splitlines() if line.startswith("git config ")]
    assert len(told) == 6
    subprocess.run(["sh", "-ec", "\n".join(told)], cwd=tmp_path, check=True)
    shutil.copy(REPOSITORY / ".gitattributes", tmp_path)
    (tmp_path / "notebooks").mkdir()
    shutil.copy(REPOSITORY / "notebooks" / NAME, tmp_path / "notebooks")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "as it was")
    return tmp_path


def test_a_stage_of_ours_is_as_the_filter_leaves_it(repository):
    assert git(repository, "show", f"HEAD:notebooks/{NAME}") == (REPOSITORY / "notebooks" / NAME).read_text()


def test_outputs_are_no_change_and_a_changed_cell_is_shown_as_one(repository):
    path = repository / "notebooks" / NAME
    notebook = nbformat.read(path, as_version=4)
    cell = next(each for each in notebook.cells if each.id == "30-08")
    cell.outputs = [nbformat.v4.new_output("stream", text="a client's row")]
    cell.execution_count = 3
    nbformat.write(notebook, path)
    git(repository, "commit", "--all", "--allow-empty", "--quiet", "-m", "ran")
    assert git(repository, "diff", "--stat", "HEAD~1", "HEAD") == ""
    cell.source = cell.source.replace("tried[0]", "tried[-1]")
    nbformat.write(notebook, path)
    git(repository, "commit", "--all", "--quiet", "-m", "changed")
    assert "a client's row" not in git(repository, "show", f"HEAD:notebooks/{NAME}")
    shown = git(repository, "diff", "HEAD~1", "HEAD")
    assert "nbdiff" in shown
    assert "tried[-1]" in shown
