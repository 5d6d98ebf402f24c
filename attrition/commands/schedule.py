"""``runner.py schedule [--every 15m] [--install | --remove]``: the lines of the crontab that keep a home going."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from pathlib import Path

from attrition import crontab, safe
from attrition.console import LOG
from attrition.home import Home, UsageError

__all__ = ["configure", "lines", "main"]

LONGEST = 990
"""Characters that cron reads of a line."""
CARRIED = ("API_URL", "HOSTS", "CLASSIFIERS")
PATHS = ("NOTEBOOKS", "TOKEN_FILE", "MODEL_KEY_FILE")
SECRETS = ("TOKEN", "MODEL_KEY")
INTO_A_FILE = "put it into a file (chmod 600) and set {}_FILE"


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.description = "Prints the lines, or puts them into your crontab; what else stands there is left alone."
    parser.add_argument(
        "--every", default="15m", metavar="TIME", help="between two ticks: 5m, 15m, 1h, 1d (default 15m)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--install", action="store_true", help="put them into the crontab; again changes nothing")
    which.add_argument("--remove", action="store_true", help="take them out of it")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Print or change; returns the exit status.

    Raises:
        UsageError: a time that cron cannot keep, no crontab on this machine, or no portfolio in this home.
    """
    wanted = [] if arguments.remove else lines(home, arguments.every)
    if not arguments.remove:
        home.all_portfolios()  # a home that was mistyped is not made, nor ticked from then on
    if secret := next((name for name in SECRETS if os.environ.get(f"ATTRITION_{name}")), None):
        name = f"ATTRITION_{secret}"
        print(f"{name} is a secret and does not go into a crontab: {INTO_A_FILE.format(name)}", file=sys.stderr)
    for warning in [] if arguments.remove else _of_sources(home)[1]:
        print(warning, file=sys.stderr)
    if not arguments.remove:
        safe.make_folder(home.root / "executed")  # where the lines write to; a shell does not make it
    if not (arguments.install or arguments.remove):
        print("\n".join(wanted))
        return 0
    before = crontab.lines()
    others = [line for line in before if not line.endswith(crontab.mark(home))]
    after = others if arguments.remove else [*others, *wanted]
    if sorted(after) == sorted(before):
        print("the crontab is as it should be; nothing was changed")
        return 0
    crontab.write(after)
    print(f"{len(before) - len(others)} lines taken out of the crontab, {len(after) - len(others)} put in")
    if not arguments.remove:
        print(f"see that cron runs, and how the ticks go: {Path(sys.argv[0]).name} doctor")
    return 0


def lines(home: Home, every: str) -> list[str]:
    """The lines for a home: a tick of every portfolio, and the API after a restart.

    They name all that they need, since cron gives them next to no environment.

    Raises:
        UsageError: a time that cron cannot keep, or a path that makes a line too long.
    """
    import runner

    here = Path(runner.__file__).resolve()
    fields, seconds = _fields(every)
    given = {"ATTRITION_HOME": str(home.root), "ATTRITION_INTERVAL": str(seconds)}
    given |= {name: value for each in CARRIED if (value := os.environ.get(name := f"ATTRITION_{each}"))}
    given |= {name: path for each in PATHS if (path := _path(name := f"ATTRITION_{each}"))}
    found = []
    for when, script, words, log, more in (
        (fields, here, ["tick", "--all"], LOG, _of_sources(home)[0]),
        ("@reboot", here.with_name("api.py"), [], "api.log", {}),  # which asks no source
    ):
        environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in (given | more).items())
        command = shlex.join([sys.executable, str(script), *words])
        where = shlex.quote(str(home.root / "executed" / log))
        # To cron a % is the end of the line.
        text = f"{environment} {command} >> {where} 2>&1".replace("%", r"\%")
        found.append(f"{when} {text}{crontab.mark(home)}")
    if any(len(line) > LONGEST or "\n" in line for line in found):
        raise UsageError(
            f"{home.root}: a path so long, or with a line break, does not go into a crontab, nor do so many or so long "
            "ones of files of secrets"
        )
    return found


def _path(name: str) -> str | None:
    """The path that a variable has, whole: cron begins in another folder."""
    given = os.environ.get(name)
    return str(Path(given).absolute()) if given else None


def _of_sources(home: Home) -> tuple[dict[str, str], list[str]]:
    """The files with the secrets that sources name, by their variables; and what to say of those in no file."""
    from attrition import params

    files, warnings = dict[str, str](), []
    for portfolio in home.portfolios():
        try:
            sources = params.load(home.place(portfolio).params).sources
        except (UsageError, OSError) as error:
            warnings.append(f"what the sources of {portfolio} need is not in the lines: {error}")
            continue
        for source in sources:
            if (name := source.options or source.postgres) is None:
                continue
            if path := _path(f"{name}_FILE"):
                files[f"{name}_FILE"] = path
                continue
            found = "a secret of this shell and does not go into a crontab" if os.environ.get(name) else "not set"
            warnings.append(
                f"{name}, which source {source.name} of {portfolio} needs, is {found}: {INTO_A_FILE.format(name)}, "
                "then schedule again; without it each tick ends with 1"
            )
    return files, warnings


def _fields(every: str) -> tuple[str, int]:
    """When, as cron writes it, and how many seconds lie between."""
    found = re.fullmatch(r"([1-9][0-9]?)([mhd])", every)
    number, unit = (int(found[1]), found[2]) if found else (0, "")
    if unit == "m" and 60 % number == 0:
        return ("* * * * *" if number == 1 else "0 * * * *" if number == 60 else f"*/{number} * * * *"), 60 * number
    if unit == "h" and 24 % number == 0:
        return ("0 * * * *" if number == 1 else "0 3 * * *" if number == 24 else f"0 */{number} * * *"), 3600 * number
    if every == "1d":
        return "0 3 * * *", 86400
    raise UsageError(f"--every: {every[:20]!r}: minutes that divide an hour, hours that divide a day, or 1d")
