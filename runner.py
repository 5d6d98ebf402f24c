#!/usr/bin/env python3
"""The pipeline: the stages in order, the ticks of one portfolio and of all, and the command line's front door.

Only the standard library is imported until a tick finds work: most ticks find none.
"""

from __future__ import annotations

import argparse
import keyword
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

from attrition import due, telling, wishes
from attrition.alone import alone
from attrition.commands import VERBS
from attrition.console import DONE, FAILED, HELD, LOG, USAGE, attach, complain, now, say, stamp, told, turn_over
from attrition.home import Home, Place, UsageError
from attrition.recovery import close
from attrition.signals import heeded
from attrition.visit import Clock, Visit, visit
from attrition.wishes import Wish

STAGES = {
    "ingest": "10_ingest.ipynb",
    "monitor": "20_monitor.ipynb",
    "train": "30_train.ipynb",
    "score": "40_score.ipynb",
    "deploy": "50_deploy.ipynb",
    "diagnose": "60_diagnose.ipynb",
    "assess": "70_assess.ipynb",
    "report": "80_report.ipynb",
}
NOTEBOOKS = Home.stages()


def tick(home: Home, name: str, *, wish: Wish = wishes.NONE, clock: Clock = now) -> int:
    """One tick of one portfolio; the exit status. It raises what `attrition.visit.visit` does."""
    return visit(home, name, _work, wish=wish, clock=clock)


def _work(found: Visit) -> int:
    """The tick itself, or what a person asked for in its place."""
    from attrition import dependencies, forks, kernels

    place, book, wish, clock = found.place, found.book, found.wish, found.clock
    kernels.environment(place.cache)
    # The kernels' libraries first, because they take a while to import.
    with forks.forking(partial(say, place)) as forked, dependencies.asking(place.newest):
        from attrition import attempt, overrides, site
        from attrition.stage_runner import StageRunner
        from attrition.tick import Tick

        import_module("attrition.engine")  # meanwhile, which the stages will ask of this process
        portfolio = overrides.changed(place.params, wish.given)
        due.columns_fit(place, book, portfolio)
        if found.closed:  # this tick may be cut short as well, and the pages would go on saying that all is well
            site.write(place, portfolio, book, found.closed)
        executing = partial(StageRunner, place, portfolio, NOTEBOOKS, forked, found.stop)
        try:
            if wish.stage:
                status = attempt.by_hand(place, portfolio, book, STAGES, wish, executing, clock=clock)
            else:
                made = Tick(place, portfolio, book, STAGES, executing, clock=clock, wish=wish)
                status = made.run(found.drops)
        except Exception as error:
            with suppress(Exception):  # the disk may still fail: then the next tick closes it, and knows less
                if found.ours() and book.unfinished():  # it was begun, and could not say itself what became of it
                    site.write(place, portfolio, book, close(place, book, stamp(clock()), error))
            raise
        if found.ours():
            site.write(place, portfolio, book)
        return status


def tick_all(home: Home, wish: Wish, ended: dict[str, int]) -> int:
    """A tick of every portfolio, that with the oldest drop first; what fails one does not stop the next.

    The exit status of each goes into ``ended``, and of each that can have none, as its YAML went away.

    Raises:
        UsageError: there is none.
    """
    for line in home.passed_over():
        complain(f"{stamp(now())} {line}")
    with heeded() as stop:
        for name in sorted(home.all_portfolios(), key=due.oldest(home)):
            ended[name] = told(partial(tick, home, name, wish=wish))
            if stop.number is not None:  # whatever became of this one, the next ones do not start
                return 128 + stop.number
    for name in home.lost():
        ended[name] = told(partial(_lost, home.place(name)))
    # What needs a person counts for more than a portfolio that another tick is just at: schedulers pass over that one.
    return next((status for status in (FAILED, USAGE, HELD) if status in ended.values()), DONE)


def _lost(place: Place) -> int:
    with alone(place, stamp(now())):  # a restore that is under way brings the YAML last
        raise UsageError(place.gone)


def main(words: Sequence[str] | None = None) -> int:
    """What ``python runner.py`` does; returns the exit status."""
    attach()
    words = list(sys.argv[1:] if words is None else words) or ["tick", "demo"]
    parser = argparse.ArgumentParser(prog="runner.py", description="Without words: one tick of the portfolio demo.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    wishes.configure(verbs.add_parser("tick", help="look for work in a portfolio, and do it"))
    for name, help_text in VERBS.items():
        verb = verbs.add_parser(name, help=help_text)
        if name == words[0]:
            module = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")
            command = import_module(f"attrition.commands.{module}")
            command.configure(verb)
    arguments = parser.parse_args(words)
    if arguments.verb == "new":
        return told(lambda: command.main(arguments, Home(Path.cwd())))
    if arguments.verb != "tick":
        return told(lambda: command.main(arguments, Home.here()))
    begun, ended = now().replace(microsecond=0), dict[str, int]()
    given = telling.whom(Home.here)
    status = told(lambda: _tick(arguments, Home.here(), ended))
    if arguments.portfolio:
        ended[arguments.portfolio] = status
    tried = wishes.tried(arguments)
    told(partial(telling.tell, Home.here, given, ended, status=status, tried=tried, since=begun))  # its fate is its own
    told(lambda: turn_over(Home.here().root / "executed" / LOG))
    return status


def _tick(arguments: argparse.Namespace, home: Home, ended: dict[str, int]) -> int:
    wish = wishes.wish_of(arguments)
    return tick_all(home, wish, ended) if arguments.all else tick(home, arguments.portfolio, wish=wish)


if __name__ == "__main__":
    sys.exit(main())
