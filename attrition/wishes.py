"""What a person asks of a tick on the command line. Standard library only: every quiet tick reads it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from attrition.home import UsageError

__all__ = ["NONE", "Wish", "configure", "tried", "wish_of"]


@dataclass(frozen=True)
class Wish:
    """What a person asks of a tick beyond looking for work."""

    force: bool = False  # train though the champion holds
    resume: bool = False  # take over what a run that failed had completed
    stage: str = ""  # execute from here on, on what an earlier run left; commit nothing
    describe: bool = False  # score all clients and describe the data anew though nothing is new
    only: bool = False  # and that stage alone
    given: tuple[tuple[str, str], ...] = ()  # keys of the YAML that are otherwise for this run

    @property
    def asks(self) -> bool:
        """Whether there is something to do though nothing is due."""
        return bool(self.force or self.resume or self.stage or self.describe)


NONE = Wish()


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow ``runner.py tick``."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("portfolio", nargs="?", help="a file of params/, without .yaml")
    which.add_argument("--all", action="store_true", help="every portfolio in params/")
    parser.add_argument("--force", action="store_true", help="train a challenger although the champion holds")
    parser.add_argument("--resume", action="store_true", help="go on from the stage in which the last run failed")
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--only", metavar="STAGE", help="this stage once more, on what the last run left; commits nothing"
    )
    part.add_argument("--from", metavar="STAGE", dest="first", help="as --only, and those after it")
    parser.add_argument("--commit", action="store_true", help="with --from: a tick that does this part anew")
    parser.add_argument(
        *("-p", "--param"),
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="a key of the YAML, otherwise for this run: -p model.C 0.5",
    )


ANEW = ("ingest", "monitor", "train", "diagnose", "assess", "report")
"""Where a tick may begin with ``--commit``. Rows are judged once, so it cannot begin with what decides."""


def tried(arguments: argparse.Namespace) -> bool:
    """Whether a person tries something, as cron's line does not; also where it does not go together."""
    return bool(arguments.force or arguments.resume or arguments.only or arguments.first or arguments.param)


def wish_of(arguments: argparse.Namespace) -> Wish:
    """What the command line asks for.

    Raises:
        UsageError: it asks for what does not go together.
    """
    stage = arguments.only or arguments.first or ""
    given = tuple((key, value) for key, value in arguments.param)
    if arguments.all and (stage or given or arguments.resume):
        raise UsageError("--all goes with --force only: the other wishes speak of one portfolio")
    if arguments.commit and not stage:
        raise UsageError("--commit goes with --from: any other tick commits")
    if stage and (arguments.force or arguments.resume):
        raise UsageError("--only and --from repeat what an earlier run did: no --force or --resume beside them")
    if arguments.commit:
        if stage not in ANEW or arguments.only:
            raise UsageError(
                f"--commit goes with --from {', '.join(ANEW)}: a challenger is judged on the newest rows, once;"
                " without --commit any stage can be tried"
            )
        return Wish(stage in ("monitor", "train"), describe=stage in ANEW[3:], given=given)
    return Wish(arguments.force, arguments.resume, stage, only=bool(arguments.only), given=given)
