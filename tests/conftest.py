"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code; timings live in benchmarks/.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def require(available: bool, reason: str) -> None:
    """Skip a test for want of a tool; with REQUIRE_ALL=1, as in the full check, fail it instead."""
    if available:
        return
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def open_below(folder: Path) -> list[Path]:
    """Files and folders at or below ``folder`` that this process holds open."""
    found = [each.resolve() for each in Path("/proc/self/fd").iterdir()]
    return [path for path in found if path.is_relative_to(folder)]
