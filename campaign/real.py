"""The real runner with its kernels and notebooks, as cron starts it, on a home that a model can be made of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from attrition import alerts
from attrition.home import REPOSITORY, Place
from campaign import kit, oracle, sink, telling
from campaign.harness import Ended, asked, child, scratch
from campaign.telling import Ticked

__all__ = ["alerted", "command", "ended", "mended", "start", "tick", "undisturbed"]

BARE = {"PIP_NO_INDEX": "1", "ATTRITION_API_URL": "http://127.0.0.1:9"}  # nothing is asked of any network
CODE = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
"""What a copy of the project is tried with: without it kernels would import the one that is installed."""
COMMAND = [sys.executable, str(REPOSITORY / "runner.py")]


def start(folder: Path, hook: str = "http://127.0.0.1:9") -> Place:
    """A home whose first tick makes a model; whom its alerts reach is at the address ``hook``."""
    place = kit.home(folder / "home")
    alerted(place, hook)
    place.params.write_text(place.params.read_text().replace("least_rows: 10", "least_rows: 40"))
    kit.drop(place, "first.csv", [*kit.rows(1, 300), kit.rows(1, 2)[0], "nobody,2026-01-05,Gold,3,1.0,1"])
    return place


def alerted(place: Place, hook: str) -> None:
    """Messages and heartbeats of this home go to its own path of ``hook``."""
    where = f"{hook}{place.root}"
    (place.root / alerts.FILE).write_text(f"to: ['{where}']\nheartbeat: {where}\n")


def tick(
    place: Place, environment: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """A tick at work, of whoever owns the home; ``before`` is done in its process first."""
    return command(place, ["tick", place.name], environment, before)


def command(
    place: Place,
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """Any other verb."""
    given = {**BARE, **CODE, "LANG": "C", "ATTRITION_HOME": str(place.root), **(environment or {})}
    owner = place.root.stat().st_uid
    other = owner if owner != os.geteuid() else None
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd="/",
        env=given,
        text=True,
        start_new_session=True,
        preexec_fn=before,
        user=other,
        group=other,
        extra_groups=None if other is None else [],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for it."""
    said, _ = process.communicate(timeout=600)
    return Ended(process.returncode, None, said)


@cache
def undisturbed() -> dict[str, Any]:
    """Where such a home stands after its tick; made once a process, as it takes as long as a case.

    Raises:
        AssertionError: that tick did not end well.
    """
    with scratch() as folder, sink.serving() as hook:
        place = start(folder, hook)
        done = ended(tick(place))
        found = child(lambda: oracle.outcome(place))
        sink.gone(place.root)
    if done.status or found.status:
        raise AssertionError(f"an undisturbed tick is not as it should be: {done.said[-600:]}{found.said[-600:]}")
    wanted: dict[str, Any] = found.value
    return wanted


def mended(place: Place, before: Ended) -> list[str]:
    """The same questions as after any fault, of a home's first tick; the tick that mends, and that it is compared with,
    is the real one.
    """
    ticked = Ticked(before.status, before.said)
    wrong = asked(lambda: [*oracle.standing(place), *telling.told(place, ticked)])
    beats = sink.heard(place)[sink.BEAT]
    at_exit = before.status < 0 and child(lambda: kit.owed(place)).value is False  # it had done its work
    if beats != (before.status == 0) and not (at_exit and beats == 1):
        wrong.append(f"it ended with {before.status}, and its heart beat {beats} times")
    done = ended(tick(place))
    if done.status or child(lambda: kit.owed(place)).value:
        return [*wrong, f"not put right by the next tick: {done.said[-400:]}"]
    drops = child(lambda: oracle.given(place)).value
    after = child(lambda: [oracle.settled(place, drops) + telling.over(place), oracle.outcome(place)])
    if after.status:
        return [*wrong, after.said[-400:]]
    faults, found = after.value
    return [*wrong, *faults, *oracle.differences(found, undisturbed())]
