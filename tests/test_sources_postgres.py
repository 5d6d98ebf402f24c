"""A query of a real PostgreSQL server as a source: nothing lost, nothing twice, and its password nowhere."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_kit import cli, here, quick, reports, tree
from postgres_kit import ESCAPED, PASSWORD, Server, running
from runner_kit import ended, family, started, survivors

from attrition import params
from attrition.book import Book
from attrition.home import Home, Place
from attrition.sources import fetch as fetching
from attrition.sources import postgres
from attrition.store import marks
from attrition.store.clients import Clients
from attrition.store.drops import is_drop
from attrition.store.ingest import ingest

YAML = """
title: Shop
id: client
as_of: day
columns:
  client: {type: text}
  day: {type: date}
  seats: {type: integer}
  fee: {type: number, nullable: true}
  vip: {type: boolean}
target: {column: left}
sources:
  - name: crm
    postgres: CRM
    query: SELECT client, day, seats, fee, vip, "left", at FROM clients;
"""
WATERMARK = "    watermark: at\n    overlap: 2d\n"
TABLE = """CREATE TABLE clients (
    client text, day date, seats bigint, fee double precision, vip boolean, "left" smallint, at timestamptz
)"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as one:
        yield one


@pytest.fixture
def place(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A portfolio whose source is a table with three rows."""
    monkeypatch.setenv("CRM", server.address)
    server.sql("DROP TABLE IF EXISTS clients", TABLE)
    add(server, "a", "2026-01-01 00:00+00")
    add(server, "b", "2026-01-02 00:00+00")
    add(server, "c", "2026-01-03 12:00+00")
    return made(tmp_path, YAML + WATERMARK)


def made(root: Path, yaml: str) -> Place:
    place = Home(root).place("shop")
    place.params.parent.mkdir(exist_ok=True)
    place.params.write_text(yaml)
    place.incoming.mkdir(parents=True, exist_ok=True)
    return place


def add(server: Server, client: str, at: str, fee: str = "0.1", seats: int = 3) -> None:
    at = f"timestamptz 'epoch' + interval '{at[6:]}'" if at.startswith("epoch+") else f"'{at}'"
    server.sql(f"INSERT INTO clients VALUES ('{client}', '2026-01-31', {seats}, {fee}, true, NULL, {at})")


def asked(place: Place) -> dict[str, Any]:
    """The account of the source, asked in this process."""
    with Book.open(place.book) as book:
        said = fetching.fetch(place, params.load(place.params), book)
        book.marked(said["seen"])
    return dict(said["sources"]["crm"])


def take(place: Place) -> list[str]:
    """Ask, ingest and commit as a tick does: the clients of the rows that are new."""
    assert asked(place)["failed"] is None
    drops = sorted(path for path in place.incoming.iterdir() if is_drop(path.name))
    before = Clients(params.load(place.params), place.clients).version
    commit(place, drops)
    return sorted(Clients(params.load(place.params), place.clients).frame(["client"], after_version=before)["client"])


def commit(place: Place, drops: list[Path]) -> None:
    from attrition.commits import commit_ingest, settle_drops
    from attrition.runs import Run

    if not drops:
        return
    portfolio = params.load(place.params)
    with Book.open(place.book) as book:
        name, sequence = book.begin("20260301T031500Z", "2026-03-01T03:15:00Z")
        run = Run.start(place, name, "2026-03-01T03:15:00Z", {})
        ingest(portfolio, Clients(portfolio, place.clients), drops, run.folder, run=name)
        commit_ingest(place, portfolio, book, sequence, run)
        settle_drops(place, run)


def test_rows_come_once_and_late_ones_within_the_overlap(place: Place, server: Server) -> None:
    assert take(place) == ["a", "b", "c"]
    assert take(place) == []
    assert list(place.incoming.iterdir()) == [], "nothing is new: nothing is fetched"
    add(server, "d", "2026-01-04 00:00+00")
    add(server, "late", "2026-01-02 13:00+00")
    assert take(place) == ["d", "late"]
    add(server, "too late", "2026-01-01 01:00+00")
    assert take(place) == []
    server.sql("UPDATE clients SET seats = 9 WHERE client = 'd'")
    assert take(place) == ["d"], "a changed row within the overlap is a new observation"


def test_a_column_of_any_name_hides_no_change(place: Place, server: Server) -> None:
    named = YAML.replace(", at FROM clients;", ", at, 1 AS q, 2 AS q_ FROM clients") + WATERMARK
    place.params.write_text(named)
    assert take(place) == ["a", "b", "c"]
    server.sql("UPDATE clients SET fee = 7 WHERE client = 'c'")
    assert take(place) == ["c"]


def test_a_row_without_a_watermark_is_read(place: Place, server: Server) -> None:
    take(place)
    server.sql("INSERT INTO clients VALUES ('none', '2026-01-31', 1, 1, true, 1, NULL)")
    assert take(place) == ["none"]
    assert take(place) == []


steps = st.lists(
    st.one_of(st.integers(-47, 47), st.sampled_from(["fetched", "lost", "committed", "committed"])), max_size=12
)


@settings(max_examples=examples(12), deadline=None)
@given(steps=steps)
def test_whatever_comes_between_each_row_is_there_once(server: Server, steps: list[int | str]) -> None:
    """Rows come up to 47 hours before the newest; a fetch is lost, or its drop is, or it is committed."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRM", server.address)
        server.sql("DROP TABLE IF EXISTS clients", TABLE)
        place, newest, wanted = made(Path(folder), YAML + WATERMARK), 1000, 0
        for step in [0, *steps, "committed"]:
            if isinstance(step, int):
                newest, at, wanted = max(newest, newest + step), newest + step, wanted + 1
                add(server, f"c{wanted}", f"epoch+{at}h")
            elif step == "committed":
                take(place)
            else:
                assert asked(place)["failed"] is None
                if step == "lost":
                    for path in place.incoming.iterdir():
                        path.unlink()
        take(place)
        found = Clients(params.load(place.params), place.clients).frame(["client"])["client"].tolist()
        assert sorted(found) == sorted(f"c{number}" for number in range(1, wanted + 1))


def test_values_are_the_servers_own_text(place: Place, server: Server) -> None:
    add(server, "odd", "2026-01-03 13:00+00", fee="'NaN'")
    add(server, "none", "2026-01-03 14:00+00", fee="NULL", seats=2**53 + 1)
    assert take(place) == ["a", "b", "c", "none"]
    frame = Clients(params.load(place.params), place.clients).sql("SELECT * FROM clients ORDER BY client")
    assert frame["fee"].tolist()[:3] == [0.1, 0.1, 0.1]
    assert frame["seats"].tolist()[3] == 2**53 + 1
    with Book.open(place.book, read_only=True) as book:
        (line,) = book.set_aside()
    assert (line["rows_in"], line["quarantined"], line["reasons"]) == (5, 1, {"fee: not a number": 1})
    assert line["notes"] == ["ignored column: at"]


def test_a_watermark_in_the_future_hides_nothing(place: Place, server: Server) -> None:
    add(server, "typo", "2999-01-01 00:00+00")
    server.sql("UPDATE clients SET at = now() - interval '1 hour' WHERE client = 'c'")
    assert take(place) == ["a", "b", "c", "typo"]
    server.sql("INSERT INTO clients VALUES ('now', '2026-01-31', 1, 1, true, 1, now())")
    assert take(place) == ["now"]
    assert take(place) == []


def test_what_was_fetched_and_not_committed_is_not_lost(place: Place, server: Server) -> None:
    assert asked(place)["drops"] == 1
    add(server, "d", "2026-01-04 00:00+00")
    assert asked(place) == {"drops": 0, "failed": None}, "the drop that waits comes first"
    (drop,) = (path for path in place.incoming.iterdir() if is_drop(path.name))
    drop.unlink()  # as if the machine had died before it was one
    assert take(place) == ["a", "b", "c", "d"]
    assert take(place) == []


def test_a_mark_counts_with_its_own_content_only(place: Place) -> None:
    asked(place)
    (drop,) = (path for path in place.incoming.iterdir() if is_drop(path.name))
    shutil.copy(Path(__file__), drop)
    commit(place, [drop])
    with Book.open(place.book, read_only=True) as book:
        assert book.mark("crm", "") is None


def test_another_query_reads_everything_again_and_doubles_nothing(place: Place, server: Server) -> None:
    take(place)
    place.params.write_text(place.params.read_text().replace("FROM clients;", "FROM clients WHERE seats > 0"))
    assert take(place) == []
    add(server, "d", "2026-01-04 00:00+00")
    assert take(place) == ["d"]


def test_without_a_watermark_all_is_read_when_anything_changed(place: Place, server: Server) -> None:
    place.params.write_text(YAML)
    assert take(place) == ["a", "b", "c"]
    assert take(place) == []
    add(server, "early", "2001-01-01 00:00+00")
    assert take(place) == ["early"]


def test_a_watermark_may_be_a_number(place: Place, server: Server) -> None:
    server.sql("ALTER TABLE clients ADD COLUMN n bigserial")
    yaml = YAML.replace(", at FROM", ", n FROM") + "    watermark: n\n    overlap: 1\n"
    place.params.write_text(yaml)
    assert take(place) == ["a", "b", "c"]
    add(server, "d", "2026-01-04 00:00+00")
    assert take(place) == ["d"]
    server.sql("TRUNCATE clients")
    assert take(place) == []
    assert take(place) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("overlap: 2d", "overlap: 5", "overlap: at is timestamp with time zone: give a time such as 2d"),
        ("watermark: at", "watermark: changed", "watermark: the query has no column 'changed'"),
        ("watermark: at", "watermark: client", "watermark: client is text, neither a time nor a whole number"),
        ("FROM clients;", "FROM customers", 'refuses the query: relation "customers" does not exist'),
        ("FROM clients;", "FROM clients; DROP TABLE clients", "refuses the query: syntax error"),
        ("SELECT client,", "SELECT client, nextval('s') AS s,", 'refuses the query: relation "s" does not'),
        ("postgres: CRM", "postgres: NOT_SET", "the environment has no NOT_SET: set it to the connection string"),
    ],
)
def test_what_is_wrong_is_said(place: Place, old: str, new: str, says: str) -> None:
    place.params.write_text(place.params.read_text().replace(old, new))
    account = asked(place)
    assert says in account["failed"]
    assert account["drops"] == 0
    assert [path for path in place.incoming.iterdir() if is_drop(path.name)] == []


def test_a_query_that_writes_is_refused(place: Place, server: Server) -> None:
    server.sql("DROP SEQUENCE IF EXISTS s", "CREATE SEQUENCE s")
    place.params.write_text(place.params.read_text().replace("SELECT client,", "SELECT client, nextval('s') AS s,"))
    take_nothing = asked(place)
    assert "read-only transaction" in take_nothing["failed"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (f":{ESCAPED}@", ":wrong-word@", "lets nobody in: it refuses the password"),
        ("/postgres", "/nowhere", "lets nobody in: it has no such database or user"),
        ("127.0.0.1:", "127.0.0.1:1", "lets nobody in"),
        ("postgresql://", "nonsense ", "lets nobody in"),
    ],
)
def test_a_connection_that_fails_says_why_and_not_where(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch, old: str, new: str, says: str
) -> None:
    monkeypatch.setenv("CRM", server.address.replace(old, new))
    failed = asked(place)["failed"]
    assert failed.startswith("the server behind CRM ")
    assert says in failed
    assert not any(hidden in failed for hidden in ("127.0.0.1", "owner", "wrong-word", PASSWORD, ESCAPED))


def test_a_server_that_goes_away_in_the_middle_costs_a_tick_and_nothing_else(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "SELECT 'c' || n, '2026-01-31', n, 1, true, 1, '2026-01-05' FROM generate_series(1, 300000) n"
    server.sql(f"INSERT INTO clients {many}")
    write = postgres._Reading._write

    def dying(self: Any, *given: Any) -> None:
        server.stop()
        write(self, *given)

    monkeypatch.setattr(postgres._Reading, "_write", dying)
    try:
        account = asked(place)
    finally:
        monkeypatch.undo()
        server.start()
        monkeypatch.setenv("CRM", server.address)
    assert account == {"drops": 0, "failed": "the server behind CRM went away while it was read"}
    assert [path for path in place.incoming.iterdir() if is_drop(path.name)] == []
    assert len(take(place)) == 300_003
    assert sorted(path.name for path in place.incoming.iterdir()) == []


SLOW = "FROM clients WHERE pg_sleep(60) IS NOT NULL"


def sleeps(server: Server) -> bool:
    """Whether the slow query is at work."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server.address) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        return bool(cursor.fetchone()[0])


def test_a_query_that_takes_too_long_ends_with_its_deadline(place: Place, server: Server) -> None:
    place.params.write_text(place.params.read_text().replace("FROM clients;", SLOW) + "deadline: 1\n")
    done = cli(Home(place.root), "tick", "shop", CRM=server.address)
    assert done.returncode == 1
    assert "the sources could not be asked: they took longer than deadline allows; nothing is lost" in done.stdout


def test_a_signal_ends_a_fetch(place: Place, server: Server) -> None:
    place.params.write_text(place.params.read_text().replace("FROM clients;", SLOW))
    with started(Home(place.root), "tick", "shop", CRM=server.address) as process:
        while not sleeps(server):
            assert not ended(process)
        left = family(process.pid)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped by SIGTERM; nothing was started" in said
    assert survivors(left) == []
    assert [path for path in place.incoming.iterdir() if is_drop(path.name)] == []
    server.sql("SET lock_timeout = '20s'", "DROP TABLE clients")  # its query is over too


def test_the_runner_takes_rows_of_a_server_and_tells_its_address_nobody(
    place: Place, server: Server, tmp_path: Path
) -> None:
    stages = str(quick(tmp_path / "notebooks"))
    home = Home(place.root)
    given = {"CRM": server.address, "ATTRITION_NOTEBOOKS": stages}
    first = here(home, "tick", "shop", **given)
    assert first.returncode == 0, first
    assert "source crm: 1 new" in first.stdout
    assert reports(place)[0]["rows"] == {"in": 3, "ingested": 3, "duplicates": 0, "quarantined": 0}
    quiet = here(home, "tick", "shop", **given)
    assert (quiet.returncode, quiet.stdout.count("quiet: ")) == (0, 1)
    broken = here(home, "tick", "shop", **given | {"CRM": server.address.replace(str(server.port), "1")})
    assert broken.returncode == 1
    assert "source crm: the server behind CRM lets nobody in: nothing listens there; nothing is lost" in broken.stdout
    refused = place.params.read_text()
    place.params.write_text(refused.replace("FROM clients;", "FROM nowhere"))
    wrong = here(home, "tick", "shop", **given)
    assert wrong.returncode == 1
    place.params.write_text(refused)
    add(server, "d", "2026-01-04 00:00+00")
    shown = here(home, "show", "shop", **given)
    told = "".join(done.stdout + done.stderr for done in (first, quiet, broken, wrong, shown))
    told += "".join(content.decode(errors="replace") for content in tree(place.root).values())
    assert "CRM" in told
    for hidden in (server.address, PASSWORD, ESCAPED, json.dumps(PASSWORD)[1:-1], f"owner:{ESCAPED[:4]}"):
        assert hidden not in told
    assert not marks.waiting_of(place.incoming, "crm")
