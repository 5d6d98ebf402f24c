"""The ways that `make bench-store` times do the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.store import by_hand, generate, ours, small


@pytest.mark.parametrize("wide", [0, 15])
def test_the_ways_agree_on_the_rows(tmp_path: Path, wide: int) -> None:
    generate(tmp_path / "drops", 5_000, 3, wide)
    found = {}
    for way in (ours, by_hand):
        (tmp_path / way.__name__).mkdir()
        found[way.__name__] = way(tmp_path / "drops", tmp_path / way.__name__, wide)
    assert found["ours"] == found["by_hand"]
    assert 4_900 < found["ours"] < 5_000, "some came before, some have a fault"


def test_a_small_drop_into_a_store(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    assert small(tmp_path / "small", 2_000)["seconds"] > 0
