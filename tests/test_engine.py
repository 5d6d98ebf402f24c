"""The same results here and on a cluster, and what is said when the cluster cannot be used."""

import os
import signal
import subprocess
import sys
from itertools import count

import pytest
from cluster_kit import cluster
from conftest import require
from store_kit import portfolio

from attrition import engine
from attrition.params import ParamsError, load

try:
    import distributed
except ImportError:
    distributed = None


@pytest.fixture(scope="module")
def dask():
    require(distributed is not None, "needs the extra cluster (make .venv/cluster)")
    with cluster(workers=2) as running:
        yield running
        engine._client(running.address, os.getpid()).close()


def double(task):
    return 2 * task


def refuse(task):
    raise ValueError(f"{task} is refused")


def pid(folder):
    """This worker's process, and that it was here."""
    (folder / f"{os.getpid()}").touch()
    return os.getpid()


def die_once(task):
    """Kills its own worker the first time."""
    folder, number = task
    seen = folder / f"seen-{number}"
    if number == 3 and not seen.exists():
        seen.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(task):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_portfolio_says_where_its_functions_run():
    assert engine.of(portfolio()) == engine.Here()
    assert engine.of(portfolio(engine={"dask": "tcp://10.0.0.5:8786"})) == engine.Dask("tcp://10.0.0.5:8786")


@pytest.mark.parametrize("address", ["10.0.0.5:8786", "tcp://10.0.0.5", "inproc://x:1", "tcp://a b:1", "ucx://a:1"])
def test_an_address_that_is_none_is_refused(tmp_path, address):
    path = tmp_path / "small.yaml"
    path.write_text(
        f"title: Small\ncolumns: {{a: {{type: number}}}}\ntarget: {{column: left}}\nengine: {{dask: '{address}'}}\n"
    )
    with pytest.raises(ParamsError, match=r"engine.dask"):
        load(path)


def test_here_takes_tasks_one_by_one():
    assert list(zip(range(3), engine.Here().map(double, count()), strict=False)) == [(0, 0), (1, 2), (2, 4)]


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch):
    require(distributed is not None, "needs the extra cluster (make .venv/cluster)")
    monkeypatch.setattr(engine, "PATIENCE", 1)
    with pytest.raises(engine.EngineError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 .*dask scheduler"):
        list(engine.Dask("tcp://127.0.0.1:9").map(double, [1]))


def test_a_missing_extra_is_told(tmp_path):
    (tmp_path / "distributed.py").write_text("raise ImportError\n")
    code = "from attrition import engine; list(engine.Dask('tcp://127.0.0.1:9').map(str, [1]))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "EngineError" in done.stderr
    assert "install the extra cluster" in done.stderr


def test_nothing_but_the_cluster_loads_dask():
    code = (
        "import sys; from attrition import engine; list(engine.Here().map(str, [1])); assert 'dask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_cluster_gives_what_this_process_gives(dask, ordered):
    found = list(engine.Dask(dask.address).map(double, range(100), ordered=ordered))
    assert (found if ordered else sorted(found)) == list(range(0, 200, 2))


def test_a_cluster_takes_tasks_as_room_comes_free(dask):
    found = engine.Dask(dask.address).map(double, count())
    assert [next(found) for _ in range(30)] == list(range(0, 60, 2))
    found.close()


def test_what_a_function_raises_is_raised(dask):
    with pytest.raises(ValueError, match="7 is refused"):
        list(engine.Dask(dask.address).map(refuse, [7]))


def test_a_killed_worker_costs_no_result(dask, tmp_path):
    found = engine.Dask(dask.address).map(die_once, [(tmp_path, number) for number in range(20)])
    assert list(found) == list(range(20))
    assert (tmp_path / "seen-3").exists()


def test_a_task_that_kills_every_worker_is_told(dask):
    with pytest.raises(engine.EngineError, match="several workers died over the same task"):
        list(engine.Dask(dask.address).map(die, [1]))


def test_a_scheduler_without_this_package_is_told(tmp_path):
    require(distributed is not None, "needs the extra cluster (make .venv/cluster)")
    (tmp_path / "attrition").mkdir()
    (tmp_path / "attrition" / "__init__.py").touch()  # hides the one that is installed
    with cluster(workers=1, environment={"PYTHONPATH": str(tmp_path)}) as running:
        with pytest.raises(engine.EngineError, match=r"install this package there too.*No module named"):
            list(engine.Dask(running.address).map(double, [1]))
        engine._client(running.address, os.getpid()).close()


def test_a_worker_with_another_version_is_told(dask, monkeypatch):
    monkeypatch.setattr(engine, "_code", lambda: "other")
    with pytest.raises(engine.EngineError, match="another version of this package"):
        list(engine.Dask(dask.address).map(double, [1]))
