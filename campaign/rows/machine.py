"""Row 13: random histories (drop, tick, forced tick, crash, roll back) beside a dictionary of the rows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from attrition.home import Home, Place
from campaign import kit, oracle
from campaign.harness import Result, child, scratch
from campaign.shim import Fault, Mode

STEPS = 50
FOLDERS = itertools.count()


def run(count: int, seed: int) -> Result:
    """``count`` histories of 50 steps, each found, made smaller and told by hypothesis."""
    from hypothesis import HealthCheck, settings
    from hypothesis.stateful import run_state_machine_as_test

    result = Result()
    with scratch() as folder:
        machine = _machine(folder, result)
        chosen = settings(
            max_examples=count,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        from hypothesis import seed as seeded

        try:
            run_state_machine_as_test(seeded(seed)(machine), settings=chosen)
        except AssertionError as error:
            result.failures.append(str(error))
    return result


def _machine(folder: Path, result: Result) -> Any:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

    class Portfolio(RuleBasedStateMachine):
        """The real portfolio, and what a person would note of it on paper."""

        def __init__(self) -> None:
            super().__init__()
            result.cases += 1
            self.place: Place = kit.home(folder / str(next(FOLDERS)))
            self.waiting: dict[str, set[str]] = {}
            self.rows: set[str] = set()
            self.barred: set[str] = set()

        @initialize()
        def first(self) -> None:
            kit.drop(self.place, "first.csv", kit.rows(1, 40))
            self.waiting["first.csv"] = set(kit.rows(1, 40))

        @rule(seed=st.integers(1, 9), count=st.integers(1, 15))
        def dropped(self, seed: int, count: int) -> None:
            name = f"drop{seed}-{count}.csv"
            kit.drop(self.place, name, kit.rows(seed, count))
            self.waiting[name] = set(kit.rows(seed, count))

        @rule()
        def ticked(self) -> None:
            self._all(child(lambda: kit.until_quiet(self.place)))

        @rule()
        def forced(self) -> None:
            self._all(child(lambda: [kit.tick(self.place, force=True), *kit.until_quiet(self.place)]))

        @rule(step=st.integers(0, 450))
        def crashed(self, step: int) -> None:
            child(lambda: kit.tick(self.place), Fault(Mode.KILL_BEFORE, step), self.place.root)
            self._all(child(lambda: kit.until_quiet(self.place)))

        @rule()
        def rolled_back(self) -> None:
            before = child(lambda: _champion(self.place)).value
            ended = child(lambda: _roll_back(self.place))
            if ended.value == 0:
                self.barred.add(before)
            assert ended.value in (0, 2), ended.said

        def _all(self, ended: Any) -> None:
            assert ended.status == 0, ended.said[-1500:]
            for rows in self.waiting.values():
                self.rows |= rows
            self.waiting.clear()

        @invariant()
        def as_on_paper(self) -> None:
            if not self.waiting:
                _compare(self.place, len(self.rows), self.barred)

    return Portfolio


def _compare(place: Place, rows: int, barred: set[str]) -> None:
    """Hold a portfolio to the paper: how many rows there are, and which models may not serve."""
    drops = child(lambda: oracle.given(place)).value
    ended = child(lambda: [oracle.settled(place, drops), _clients(place), _champion(place)])
    assert ended.status == 0, ended.said[-1500:]
    faults, found, champion = ended.value
    assert faults == [], faults
    assert found == rows, (found, rows)
    assert champion not in barred, champion


def _clients(place: Place) -> int:
    from attrition import params
    from attrition.store.clients import Clients

    return Clients(params.load(place.params), place.clients).rows


def _champion(place: Place) -> str | None:
    from attrition.book import Book

    with Book.open(place.book, read_only=True) as book:
        return book.state().champion


def _roll_back(place: Place) -> int:
    import argparse

    import runner
    from attrition.commands import rollback

    given = argparse.Namespace(portfolio=place.name, version=None, reason="tried")
    return runner.told(lambda: rollback.main(given, Home(place.root)))
