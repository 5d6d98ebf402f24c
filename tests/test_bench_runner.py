"""The benchmark of the runner still runs: one plain process comes to what forked kernels come to."""

import pytest

from benchmarks import runner


@pytest.fixture(autouse=True)
def rooted(monkeypatch):
    monkeypatch.delenv("ATTRITION_NOTEBOOKS", raising=False)


def test_one_process_and_forked_kernels_leave_the_same(tmp_path):
    def left(way):
        home = runner.fresh(tmp_path / way)
        runner.timed(["-m", "benchmarks.runner", "--way", way], home)
        return runner.recorded(home)

    assert left("d") == left("forks")
