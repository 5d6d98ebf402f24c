"""Rows taken in and a model fitted on a cluster, one of whose workers is killed at work, are those of one process."""

import subprocess
import sys

from conftest import require

from attrition.home import REPOSITORY

try:
    import distributed
except ImportError:
    distributed = None


def test_a_worker_killed_at_work_costs_no_row_and_no_digit():
    require(distributed is not None, "needs the extra cluster (make .venv/cluster)")
    command = [sys.executable, "-m", "benchmarks.cluster", "--rows", "10_000", "--files", "6", "--kills", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same rows" in done.stdout
    assert "a busy worker killed" in done.stdout
    assert "1 of 1 the same" in done.stdout
