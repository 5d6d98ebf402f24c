"""Messages about what happened, to a real webhook on this machine: one an event, none lost, none that fails a run."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import homes
import pytest
from alerts_kit import Quiet, serving
from pipeline_kit import BARE, capstone, cli, here, quick

from attrition import alerts, safe, sending, telling
from attrition.book import Book, Outcome
from attrition.home import REPOSITORY, Home, UsageError
from campaign import kit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Hook(Quiet):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/refuses":
            self.server.got.append((body["title"], body["message"]))
        self._answer()

    def do_GET(self):
        self.server.pings.append(self.path)
        self._answer()

    def _answer(self):
        if self.path == "/silent":
            self.server.came.set()
            self.server.over.wait()
        self.send_response(500 if self.server.broken or self.path == "/refuses" else 200)
        self.end_headers()


@pytest.fixture
def hook():
    with serving(Hook) as server:
        server.got, server.pings, server.broken = [], [], False
        server.came, server.over = threading.Event(), threading.Event()
        yield server
        server.over.set()


def wanted(home, hook, more="", to=("/secret",)):
    path = home.root / "alerts.yaml"
    path.write_text(
        f"to: {[hook.url + each for each in to]}\nheartbeat: {hook.url}/ping\nlink: https://risk.example\n{more}"
    )
    path.chmod(0o600)


@contextmanager
def shop(root):
    home = Home(root)
    place = home.place("shop")
    place.params.parent.mkdir(parents=True)
    place.params.write_text("title: Shop\n")
    place.data.mkdir(parents=True)
    with Book.open(place.book) as book:
        yield home, place, book


def ran(book, day, decision="held", status="completed", reason="It holds.", manual=False, rows=1):
    """A run of a day that brought so many rows, as the runner leaves it in the book."""
    at = NOW + timedelta(days=day)
    run, sequence = book.begin(at.strftime("%Y%m%dT%H%M%SZ"), at.isoformat(), manual=manual)
    if decision:
        outcome = Outcome(decision, reason, judged_version=1, champion=None, challenger=None, evidence={}, proven=None)
        sequence = book.decided(sequence, run, outcome, at.isoformat())
    report = {"run": run, "status": status, "reason": reason, "finished_at": at.isoformat(), "data_version": 1}
    counts = {"ingested": rows}
    book.finished(sequence, {**report, "model": None, "rows": counts, "stages": [], "decision": decision}, None)
    return run


@contextmanager
def begun(root, hook, more=""):
    """A shop whose first run has ended well, and was told of."""
    with shop(root) as (home, place, book):
        wanted(home, hook, more)
        ran(book, 0)
        told(home, 0)
        yield home, place, book


def told(home, day, status=0):
    since, good = NOW + timedelta(days=day), status == 0
    return list(alerts.after(home, {"shop": status}, good=good, since=since, now=since + timedelta(minutes=1)))


def kinds(hook):
    return [title.rpartition(": ")[2] for title, _ in hook.got]


def test_each_event_has_one_message_with_reason_and_link(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        wanted(home, hook)
        ran(book, 0)
        for day, (decision, status) in enumerate(
            [
                ("held", "completed"),
                (None, "failed"),
                (None, "failed"),  # again: told once
                ("held", "completed"),
                ("promoted", "completed"),
                ("kept", "completed"),
                ("harmed", "completed"),
                ("on_trial", "completed"),
                ("learning", "completed"),
            ],
            1,
        ):
            ran(book, day, decision, status, f"Because of {day}.")
            assert told(home, day, status=int(status == "failed")) == []
        assert kinds(hook) == ["failure", "recovery", "promotion", "promotion refused", "drift"]
        title, text = hook.got[2]
        assert title == "Attrition: shop: promotion"
        assert text.startswith(
            "Because of 5.\nhttps://risk.example/runs/20260106T000000Z-0006/index.html?portfolio=shop"
        )
        assert told(home, 9) == []
        assert len(hook.got) == 5  # nothing is told twice


def test_a_drift_is_told_as_the_monitor_put_it(tmp_path, hook):
    with shop(tmp_path) as (home, place, book):
        wanted(home, hook)
        run = ran(book, 0, "on_trial")
        (place.executed / run).mkdir(parents=True)
        verdict = {"state": "drift", "sentence": "Model 0001 no longer holds."}
        homes.notebook(place.executed / run / "20_monitor.ipynb", verdict=verdict)
        told(home, 0)
        assert [(kind, text.splitlines()[0]) for kind, (_, text) in zip(kinds(hook), hook.got, strict=True)] == [
            ("drift", "Model 0001 no longer holds.")
        ]


def test_a_run_at_work_is_told_when_it_has_ended(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, book):
        at = (NOW + timedelta(days=1)).isoformat()
        run, sequence = book.begin("20260102T000000Z", at)
        assert told(home, 1) == []
        ended = {"run": run, "status": "failed", "reason": "Killed.", "finished_at": at, "data_version": 1}
        book.finished(sequence, {**ended, "model": None, "rows": {}, "stages": [], "decision": None}, None)
        told(home, 1, status=1)
        assert kinds(hook) == ["failure"]


def test_what_another_tick_is_telling_is_not_told_twice(tmp_path, hook):
    with begun(tmp_path, hook) as (home, place, book):
        ran(book, 1, "promoted")
        with safe.lock(place.data / "alerts.lock", "now"):
            assert told(home, 1) == []
        assert not hook.got
        told(home, 1)
        assert kinds(hook) == ["promotion"]


def test_what_a_killed_tick_left_while_it_noted_what_was_told_is_removed(tmp_path, hook):
    with begun(tmp_path, hook) as (home, place, _):
        if (dead := os.fork()) == 0:
            os._exit(0)
        os.waitpid(dead, 0)
        left = place.data / f".alerts.json.{dead}.tmp"
        left.write_text("{")
        told(home, 1)
        assert (left.exists(), kinds(hook)) == (False, [])


@pytest.mark.parametrize("left", ['{"told": 1, "wai', "[]", '{"told": 1}', '{"told": 1, "waiting": [7]}'])
def test_where_what_was_told_is_damaged_that_is_told_and_what_was_of_late(tmp_path, hook, left):
    with begun(tmp_path, hook) as (home, place, book):
        ran(book, 1, "promoted")
        ran(book, 5, "promoted")
        (place.data / "alerts.json").write_text(left)
        assert told(home, 5) == []
        assert kinds(hook) == ["promotion", "failure"]
        assert "alerts.json is damaged" in hook.got[1][1]
        assert told(home, 5) == []
        assert len(hook.got) == 2, "once"


def test_what_was_before_anybody_wanted_to_be_told_is_not_told(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        ran(book, 0, "promoted")
        ran(book, 1, None, "failed")
        wanted(home, hook)
        ran(book, 2, "held")
        told(home, 2)
        assert kinds(hook) == ["recovery"]


def test_a_first_tick_that_was_killed_is_told_by_the_next(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        ran(book, 0, "promoted")
        wanted(home, hook)
        written = (NOW + timedelta(days=1)).timestamp()
        os.utime(home.root / "alerts.yaml", (written, written + 0.9))  # in the very second in which the run begins
        ran(book, 1, None, "interrupted")  # and nothing was told after it
        ran(book, 2, "promoted")
        told(home, 2)
        assert kinds(hook) == ["failure", "recovery", "promotion"]


def test_what_a_first_tick_did_whose_clock_was_set_back_is_told(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        wanted(home, hook)
        ran(book, -4000, "promoted")
        back = NOW - timedelta(days=4000) + timedelta(minutes=1)
        list(alerts.after(home, {"shop": 0}, good=True, since=NOW, now=back))
        assert kinds(hook) == ["promotion"]


def test_of_a_name_that_no_portfolio_can_have_nothing_is_told_later(tmp_path, hook):
    home = Home(tmp_path)
    wanted(home, hook)
    at = NOW + timedelta(days=1)
    assert list(alerts.after(home, {"../x": 2}, good=False, since=NOW, now=at)) == []
    assert (kinds(hook), hook.pings) == ([], [])


def test_a_portfolio_that_cannot_begin_is_told_once_and_its_end_too_but_no_name_that_was_mistyped(tmp_path, hook):
    home = Home(tmp_path)
    wanted(home, hook)
    told(home, 0, status=2)
    assert kinds(hook) == []
    place = home.place("shop")
    place.params.parent.mkdir()
    place.params.write_text("columns: [broken")
    told(home, 0, status=2)
    told(home, 1, status=2)
    told(home, 1, status=75)  # that another tick is at work is not the end of it
    assert kinds(hook) == ["failure"]
    assert not place.data.exists()  # a restore wants it to be empty
    place.data.mkdir(parents=True)
    with Book.open(place.book) as book:
        ran(book, 2, "promoted")
    told(home, 2)
    assert kinds(hook) == ["failure", "recovery", "promotion"]


def test_a_trouble_that_one_of_two_services_refused_is_told_once_and_its_end_too(tmp_path, hook):
    home = Home(tmp_path)
    wanted(home, hook, to=["/takes", "/refuses"])
    place = home.place("shop")
    place.params.parent.mkdir()
    place.params.write_text("columns: [broken")
    assert told(home, 0, status=2) == ["shop: alerts: to: number 2 (http) did not take the message (status 500)"]
    told(home, 1, status=2)
    assert kinds(hook) == ["failure"]
    told(home, 2)
    told(home, 2)
    assert kinds(hook) == ["failure", "recovery"]


def test_all_messages_go_to_one_service_though_another_one_refuses_them(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, book):
        wanted(home, hook, to=["/takes", "/refuses"])
        ran(book, 1, None, "failed")
        ran(book, 2, "promoted")
        (line,) = told(home, 2)
        assert "number 2 (http) did not take the message (status 500); 0 messages wait for the next tick" in line
        assert kinds(hook) == ["failure", "recovery", "promotion"]


def test_a_service_that_is_silent_is_waited_for_once_whoever_is_in_trouble_and_hears_it_after_the_next_tick(
    tmp_path, hook, monkeypatch
):
    home = Home(tmp_path)
    wanted(home, hook, to=["/silent"])
    (tmp_path / "params").mkdir()
    names = ["one", "three", "two"]
    for name in names:
        home.place(name).params.write_text("columns: [broken")
    tell = lambda: list(alerts.after(home, dict.fromkeys(names, 2), good=False, since=NOW, now=NOW))  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(sending, "PATIENCE", 0.3)
        first, *others = tell()
    assert hook.came.wait(60)
    assert [title for title, _ in hook.got] == ["Attrition: one: failure"]
    assert "one: alerts: to: number 1 (http) did not take the message (no whole answer within 0.3 s)" in first
    assert [line.split("; ")[-1] for line in (first, *others)] == ["it is told after the next tick"] * 3
    hook.over.set()
    assert tell() == []
    assert [title.split()[1] for title, _ in hook.got[1:]] == ["one:", "three:", "two:"]


@pytest.mark.parametrize(("hours", "heard"), [(1, []), (3.5, []), (3.9, []), (4.1, ["failure"])])
def test_whoever_is_turned_away_long_after_any_run_had_to_be_over_is_told(tmp_path, hook, hours, heard):
    with begun(tmp_path, hook) as (home, place, _):
        place.params.write_text(kit.YAML)
        hook.got.clear()
        held = NOW + timedelta(days=1)
        with safe.lock(place.lock, held.isoformat()):
            for _ in range(2):
                now = held + timedelta(hours=hours)
                list(alerts.after(home, {"shop": 75}, good=False, since=now, now=now))
        assert kinds(hook) == heard
        assert not heard or f"Process {os.getpid()} has held" in hook.got[0][1]
        told(home, 2)
        assert kinds(hook) == [*heard, *(["recovery"] if heard else [])]


def test_a_tick_of_all_that_comes_to_none_is_told_once_and_its_end_too(tmp_path, hook):
    home = Home(tmp_path)
    wanted(home, hook)
    for good in (False, False, True, True):
        ended = {"shop": 0} if good else {}
        list(alerts.after(home, ended, good=good, since=NOW, now=NOW))
    assert kinds(hook) == ["failure", "recovery"]
    assert len(hook.pings) == 2


@pytest.mark.parametrize("begun", [True, False])
def test_a_portfolio_whose_yaml_goes_away_among_others_is_told_once_and_its_end_too(tmp_path, hook, begun):
    home = capstone(tmp_path / "home")
    wanted(home, hook)
    shop = home.place("shop")
    shop.incoming.mkdir(parents=True)
    shutil.copy(home.place("capstone").params, shop.params)
    if begun:
        assert here(home, "tick", "--all").returncode == 0
    drop = shop.incoming / "clients.csv"
    drop.touch()
    away = shop.params.rename(tmp_path / "shop.yaml")
    hook.pings.clear()
    for _ in range(2):
        done = here(home, "tick", "--all")
        assert (done.returncode, f"{shop.params} is missing" in done.stderr) == (2, True)
        assert "capstone: quiet" in done.stdout
    assert (kinds(hook), hook.pings) == (["failure"], [])
    assert f"{shop.params} is missing" in hook.got[0][1]
    assert (begun, drop.exists()) == (shop.book.exists(), True)
    drop.unlink()
    away.rename(shop.params)
    assert here(home, "tick", "--all").returncode == 0
    assert kinds(hook) == ["failure", "recovery"]


def test_a_portfolio_that_is_switched_off_is_told_to_nobody(tmp_path, hook):
    home = capstone(tmp_path / "home")
    wanted(home, hook)
    off = home.place("shop")
    off.incoming.mkdir(parents=True)
    (off.incoming / "clients.csv").touch()
    (home.root / "params" / "shop.yaml.off").touch()
    (home.root / "data" / "README").touch()
    (home.root / "data" / "readme").touch()
    (home.root / "data" / "empty").mkdir()
    done = here(home, "tick", "--all")
    assert (done.returncode, done.stderr, kinds(hook), hook.pings) == (0, "", [], ["/ping"])


def test_what_happened_while_every_tick_was_killed_is_told_at_last(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        wanted(home, hook)
        os.utime(home.root / "alerts.yaml", (NOW.timestamp(), NOW.timestamp()))
        for day in range(6):
            ran(book, day, None, "interrupted")
        ran(book, 6, "held")
        told(home, 6)
        assert kinds(hook) == ["failure", "recovery"]


def test_a_tick_that_ends_badly_without_a_run_is_told_once_and_its_end_too(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, _):
        # That another tick is at work is no trouble; a wrong YAML is, and a source that does not answer.
        for status in (75, 2, 1, 1):
            assert told(home, 1, status) == []
        assert kinds(hook) == ["failure"]
        assert "ended with status 2, and no run says why" in hook.got[0][1]
        told(home, 2)
        told(home, 2)
        assert kinds(hook) == ["failure", "recovery"]


def test_runs_that_complete_while_a_source_is_away_do_not_end_its_trouble(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, book):
        for day in (1, 2, 3):
            ran(book, day)
            assert told(home, day, status=1) == []
        assert kinds(hook) == ["failure"]
        ran(book, 4)
        told(home, 4)
        assert kinds(hook) == ["failure", "recovery"]


def test_a_tick_that_ends_badly_is_told_though_it_cannot_be_noted(tmp_path, hook, monkeypatch):
    with begun(tmp_path, hook) as (home, place, _):
        (place.data / "alerts.lock").unlink()
        (place.data / "alerts.lock").mkdir()  # as on a disk that cannot be written to
        monkeypatch.setattr(safe, "write", _fails)
        for _ in range(2):
            first, second = told(home, 1, status=1)
            assert "what happened is told after the next tick" in first
            assert "each tick tells it anew" in second
        assert kinds(hook) == ["failure", "failure"]
        list(alerts.after(home, {"typo": 2}, good=False, since=NOW, now=NOW))
        assert len(hook.got) == 2  # of a portfolio that is none, nobody is told


def _fails(*_, **__):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_where_the_book_cannot_tell_how_ticks_ended_a_failure_is_told_once_and_its_end_too(tmp_path, hook):
    with shop(tmp_path) as (home, place, _):
        wanted(home, hook)
    right = place.book.read_bytes()
    place.book.write_bytes(b"")  # as a tick leaves it that has no room to make it
    for _ in range(2):
        told(home, 1, status=1)
    assert kinds(hook) == ["failure"]
    place.book.write_bytes(right)
    told(home, 2)
    assert kinds(hook) == ["failure", "recovery"]


def test_whom_to_tell_is_known_though_the_whole_home_cannot_be_read_after_the_tick(tmp_path, hook, monkeypatch):
    with begun(tmp_path, hook) as (home, _, _):
        before = telling.whom(lambda: home)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", _fails)
            patch.setattr(Path, "iterdir", _fails)
            assert telling.whom(lambda: home) is None  # which ends no tick
            for ended in ({"shop": 1}, {}):  # of one, and of all, which did not come to any
                list(alerts.after(home, ended, before, good=False, since=NOW, now=NOW))
        assert [title for title, _ in hook.got] == ["Attrition: shop: failure", "Attrition: all: failure"]


def test_what_was_tried_by_hand_since_a_failure_does_not_hide_that_it_is_over(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        wanted(home, hook)
        ran(book, 0, None, "failed")
        told(home, 0, status=1)
        for day in range(1, 5):
            ran(book, day, None, manual=True, rows=0)
            told(home, day, status=None)
        ran(book, 5)
        told(home, 5)
        assert kinds(hook) == ["failure", "recovery"]


def test_stages_tried_by_hand_are_not_told(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, book):
        ran(book, 1, None, "failed", manual=True)
        told(home, 1)
        assert not hook.got


def test_a_tick_with_other_params_decides_and_is_told_as_any(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, book):
        ran(book, 1, "promoted", manual=True)
        told(home, 1)
        assert kinds(hook) == ["promotion"]


def test_what_could_not_be_delivered_is_told_after_the_next_tick(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, book):
        hook.broken = True
        ran(book, 1, None, "failed", "Disk full.")
        (line,) = told(home, 1, status=1)
        assert "to: number 1 (http) did not take the message (status 500); 1 messages wait for the next tick" in line
        assert "secret" not in line
        hook.broken, hook.got[:] = False, []
        ran(book, 2, "held")
        assert told(home, 2) == []
        assert kinds(hook) == ["failure", "recovery"]
        assert "could not be delivered at the time" in hook.got[0][1]
        assert "could not be delivered" not in hook.got[1][1]


def test_the_heartbeat_is_heard_after_success_only(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        wanted(home, hook)
        ran(book, 0)
        told(home, 0, status=75)
        assert not hook.pings
        told(home, 0)
        assert hook.pings == ["/ping"]
        hook.broken = True
        assert told(home, 0) == ["heartbeat: it could not be told (status 500)"]


@pytest.mark.parametrize("idle", [{"rows": 0}, {"rows": 0, "manual": True}, None])
def test_it_is_told_once_that_no_rows_came_for_long_whatever_ran_meanwhile(tmp_path, hook, idle):
    """The same export each day, a stage that is tried by hand, and only quiet ticks."""
    with begun(tmp_path, hook, "stale_after: 7d\n") as (home, _, book):
        for day in range(1, 10):
            if idle:
                ran(book, day, **idle)
            told(home, day)
            assert kinds(hook) == (["staleness"] if day >= 7 else [])
        assert hook.got[0][1] == "No new rows since 2026-01-01T00:00:00+00:00, in run 20260101T000000Z-0001."
        ran(book, 10)
        for day in (10, 16, 17, 18):
            told(home, day)
        assert kinds(hook) == ["staleness", "staleness"]


def test_rows_that_came_before_anybody_looked_are_found_behind_many_runs_that_brought_none(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        ran(book, 0, rows=0)
        newest = ran(book, 1)
        for day in range(2, 80):
            ran(book, day, rows=0)
        wanted(home, hook, "stale_after: 7d\n")
        for day in (80, 81):
            told(home, day)
        assert [text for _, text in hook.got] == [f"No new rows since 2026-01-02T00:00:00+00:00, in run {newest}."]


def test_that_no_row_ever_came_is_told_too(tmp_path, hook):
    with shop(tmp_path) as (home, _, book):
        wanted(home, hook, "stale_after: 7d\n")
        for day in range(10):
            ran(book, day, rows=0)
            told(home, day)
        assert [text for _, text in hook.got] == [
            "No new rows since 2026-01-01T00:00:00+00:00, when the first run began."
        ]
        ran(book, 10)
        told(home, 17)
        assert kinds(hook) == ["staleness", "staleness"]


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("to: []", 0o644, "others may read it, and it holds passwords: chmod 600 it"),
        ("too: []", 0o600, "expected the keys heartbeat, link, stale_after, to"),
        ("to: mailto://a@b", 0o600, "to: expected a list of addresses"),
        ("heartbeat: file:///etc/passwd", 0o600, "heartbeat: expected an address that begins with http"),
        ("stale_after: 7", 0o600, "stale_after: expected 90m, 12h or 7d, not '7'"),
        ("a: [", 0o600, "not YAML"),
        ("stale_after: 2026-13-01", 0o600, "not YAML"),
        ("to: " + "[" * 3000, 0o600, "not YAML"),
        ("link: https://a\nlink: https://b", 0o600, "a key stands twice"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said(tmp_path, text, mode, said):
    (tmp_path / "alerts.yaml").write_text(text)
    (tmp_path / "alerts.yaml").chmod(mode)
    with pytest.raises(UsageError, match=said):
        alerts.settings(Home(tmp_path))
    assert telling.whom(lambda: Home(tmp_path)) is None  # which ends no tick


def test_a_folder_in_the_place_of_the_settings_is_called_one(tmp_path):
    (tmp_path / "alerts.yaml").mkdir(mode=0o700)
    with pytest.raises(UsageError, match=r"alerts\.yaml is no file: move it away"):
        alerts.settings(Home(tmp_path))


def test_who_writes_alerts_yaml_as_it_is_shown_may_give_an_address_a_token(tmp_path):
    """In brackets YAML takes ?token= for the beginning of a mapping."""
    path = tmp_path / "alerts.yaml"
    path.write_text(alerts.EXAMPLE.replace("/hook", "/hook?token=abc"))
    path.chmod(0o600)
    given = alerts.settings(Home(tmp_path))
    assert given.to == ("https://example.com/hook?token=abc", "mailto://user:password@example.com")


def test_the_command_sends_a_test_and_says_who_did_not_take_it(tmp_path, hook):
    home = Home(tmp_path)
    assert "nobody to tell: write" in here(home, "alert", "--test").stderr
    wanted(home, hook)
    done = here(home, "alert", "--test")
    assert (done.returncode, done.stdout) == (0, "1 of 1 took the message\n")
    assert kinds(hook) == ["test"]
    path = home.root / "alerts.yaml"
    path.write_text(f"to: ['{hook.url}', 'nonsense://x:password@y']")
    done = here(home, "alert", "--test")
    assert done.returncode == 1
    assert "1 of 2 took the message\nto: number 2 (nonsense) is no address that apprise knows" in done.stdout
    assert "password" not in done.stdout + done.stderr


def test_of_what_a_person_tries_nobody_is_told_and_no_heart_beats(tmp_path, hook):
    with begun(tmp_path, hook) as (home, _, _):  # whose YAML names no columns, so that no tick can begin
        hook.pings.clear()
        for words in (["--all", "--resume"], ["shop", "-p", "model.C", "0.5"], ["shop", "--force"]):
            assert here(home, "tick", *words).returncode == 2
        assert not hook.got
        for words in (["shop"], ["--all"]):
            assert here(home, "tick", *words).returncode == 2
        assert kinds(hook) == ["failure"]
        assert not hook.pings


def test_a_log_that_cannot_be_written_keeps_no_portfolio_waiting_and_nobody_in_the_dark(tmp_path, hook):
    """`schedule` has it on the disk of the home, which may be full."""
    with begun(tmp_path, hook) as (home, _, _):  # whose YAML names no columns, so that no tick can begin
        other = home.place("other")
        other.params.write_text(kit.YAML)
        given = {"cwd": "/", "env": {**BARE, "ATTRITION_HOME": str(home.root)}, "check": False}
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, str(REPOSITORY / "runner.py"), "tick", "--all"]
            done = subprocess.run(command, stdout=full, stderr=full, **given)
        assert done.returncode == 2
        assert kinds(hook) == ["failure"]
        with Book.open(other.book, read_only=True) as book:
            assert book.quiet_since()["ticks"] == 1


def test_a_run_that_fails_is_told_and_its_status_is_not_the_services(tmp_path, hook):
    """The whole way: cron's environment, a stage that fails, a service that is down, then the next tick."""
    home = capstone(tmp_path / "home", "practicedata")
    wanted(home, hook)
    hook.broken = True
    broken = quick(tmp_path / "broken", monitor="raise ValueError('no such thing')")
    done = cli(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(broken))
    assert done.returncode == 1
    assert "1 messages wait for the next tick" in done.stderr
    assert not hook.pings
    hook.broken, hook.got[:] = False, []
    good = quick(tmp_path / "good")
    assert here(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(good)).returncode == 0
    assert kinds(hook) == ["failure", "recovery"]
    assert "ValueError: no such thing" in hook.got[0][1]
    assert hook.pings == ["/ping"]
    (home.root / "alerts.yaml").chmod(0o644)
    done = here(home, "tick", "capstone", ATTRITION_NOTEBOOKS=str(good))
    assert done.returncode == 0
    assert "chmod 600" in done.stderr


def test_a_tick_of_all_where_no_portfolio_is_ends_badly_and_without_a_heart_beat(tmp_path, hook):
    home = Home(tmp_path)
    wanted(home, hook)
    done = here(home, "tick", "--all")
    assert done.returncode == 2
    assert f"{tmp_path / 'params'} has no NAME.yaml: is its disk there?" in done.stderr
    assert kinds(hook) == ["failure"]
    assert not hook.pings
