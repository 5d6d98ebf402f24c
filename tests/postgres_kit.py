"""The campaign's PostgreSQL server for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from conftest import require

from campaign import postgres
from campaign.postgres import ESCAPED, PASSWORD, Server

__all__ = ["ESCAPED", "PASSWORD", "Server", "running"]


@contextmanager
def running() -> Iterator[Server]:
    """A server for a ``with`` block; the test is skipped where the programs or the driver are missing."""
    require(not postgres.missing(), postgres.missing())
    with postgres.running() as server:
        yield server
