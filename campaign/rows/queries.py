"""Row 14: a PostgreSQL server that is cut off or killed at each message of a fetch, and fetches that are killed."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from attrition import params
from attrition.book import Book
from attrition.home import Place
from attrition.store.clients import Clients
from campaign import forked, kit, oracle, postgres, proxy, telling
from campaign.harness import Ended, Named, Result, asked, child, copied, drawn, scratch
from campaign.postgres import Server
from campaign.proxy import CLIENT, SERVER, At
from campaign.shim import Fault, Mode
from campaign.telling import Ticked, runs

SOURCE = """
sources:
  - name: crm
    postgres: CRM
    query: SELECT client, day, plan, seats, fee, "left", at FROM clients
    watermark: at
    overlap: 48h
"""
COLUMNS = 'client text, day date, plan text, seats bigint, fee double precision, "left" smallint, at timestamptz'
OVERLAP = 48
TICKS = 6  # at most, until nothing is new
LATER = "nothing is lost, the next tick asks again"
STEPS = 260  # about as many file-system steps as a tick makes, and a fetch makes LANDING
LANDING = 14


@dataclass
class Table:
    """The table that is asked, and what a script adds to it; hours are since the first row."""

    server: Server
    chance: Random
    newest: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def add(self, lines: list[str], hours: list[int | None]) -> None:
        """Insert clients, each last changed at its hour, or at no time at all."""
        rows = [_values(line, hour) for line, hour in zip(lines, hours, strict=True)]
        self.server.sql(f"INSERT INTO clients VALUES {', '.join(rows)}")

    def script(self) -> tuple[list[str], list[int | None]]:
        """Five rows that come together: a newer one, late ones, one that is there already, one that is no good."""
        number = next(self.numbers)
        lines = kit.rows(100 + number, 3)
        again = kit.rows(1, 44)[self.chance.randrange(44)]
        late = [self.newest - self.chance.randrange(OVERLAP - 12) for _ in range(3)]
        bad = f"nobody{number},2026-01-05,Gold,3,1.0,1"
        known, self.newest = self.newest, self.newest + self.chance.randrange(1, 12)
        return [*lines, again, bad], [self.newest, late[0], self.chance.choice([None, known]), late[1], late[2]]


def _values(line: str, hour: int | None) -> str:
    client, day, plan, seats, fee, left = line.split(",")
    at = "NULL" if hour is None else f"timestamptz '2026-02-01 00:00+00' + interval '{hour}h'"
    return f"('{client}', '{day}', '{plan}', {seats}, {fee or 'NULL'}, {left or 'NULL'}, {at})"


def run(count: int, seed: int) -> Result:
    """``count`` fetches, each disturbed in one way at one message or step; in the end each row is there once."""
    result, chance = Result(), Random(seed)
    if postgres.missing():
        result.skipped = postgres.missing()
        return result
    from attrition.sources import fetch
    from attrition.sources import postgres as driver

    assert fetch
    driver._driver()  # imported once, before the forks
    with ExitStack() as stack, scratch() as folder, postgres.running() as server:
        start = _start(folder, server, chance)  # by the real process that fetches
        stack.enter_context(forked.fetching())
        with copied(start, folder / "home") as place:
            given = Case(place, _reset(server, chance), chance)
            messages = given.recorded()
        places = {way: _places(way, messages, chance) for way in WAYS}
        for number in range(count):
            way = list(WAYS)[number % len(WAYS)]

            def one(way: str = way, number: int = number) -> Named | None:
                at = next(places[way])
                with copied(start, folder / "home") as place:
                    wrong = WAYS[way](Case(place, _reset(server, chance), chance), at)
                    return None if wrong is None else (f"{way} {at}, case {number}", wrong)

            result.case(*drawn(one))
    return result


def _start(folder: Path, server: Server, chance: Random) -> Place:
    """A home whose first tick took what the table had; the rows are kept in a second table."""
    place = kit.home(folder / "start")
    place.params.write_text(place.params.read_text() + SOURCE)
    server.sql(f"CREATE TABLE clients ({COLUMNS})")
    Table(server, chance).add(kit.rows(1, 44), [3 * number for number in range(44)])
    server.sql("CREATE TABLE kept AS SELECT * FROM clients")
    done = child(lambda: _ticks(place, server.address))
    if done.status or done.value[-1] != 0:
        raise AssertionError(f"the first tick failed: {done.said[-2000:]}")
    return place


def _reset(server: Server, chance: Random) -> Table:
    server.sql("TRUNCATE clients", "INSERT INTO clients SELECT * FROM kept")
    return Table(server, chance, newest=3 * 43)


def _places(way: str, messages: list[tuple[str, str]], chance: Random) -> Iterator[object]:
    """Where a way is tried: each message in turn, of many rows that follow each other the first and the last only."""
    if way in STEPPED:
        found: list[Any] = list(range(STEPPED[way]))
    else:
        kinds = {side: [kind for whose, kind in messages if whose == side] for side in (CLIENT, SERVER)}
        found = [
            At(side, number)
            for side, sent in kinds.items()
            for number in range(len(sent))
            if not (0 < number < len(sent) - 1 and sent[number - 1] == sent[number] == sent[number + 1])
        ]
    chance.shuffle(found)
    return itertools.cycle(found)


class Case:
    """A home, the table that it asks, and what happens at one message of one fetch."""

    def __init__(self, place: Place, table: Table, chance: Random):
        self.place, self.table, self.server, self.chance = place, table, table.server, chance
        self.published = runs(place)
        self.happened = place.root.with_name("happened")
        self.happened.unlink(missing_ok=True)
        self.table.add(*self.table.script())

    def recorded(self) -> list[tuple[str, str]]:
        """Sides and kinds of the messages of an undisturbed fetch."""
        log = self.place.root.with_name("messages")
        with proxy.before(self.server.port, {}, log=log) as port:
            self._ticked(self._address(port))
        return proxy.noted(log)

    def network(
        self, at: At, what: Callable[[Case, bytes], bytes], *, resets: bool = False, down: bool = False
    ) -> list[str]:
        """A tick whose fetch meets ``what`` at one message; rows are inserted some messages before.

        ``down``: the server is gone then, for one tick more.
        """
        rows = self.table.script()

        def insert(message: bytes) -> bytes:
            self.table.add(*rows)
            return message

        def disturb(message: bytes) -> bytes:
            self.happened.touch()
            return what(self, message)

        before = At(at.side, self.chance.randint(0, at.number))
        acts = {before: insert, at: disturb} if before != at else {at: lambda message: disturb(insert(message))}
        with proxy.before(self.server.port, acts, resets=resets) as port:
            ended = self._ticked(self._address(port))
        if not self.happened.exists():
            return [f"there was no such message: {ended.said[-300:]}"]
        wrong = _told(ended)
        if down:
            wrong += _told(self._ticked(self.server.address))
            self.server.start()
        return [*wrong, *self._mended(ended)]

    def orphaned(self, at: At) -> list[str]:
        """The runner is killed at a message, which its fetch, were it still there, had after the next tick."""
        killed = self.place.root.with_name("pid")
        waiting, go_on = os.pipe()

        def work() -> int:
            killed.write_text(str(os.getpid()))
            return kit.tick(self.place)

        def kill(message: bytes) -> bytes:
            os.close(go_on)
            os.kill(int(killed.read_text()), signal.SIGKILL)
            os.read(waiting, 1)
            return message

        with proxy.before(self.server.port, {at: kill}) as port:
            before = self._ticked(self._address(port), work=work)
            if self.chance.random() < 0.5:
                os.close(go_on)
            self.table.add(*self.table.script())
            ended = self._ticked(self.server.address)
            with suppress(OSError):  # it is closed
                os.close(go_on)
        os.close(waiting)
        alive = [] if before.status == -signal.SIGKILL else [f"the runner was not killed: {before.said[-300:]}"]
        return [*alive, *self._mended(ended)]

    def killed(self, step: int) -> list[str] | None:
        """The tick is killed at a file-system step: before or after what was fetched is committed; None: at no step."""
        ended = self._ticked(self.server.address, Fault(Mode.KILL_BEFORE, step))
        return self._mended(ended) if ended.status == -signal.SIGKILL else None

    def fetch_killed(self, step: int) -> list[str] | None:
        """The process that fetches is killed at a step of landing; None if it came to none."""
        from attrition.sources import fetch

        work = partial(fetch.main, str(self.place.root), self.place.name, str(os.getpid()))
        ended = self._ticked(self.server.address, Fault(Mode.KILL_BEFORE, step), work=work)
        return self._mended(ended) if ended.status == -signal.SIGKILL else None

    def _address(self, port: int) -> str:
        plain = "sslmode=disable&gssencmode=disable"
        return f"{self.server.address.replace(f':{self.server.port}/', f':{port}/')}?{plain}"

    def _ticked(self, address: str, fault: Fault | None = None, work: Callable[[], Any] | None = None) -> Ended:
        os.environ["CRM"] = address
        return child(work or (lambda: kit.tick(self.place)), fault, self.place.root)

    def _mended(self, before: Ended) -> list[str]:
        """More rows come, and ticks take all that there is."""
        self.table.add(*self.table.script())
        ticked = Ticked(before.status or before.value or 0, before.said, self.published)
        return asked(lambda: _account(self.place, self.server.address, ticked))


def _told(ended: Ended) -> list[str]:
    """What failed is said with the exit status; and who says 0 has what there was."""
    if ended.status != 0 or ended.value not in (0, 1):
        return [f"it ended with {ended.status}, {ended.value}: {ended.said[-600:]}"]
    said = "source crm: the server behind CRM" in ended.said and LATER in ended.said
    if said != (ended.value == 1):
        return [f"it ended with {ended.value}, and says: {ended.said[-600:]}"]
    return ["the password is told"] if postgres.PASSWORD in ended.said or postgres.ESCAPED in ended.said else []


def _account(place: Place, address: str, ticked: Ticked) -> list[str]:
    faults = [*oracle.standing(place), *telling.told(place, ticked)]
    statuses = _ticks(place, address)
    if any(statuses):
        return [*faults, f"ticks ended with {statuses}"]
    faults += oracle.settled(place, oracle.given(place)) + telling.over(place)
    left = sorted(path.name for path in place.incoming.iterdir())
    faults += [f"left in incoming/: {', '.join(left)}"] if left else []
    there, table = _there(place), _in_table(address)
    faults += [f"in the table and not here: {sorted(table - set(there))[:3]}"] if table - set(there) else []
    faults += [f"here and not in the table: {sorted(set(there) - table)[:3]}"] if set(there) - table else []
    return faults + ([f"{len(there)} rows for {len(table)}"] if len(there) != len(set(there)) else [])


def _ticks(place: Place, address: str) -> list[int]:
    """Ticks until one makes no run; the exit status of each.

    The book is asked after the first only: where a tick was cut short within a transaction, no reader can before.
    """
    os.environ["CRM"] = address
    statuses, before, runs = [kit.tick(place)], -1, _runs(place)
    while len(statuses) < TICKS and (before != runs or statuses[-1] != 0):
        statuses.append(kit.tick(place))
        before, runs = runs, _runs(place)
    return statuses if before == runs else [*statuses, -1]


def _runs(place: Place) -> int:
    if not place.book.exists():
        return 0
    with Book.open(place.book, read_only=True) as book:
        return len(book.runs(limit=10_000))


def _there(place: Place) -> list[str]:
    frame = Clients(params.load(place.params), place.clients).frame()
    return [_plain(row.client, row.day, row.plan, row.seats, row.fee, row.left) for row in frame.itertuples()]


def _in_table(address: str) -> set[str]:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("""SELECT client, day, plan, seats, fee, "left" FROM clients WHERE plan <> 'Gold'""")
        return {_plain(*row) for row in cursor.fetchall()}


def _plain(client: Any, day: Any, plan: Any, seats: Any, fee: Any, left: Any) -> str:
    numbers = ("" if value is None or value != value else f"{float(value):.4f}" for value in (seats, fee, left))
    return f"{client} {day:%Y-%m-%d} {plan} {' '.join(numbers)}"


def _cut(_case: Case, _message: bytes) -> bytes:
    return b""


def _torn(_case: Case, message: bytes) -> bytes:
    return message[: len(message) // 2]


def _server_killed(case: Case, message: bytes) -> bytes:
    case.server.kill()
    return message


def _server_stopped(case: Case, message: bytes) -> bytes:
    case.server.stop()
    return message


def _network(what: Callable[[Case, bytes], bytes], **how: bool) -> Callable[[Case, Any], list[str]]:
    return lambda case, at: case.network(at, what, **how)


WAYS: dict[str, Callable[[Case, Any], list[str] | None]] = {
    "cut off before": _network(_cut),
    "cut off within": _network(_torn),
    "server killed at": _network(_server_killed, down=True),
    "fetch killed at step": Case.fetch_killed,
    "runner killed at": Case.orphaned,
    "tick killed at step": Case.killed,
    "reset within": _network(_torn, resets=True),
    "server stopped at": _network(_server_stopped, down=True),
}
STEPPED = {"fetch killed at step": LANDING, "tick killed at step": STEPS}
