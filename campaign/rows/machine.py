"""Row 13: random histories of all that is done to a portfolio, beside what a person would note of it on paper.

Drops, some with rows that cannot be taken, outcomes that come alone, a YAML that changes, ticks, forced ticks,
promotions, rollbacks, prunings, backups, restores, clients who are forgotten, and each of them killed at some step;
what a killed tick left is met by whatever comes next. After each the table holds the very rows that stand on the paper,
and the oracle of all rows finds nothing wrong.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from attrition.home import Place
from attrition.wishes import NONE, Wish
from campaign import kit, oracle
from campaign.harness import JOBS, Result, Started, aloud, child, late, scratch
from campaign.shim import Fault, Mode

STEPS = 50
AT_A_TIME = 10
"""Histories of one call of hypothesis, which ends with the first failure that it has made smaller."""
LEAST = 30
"""Clients with an outcome that the stages of `kit` train of."""
FORCED = Wish(force=True)
FEW = st.integers(1, 15)
SEEDS = st.integers(1, 9)
NUMBERS = itertools.count()
TICK, FORGET, PRUNE, ROLL_BACK, RESTORE = 740, 440, 60, 250, 400
"""About as many file-system steps as each takes; a kill after the last of them is none."""
OUTCOMES = "client,day,left"
LATER = "u"
"""Begins the ids of clients whose outcome comes later."""
COUNTED: Counter[str] = Counter()
"""How many histories and kills there were in this process."""
SEEN: list[str] = []
"""What was wrong in this process, as it was seen."""


@dataclass
class Paper:
    """What a person would note: the rows (client, day, plan, seats, fee, left), those that wait, who may not serve.

    ``strangers`` are outcomes for clients nobody knew, which waited when a tick was killed: it has rejected them, or
    they join the clients who came since. ``doubtful`` are the rows that there are in the second case.
    """

    rows: set[str] = field(default_factory=set)
    waiting: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    restored: bool = False

    def take(self) -> None:
        """What waits comes in: first the rows, then the outcomes that join them."""
        self.rows |= self._waiting(rows=True)
        known = self._known()
        for line in self._waiting(rows=False):
            client, day, left = line.split(",")
            if (client, day) in known:
                (self.doubtful if line in self.strangers else self.rows).add(f"{known[client, day]},{left}")
        self.waiting.clear()
        self.strangers.clear()

    def half_taken(self) -> None:
        """A tick was killed, and nobody can tell whether it took in what waited."""
        known = self._known() | dict.fromkeys(tuple(row.split(",")[:2]) for row in self._waiting(rows=True))
        told = self._waiting(rows=False)
        self.strangers |= {line for line in told if tuple(line.split(",")[:2]) not in known}

    def seen(self, rows: set[str]) -> None:
        """Of what was doubtful, note what there is."""
        self.rows |= self.doubtful & rows
        self.doubtful.clear()

    def _waiting(self, *, rows: bool) -> set[str]:
        return {line for header, lines in self.waiting.values() if (header == kit.HEADER) == rows for line in lines}

    def _known(self) -> dict[tuple[str, ...], str]:
        return {tuple(row.split(",")[:2]): row.rpartition(",")[0] for row in self.rows}

    @property
    def labelled(self) -> int:
        """Rows with an outcome."""
        return sum(not row.endswith(",") for row in self.rows)

    def clients(self) -> list[str]:
        """All who have a row."""
        return sorted({row.partition(",")[0] for row in self.rows})


def run(count: int, seed: int) -> Result:
    """``count`` histories of 50 steps, each found, made smaller and told by hypothesis; in JOBS processes."""
    jobs = int(os.environ.get(JOBS, "1"))
    result, killed = Result(), 0
    with scratch() as folder:
        firsts = range(0, count, AT_A_TIME)
        work = [partial(_histories, firsts[job::jobs], count, seed, folder / str(job)) for job in range(jobs)]
        for each in [Started(part) for part in work]:
            ended = each.ended(patience=float("inf"))
            if ended.status:
                raise AssertionError(ended.said[-2000:])
            result.cases += ended.value[0]
            killed += ended.value[1]
            result.failures += ended.value[2]
    result.notes.append(f"{killed:,} kills in them")
    return result


def _step(most: int) -> st.SearchStrategy[int]:
    return st.integers(0, most - 1)


def _histories(firsts: Sequence[int], count: int, seed: int, folder: Path) -> tuple[int, int, list[str]]:
    """How many histories there were, how many kills in them, and what went wrong; another seed has none of them."""
    folder.mkdir()
    failures: list[str] = []
    for first in firsts:
        if not late():
            found = _some(min(AT_A_TIME, count - first), seed * 10_000 + first, folder)
            aloud(found)
            failures += found
    return COUNTED["histories"], COUNTED["kills"], failures


def _some(count: int, seed: int, folder: Path) -> list[str]:
    """What went wrong in so many histories."""
    chosen = settings(
        max_examples=count,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    machine = type("Portfolio", (_Portfolio,), {"folder": folder})
    try:
        run_state_machine_as_test(seeded(seed)(machine), settings=chosen)
    except BaseExceptionGroup as errors:
        return [_told(error) for error in errors.exceptions]
    except AssertionError as error:
        return [_told(error)]
    except Flaky as error:  # it failed, and another time it did not: threads, or the clock
        return [f"{SEEN[-1] if SEEN else ''}\n{error}"]
    return []


def _told(error: BaseException) -> str:
    """What was wrong, and the history that led there."""
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


class _Portfolio(RuleBasedStateMachine):
    """The real portfolio, and the paper; each history has a home below ``folder``."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        COUNTED["histories"] += 1
        self.place: Place = kit.home(self.folder / str(COUNTED["histories"]) / "home")
        self.paper = Paper()
        self.copy: tuple[Path, Paper] | None = None

    def teardown(self) -> None:
        if (error := sys.exc_info()[1]) is not None:
            SEEN.append(str(error))
        shutil.rmtree(self.place.root.parent)

    @initialize()
    def first(self) -> None:
        self._drop("first.csv", kit.rows(1, 40))

    @rule(seed=SEEDS, count=FEW)
    def dropped(self, seed: int, count: int) -> None:
        self._drop(f"drop{seed}-{count}.csv", kit.rows(seed, count))

    @rule(seed=SEEDS, count=FEW)
    def dropped_without_outcome(self, seed: int, count: int) -> None:
        self._drop(f"later{seed}-{count}.csv", kit.rows(seed, count, labelled=False, prefix=LATER))

    @rule(seed=SEEDS, count=FEW, left=st.integers(0, 1))
    def outcomes_came(self, seed: int, count: int, left: int) -> None:
        lines = kit.rows(seed, count, labelled=False, prefix=LATER)
        self._drop(f"told{seed}-{count}-{left}.csv", [_outcome(line, left) for line in lines], OUTCOMES)

    @rule(seed=SEEDS)
    def dropped_with_bad_rows(self, seed: int) -> None:
        self._drop(f"bad{seed}.csv", kit.rows(seed, 2), more=[f"nobody{seed},2026-01-05,Gold,3,1.0,1", "too,few"])

    @rule(high=st.sampled_from((0.4, 0.5, 0.6)))
    def banded(self, high: float) -> None:
        """By another YAML it is another list."""
        rest = self.place.params.read_text().partition("bands:")[0]
        self.place.params.write_text(f"{rest}bands: {{medium: 0.3, high: {high}}}\n")

    @precondition(lambda self: self.paper.labelled >= LEAST)
    @rule(shown=st.sampled_from(("", "show: [fee]\n")))
    def featured(self, shown: str) -> None:
        """What is shown is no feature: by another YAML it takes another model, until the change is taken back."""
        head, bands, rest = self.place.params.read_text().partition("bands:")
        self.place.params.write_text(head.replace("show: [fee]\n", "") + shown + bands + rest)

    @precondition(lambda self: self.paper.labelled >= LEAST)
    @rule()
    def tried_otherwise(self) -> None:
        """What one run is given is no later one's."""
        self._done(lambda: _tick(self.place, wish=Wish(force=True, given=(("show", "[seats]"),))))

    @rule()
    def ticked(self) -> None:
        self._done(lambda: _tick(self.place))

    @rule()
    def forced(self) -> None:
        self._done(lambda: _tick(self.place, wish=FORCED))

    @rule(step=_step(TICK))
    def crashed(self, step: int) -> None:
        """What comes next meets it as it was left."""
        self._killed(lambda: _tick(self.place, wish=FORCED), step)
        self.paper.half_taken()

    @rule(seed=st.integers(100, 10_000))
    def promoted(self, seed: int) -> None:
        """So many outcomes that the stage's rule promotes what the tick trains."""
        self._done(lambda: 0)
        lines = kit.rows(seed, 3)
        fresh = [line for line in lines if line not in self.paper.rows]
        self._drop(f"promoting{next(NUMBERS)}.csv", fresh[: (2 - self.paper.labelled) % 3])
        newest = self._done(lambda: _tick(self.place, wish=FORCED))["newest"]
        if self.paper.labelled % 3 == 2:
            assert newest["status"] == "champion", newest

    @rule(step=st.none() | _step(ROLL_BACK))
    def rolled_back(self, step: int | None) -> None:
        roll_back = lambda: kit.command("rollback", self.place, version=None, reason="tried")  # noqa: E731
        if step is not None:
            self._killed(roll_back, step)
        before = len(self._done(lambda: 0)["barred"])
        found = self._done(roll_back)
        assert len(found["barred"]) == before + (found["status"] == 0), found

    @rule(keep=st.integers(0, 3), step=st.none() | _step(PRUNE))
    def pruned(self, keep: int, step: int | None) -> None:
        prune = lambda: kit.command("prune", self.place, days=0, keep=keep, dry_run=False)  # noqa: E731
        if step is not None:
            self._killed(prune, step)
        self._done(prune)

    @rule(at=st.integers(0, 1000), step=st.none() | _step(FORGET))
    def forgotten(self, at: int, step: int | None) -> None:
        self._done(lambda: 0)
        if not (everybody := self.paper.clients()):  # all are forgotten
            return
        client = everybody[at % len(everybody)]
        forget = lambda: kit.command("forget", self.place, client=client, reason="asked for")  # noqa: E731
        if step is not None:
            self._killed(forget, step)
            left = child(lambda: [kit.until_quiet(self.place), _rows(self.place)])
            assert left.status == 0, left.said[-1500:]
            partly = {row for row in left.value[1] if row.startswith(f"{client},")}
            assert partly in (set(), {row for row in self.paper.rows if row.startswith(f"{client},")}), partly
            if not partly:
                forget = lambda: 0  # noqa: E731 - the tick has ended it
        self.paper.rows = {row for row in self.paper.rows if not row.startswith(f"{client},")}
        self._done(forget)
        naming = child(lambda: oracle.holding(self.place.root, client))
        assert (naming.status, naming.value) == (0, []), naming.value or naming.said[-1500:]

    @rule()
    def backed_up(self) -> None:
        target = self.place.root.with_name("backup")
        shutil.rmtree(target, ignore_errors=True)
        copying = lambda: kit.command("backup", self.place, dest=target, portfolio=None)  # noqa: E731
        ended = child(copying)
        if "the next tick mends" in ended.said:  # of a tick that was killed within a transaction
            self._done(lambda: 0)
            ended = child(copying)
        assert (ended.status, ended.value) == (0, 0), ended.said[-1500:]
        self.copy = (target, deepcopy(self.paper))

    @precondition(lambda self: self.copy is not None)
    @rule(step=st.none() | _step(RESTORE))
    def restored(self, step: int | None) -> None:
        target, paper = self.copy  # type: ignore[misc]
        shutil.rmtree(self.place.root)
        self.place.root.mkdir()
        if step is not None:
            self._killed(lambda: kit.command("restore", self.place, src=target, portfolio=[]), step)
        ended = child(lambda: kit.command("restore", self.place, src=target, portfolio=[]))
        whole = self.place.params.exists() and step is not None  # the kill came after its last step
        assert (ended.status, ended.value) == (0, 0) or whole, ended.said[-1500:]
        self.paper = deepcopy(paper)
        self.paper.restored = True
        self._done(lambda: 0)

    def _killed(self, work: Callable[[], int], step: int) -> None:
        """Do a part of it."""
        ended = child(work, Fault(Mode.KILL_BEFORE, step), self.place.root)
        COUNTED["kills"] += ended.status == -signal.SIGKILL

    def _drop(self, name: str, lines: list[str], header: str = kit.HEADER, more: Sequence[str] = ()) -> None:
        kit.drop(self.place, name, [*lines, *more], header)
        self.paper.waiting[name] = (header, lines)

    def _done(self, work: Callable[[], int]) -> dict[str, Any]:
        """Do it, then ticks until there is nothing to do, and hold the portfolio to the paper."""
        ended = child(lambda: _found(self.place, work, restored=self.paper.restored))
        assert ended.status == 0, ended.said[-1500:]
        self.paper.take()
        found: dict[str, Any] = ended.value
        assert found["faults"] == [], found["faults"]
        assert len(found["rows"]) == len(set(found["rows"])), "a row is there twice"
        self.paper.seen(set(found["rows"]))
        assert set(found["rows"]) == self.paper.rows, set(found["rows"]) ^ self.paper.rows
        assert found["champion"] not in found["barred"], found["champion"]
        assert self.paper.barred <= set(found["barred"]), "a model is barred no more"
        self.paper.barred = set(found["barred"])
        return found


def _outcome(line: str, left: int) -> str:
    client, day, *_ = line.split(",")
    return f"{client},{day},{left}"


def _tick(place: Place, *, wish: Wish = NONE) -> int:
    """At this moment, because the commands between the ticks have no other clock."""
    at = datetime.now(UTC)
    return kit.tick(place, wish=wish, clock=lambda: at)


def _found(place: Place, work: Callable[[], int], *, restored: bool) -> dict[str, Any]:
    """What there is after ``work`` and the ticks that it leaves to do."""
    from attrition.book import Book

    status = work()
    assert status in (0, 2), status
    first = _tick(place)  # before it nobody can ask the book, where a kill came within a transaction
    with Book.open(place.book, read_only=True) as book:
        champion, models = book.state().champion, book.models()
    faults = oracle.settled(place, oracle.given(place), restored=restored)
    faults += [f"not put right by the next tick, which ended with {first}"] if first or kit.owed(place) else []
    newest = max(models, key=lambda each: each["version"], default={})
    about = {"version": newest.get("version"), "status": newest.get("status")}
    barred = [each["version"] for each in models if each["status"] == "barred"]
    told = {"status": status, "champion": champion, "barred": barred, "newest": about, "faults": faults}
    return told | {"rows": _rows(place)}


def _rows(place: Place) -> list[str]:
    """The rows of the table, as their drops had them."""
    from attrition import params
    from attrition.store.clients import Clients

    def plain(value: Any, form: str) -> str:
        return "" if value is None or value != value else format(value, form)

    frame = Clients(params.load(place.params), place.clients).frame()
    return [
        f"{row.client},{row.day:%Y-%m-%d},{row.plan},{row.seats:.0f},{plain(row.fee, '.2f')},{plain(row.left, '.0f')}"
        for row in frame.itertuples()
    ]
