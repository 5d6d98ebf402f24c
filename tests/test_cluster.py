"""Rows taken in and a model fitted on a cluster, one of whose workers is killed at work, are those of one process."""

import os
import subprocess
import sys

import pytest
from conftest import require

from attrition.home import REPOSITORY

try:
    import distributed
except ImportError:
    distributed = None


@pytest.mark.parametrize("rows", [20_000])
def test_a_worker_killed_at_work_costs_no_row_and_no_digit(rows):
    require(distributed is not None, "needs the extra cluster (make .venv/cluster)")
    command = [sys.executable, "-m", "benchmarks.cluster", "--rows", str(rows), "--kills", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env={**os.environ})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same rows" in done.stdout
    assert "a busy worker killed" in done.stdout
    assert "1 of 1 the same" in done.stdout
