"""What the command line says, and the exit status that it ends with. Standard library only."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from attrition.home import Place, UsageError
from attrition.safe import Held
from attrition.signals import Interrupted

__all__ = ["DONE", "FAILED", "HELD", "USAGE", "now", "say", "stamp", "status_of", "told"]

DONE, FAILED, USAGE, HELD = 0, 1, 2, 75


def now() -> datetime:
    """The time of a tick, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """A moment as the book and run.json write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def say(place: Place, text: str) -> None:
    """One line for a person: with the time where nobody watches, without it on a terminal."""
    prefix = "" if sys.stdout.isatty() else f"{stamp(now())} "
    print(f"{prefix}{place.name}: {text}", flush=True)


def status_of(signal: Interrupted) -> int:
    """The exit status of what a signal stopped, as a shell has it."""
    return 128 + signal.number


def told(work: Callable[[], int]) -> int:
    """The exit status of ``work``; what it raises is told on stderr."""
    try:
        return work()
    except Held as held:
        print(f"{held}; nothing was started", file=sys.stderr)
        return HELD
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    except Interrupted as signal:
        print(f"stopped by {signal}; nothing was started", file=sys.stderr)
        return status_of(signal)
    except OSError as error:
        print(f"{error}. Mend the folder or the disk; nothing is lost, the next tick goes on.", file=sys.stderr)
        return FAILED
    except Exception:
        traceback.print_exc()
        return FAILED
