"""What all tests share."""

from __future__ import annotations

import os

import pytest


def require(available: bool, reason: str) -> None:
    """Skip a test for want of a tool; with REQUIRE_ALL=1, as in the full check, fail it instead."""
    if available:
        return
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
