"""The ways that `make bench-store` times do the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.store import by_hand, by_pandas, fill, generate, ours, small


@pytest.mark.parametrize("wide", [0, 15])
def test_the_ways_agree_on_the_rows(tmp_path: Path, wide: int) -> None:
    generate(tmp_path / "drops", 5_000, 3, wide)
    found = {}
    for way in (ours, by_hand):
        (tmp_path / way.__name__).mkdir()
        found[way.__name__] = way(tmp_path / "drops", tmp_path / way.__name__, wide)
    assert found["ours"] == found["by_hand"]
    assert 4_900 < found["ours"] < 5_000, "some came before, some have a fault"


def test_ours_and_pandas_leave_out_what_the_store_has(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra bench (make .venv/bench)")
    generate(tmp_path / "drops", 5_000, 2, 0)
    fill(tmp_path, 2_000, 0, first=3_000)
    found = []
    for way in (ours, by_pandas):
        (tmp_path / way.__name__).mkdir()
        found.append(way(tmp_path / "drops", tmp_path / way.__name__, 0))
    assert found[0] == found[1]
    assert 2_900 < found[0] < 3_100


def test_a_small_drop_into_a_store(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    assert small(tmp_path / "small", 2_000)["seconds"] > 0
