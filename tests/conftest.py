"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from attrition.home import Home

# How long an example takes says more of the machine than of the code; timings live in benchmarks/.
# Where an example takes long, a run of the tests has few; `make campaign-properties` has ten times as many of those,
# and of all that name no number of their own.
TIMES = int(os.environ.get("ATTRITION_EXAMPLES", "1"))
settings.register_profile("any machine", deadline=None, max_examples=100 * TIMES)
settings.load_profile("any machine")


LONGEST = ["keep", "faults", "backups", "campaign", "forgetting", "docs", "runner", "by_hand", "commits"]
LONGEST += ["pages_browser", "pipeline", "sources_postgres", "classifiers", "cycle"]
"""Files that take a minute or more; every other one uses what `lived` is, so that one worker makes it for all three."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that at the end no worker waits for the other."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home that has lived for four ticks, which takes half a minute; whoever changes it makes a copy."""
    from keep_kit import living

    with living(tmp_path_factory.mktemp("lived")) as home:
        yield home


def examples(number: int) -> int:
    """How many examples a property has that names a number of its own."""
    return number * TIMES


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
