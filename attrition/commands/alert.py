"""``runner.py alert --test``: a message to everybody whom ``alerts.yaml`` names, to see that it arrives."""

from __future__ import annotations

import argparse

from attrition.home import Home, UsageError

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("--test", action="store_true", required=True, help="send a message that says it is a test")


def main(_arguments: argparse.Namespace, home: Home) -> int:
    """Send it; returns 0 if everybody took it.

    Raises:
        UsageError: there is no ``alerts.yaml``, or it cannot be used.
    """
    from attrition import alerts
    from attrition.sending import Services

    given = alerts.settings(home)
    if given is None or not given.to:
        raise UsageError(
            f"nobody to tell: write {home.root / alerts.FILE} (chmod 600), such as\n{alerts.EXAMPLE}\n"
            "with any address of apprise: https://appriseit.com/services"
        )
    services = Services(given.to)
    reached, troubles = services.deliver("Attrition: test", f"This is a test from {home.root}. All is well.")
    print(f"{reached} of {len(given.to)} took the message")
    for trouble in troubles:
        print(trouble)
    return 1 if troubles else 0
