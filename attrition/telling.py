"""Whoever is to be told of ticks: looked up before they begin, told when they have ended.

Nothing is imported for it in a home that has no ``alerts.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from attrition import safe
from attrition.console import DONE, complain, now, stamp
from attrition.home import Home

if TYPE_CHECKING:
    from attrition.alerts import Settings

__all__ = ["tell", "whom"]

FILE = "alerts.yaml"


def whom(here: Callable[[], Home]) -> Settings | None:
    """Whom to tell, read before any work: the disk that fails a tick may keep it from being read afterwards.

    None also where it cannot be read, for whatever reason: `tell` tries again, and says so.
    """
    with suppress(Exception):
        if safe.exists((home := here()).root / FILE):
            from attrition import alerts

            return alerts.settings(home)
    return None


def tell(
    here: Callable[[], Home],
    given: Settings | None,
    ended: Mapping[str, int],
    *,
    status: int,
    tried: bool,
    since: datetime,
) -> int:
    """Tell of ticks that began at ``since``; the exit status of this.

    ``ended``: the status of each portfolio's, ``status`` that of all. What a person ``tried`` and what did not work is
    nobody else's.

    Raises:
        UsageError: ``alerts.yaml`` cannot be used.
    """
    home = here()
    if not given and not safe.exists(home.root / FILE):
        return DONE
    from attrition import alerts

    if tried and not ended and status != DONE:
        return DONE
    each = {name: None if tried and how != DONE else how for name, how in ended.items()}
    for line in alerts.after(home, each, given, good=status == DONE, since=since, now=now()):
        complain(f"{stamp(now())} {line}")
    return DONE
