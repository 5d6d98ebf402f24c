"""Keeping a home for years: pruned, backed up, restored, replayed, tried, a client forgotten."""

import errno
import json
import os
import re
import shutil
import sqlite3
import stat
import string
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import nbformat
import pytest
from conftest import require
from hypothesis import given
from hypothesis import strategies as st
from pipeline_kit import NOWHERE, here, kept_ready, reports, tree

from attrition import (
    backups,
    bookkeeping,
    calling,
    forgetting,
    forks,
    params,
    past,
    pruning,
    record,
    registry,
    restoring,
    safe,
    scrub,
    site,
)
from attrition.book import Book
from attrition.home import REPOSITORY, Home, UsageError
from attrition.runs import Run
from attrition.scrub import PLAIN
from attrition.store import delta
from attrition.store.clients import Clients
from attrition.wishes import Wish
from runner import main, tick

SOURCE = REPOSITORY / "tests" / "data" / "telco_sample.csv"
HEADER, *LINES = SOURCE.read_text().splitlines(keepends=True)
LINES = [f"CU-{line.replace(',', '-Z,', 1)}" for line in LINES]
YAML = re.sub("rownames: {.*?}", "rownames: {type: text}", (REPOSITORY / "params" / "telco.yaml").read_text())
CLAIMS = "model: {learning_rows: 100}\nrules: {reference_rows: 40, reference_each: 10}\n"
FIRST = datetime(2026, 1, 5, 3, 15, tzinfo=UTC)
NOBODY = 2**22 + 1  # the number of no process
CLIENT = LINES[3].split(",")[0]


def lay(place, number, lines):
    path = place.incoming / f"clients-{number}.csv"
    path.write_text(HEADER + "".join(lines))
    path.with_name(f"{path.name}.done").touch()


def another(client):
    """A row of a client who was not there before."""
    return ",".join([client, *LINES[10].split(",")[1:]])


def ticked(home, at, **wish):
    assert tick(home, "telco", wish=Wish(**wish), clock=lambda: at) == 0


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A home after four ticks: a first model, a second one by force, and two that hold; a row was rejected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("ATTRITION_API_URL", NOWHERE)
        patch.setattr(forks, "forking", kept_ready)
        home = Home(tmp_path_factory.mktemp("lived"))
        place = home.place("telco")
        for folder in (place.params.parent, place.incoming):
            folder.mkdir(parents=True)
        place.params.write_text(YAML + CLAIMS)
        lay(place, 1, LINES[:250])
        ticked(home, FIRST)
        bad = LINES[3].rstrip("\n") + ",one too many\n"
        lay(place, 2, [*LINES[250:450], bad])
        ticked(home, FIRST + timedelta(days=1), force=True)
        for number, lines in ((3, LINES[450:475]), (4, LINES[475:])):
            lay(place, number, lines)
            ticked(home, FIRST + timedelta(days=number - 1))
        yield home


@pytest.fixture
def home(lived, tmp_path, monkeypatch):
    """A copy of it, to be changed."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("ATTRITION_API_URL", NOWHERE)
    monkeypatch.setenv("ATTRITION_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(forks, "forking", kept_ready)
    shutil.copytree(lived.root, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def place(home):
    return home.place("telco")


def names(place):
    return [report["run"] for report in reports(place)]


# ---- prune


def test_what_is_old_and_unneeded_goes_and_lists_stay_right(place):
    runs = names(place)
    assert main(["prune", "telco", "--days", "0", "--keep", "1"]) == 0
    pruned = [report["run"] for report in reports(place) if "pruned" in report]
    assert pruned == [runs[2]]
    assert not (place.taken / runs[2]).exists()
    for run in pruned:
        assert sorted(path.name for path in (place.executed / run).iterdir()) == sorted(
            name for name in pruning.KEPT if (place.executed / run / name).exists()
        )
        assert "Pruned on" in (place.executed / run / "index.html").read_text()
        assert "20_monitor.html" not in (place.executed / run / "index.html").read_text()
    for path in place.executed.glob("runs-*.html"):
        for run in runs:
            assert run in path.read_text()
    ticked(Home(place.root), FIRST + timedelta(days=9), describe=True)


def test_nothing_goes_that_a_model_or_the_newest_run_needs(place):
    main(["prune", "telco", "--days", "0", "--keep", "0"])
    with Book.open(place.book) as book:
        state = book.state()
        makers = {model["run"] for model in book.models() if (place.models / model["version"]).exists()}
        deployed = book.deployments(1)[0]["run"]
    kept = {report["run"] for report in reports(place) if "pruned" not in report}
    assert makers | {deployed, names(place)[-1]} <= kept
    assert (place.models / state.champion / "model.pkl").exists()
    assert (place.models / f"{state.versions:04d}" / "manifest.json").exists()


def test_nothing_is_pruned_where_the_first_tick_was_killed_early(home, place, capsys):
    shutil.rmtree(place.executed)
    place.book.unlink()
    with Book.open(place.book):  # and no run has begun
        pass
    assert main(["prune", "telco"]) == 0
    assert "0 runs, 0 models" in capsys.readouterr().out


def test_a_dry_run_removes_nothing(place, capsys):
    before = tree(place.root)
    assert main(["prune", "telco", "--days", "0", "--keep", "0", "--dry-run"]) == 0
    after = tree(place.root)
    assert {k: v for k, v in before.items() if "/lock" not in k} == {k: v for k, v in after.items() if "/lock" not in k}
    assert "would be freed" in capsys.readouterr().out


def test_while_a_model_does_not_say_which_one_it_needs_no_model_goes(place, capsys):
    with Book.open(place.book) as book:
        version = book.state().champion
    plan = ["prune", "telco", "--days", "0", "--keep", "0"]
    (place.models / version / "manifest.json").write_text("{")
    before = sorted(path.name for path in place.models.iterdir())
    assert main(plan) == 0
    assert f"no model goes: {place.models / version} does not say" in capsys.readouterr().out
    assert sorted(path.name for path in place.models.iterdir()) == before


def test_a_pruning_that_was_cut_short_is_finished_by_the_next(place, monkeypatch):
    class Cut(Exception):
        pass

    def cut(*_):
        raise Cut

    monkeypatch.setattr(pruning.safe, "remove", cut)
    main(["prune", "telco", "--days", "0", "--keep", "0"])
    monkeypatch.undo()
    os.environ["ATTRITION_HOME"] = str(place.root)
    try:
        main(["prune", "telco", "--days", "0", "--keep", "0"])
        with Book.open(place.book) as book:
            assert not pruning.plan(place, book, datetime.now(UTC), days=0, keep=0).runs
    finally:
        del os.environ["ATTRITION_HOME"]


# ---- pages


@pytest.mark.parametrize("cut", ["the first list removed", "before the lists", "first list", "second list"])
def test_what_a_writing_of_all_pages_left_undone_the_next_tick_does(home, place, monkeypatch, cut):
    lay(place, 5, LINES[:5])  # nothing new: the lists stay those of the run before
    ticked(home, FIRST + timedelta(days=4))
    assert main(["pages", "telco"]) == 0
    before = tree(place.executed)
    lists = sorted(name for name in before if re.fullmatch(r"clients/.*\.html", name))
    assert len(lists) > 2
    real, remove, begun = site._put, type(place.executed).unlink, []

    def put(place, address, page):
        begun.append(address)
        if cut == "before the lists" or sum(each in lists for each in begun) > ["first list", "second list"].index(cut):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(place, address, page)

    def unlink(path, **given):
        remove(path, **given)
        if path.parent.name == "clients":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        if cut == "the first list removed":
            patch.setattr(type(place.executed), "unlink", unlink)
        else:
            patch.setattr(site, "_put", put)
        assert main(["pages", "telco"]) == 1
    assert not set(lists) <= set(tree(place.executed))
    assert tick(home, "telco") == 0
    after = tree(place.executed)
    assert set(after) == set(before)
    assert after["history.json"] == before["history.json"]


def test_a_notebook_that_is_damaged_keeps_its_page(place):
    path = place.executed / names(place)[1] / "20_monitor.ipynb"
    path.write_text(path.read_text()[:200])
    page = path.with_suffix(".html").read_text()
    assert main(["pages", "telco"]) == 0
    assert path.with_suffix(".html").read_text() == page


# ---- backup and restore


def test_a_restored_home_goes_on_as_if_nothing_had_happened(home, place, tmp_path, monkeypatch):
    assert main(["backup", str(tmp_path / "copy")]) == 0
    monkeypatch.setenv("ATTRITION_HOME", str(tmp_path / "new"))
    assert main(["restore", str(tmp_path / "copy")]) == 0
    other = Home(tmp_path / "new")
    for each in (home, other):
        lay(each.place("telco"), 5, [another("NEWER")])
        ticked(each, FIRST + timedelta(days=4))
    ours, theirs = (reports(each.place("telco"))[-1] for each in (home, other))
    for report in (ours, theirs):
        for stage in report["stages"]:
            stage.pop("seconds")
    assert ours == theirs
    assert place.ranking.read_bytes() == other.place("telco").ranking.read_bytes()


@pytest.mark.parametrize("words", [["backup", "copy"], ["pages", "--all"], ["simulate"], ["restore", "mistyped copy"]])
def test_a_home_that_is_mistyped_or_not_mounted_is_said_to_be_and_not_made(tmp_path, words):
    home = Home(tmp_path / "mistyped")
    done = here(home, *(str(tmp_path / word) if "copy" in word else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    said = "is no backup" if words[0] == "restore" else f"{home.root / 'params'}"
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_restored_home_goes_on_telling_where_the_other_was(home, place, tmp_path):
    told = json.dumps({"told": 1, "last": "failed", "stale": None, "waiting": []})
    (place.data / "alerts.json").write_text(told)
    assert main(["backup", str(tmp_path / "copy")]) == 0
    new = Home(tmp_path / "new")
    new.root.mkdir()
    restoring.restore(new, tmp_path / "copy", [])
    assert (new.place("telco").data / "alerts.json").read_text() == told


def test_a_backup_during_a_run_has_one_moment(home, place, tmp_path):
    """The book moves on while files are copied: what is copied is what the copied book speaks of."""
    real = bookkeeping.copy

    def and_then_a_run(book, target):
        real(book, target)
        if not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            lay(place, 5, [another("DURING")])
            ticked(home, FIRST + timedelta(days=4))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups.bookkeeping, "copy", and_then_a_run)
        backups.backup(home, tmp_path / "copy", ["telco"], "now")
    new = Home(tmp_path / "new")
    new.root.mkdir()
    restoring.restore(new, tmp_path / "copy", [])
    there = new.place("telco")
    with Book.open(there.book) as book:
        state = book.state()
        assert not book.unfinished()
    portfolio = params.load(there.params)
    assert Clients(portfolio, there.clients).version == state.data_version
    assert {run["run"] for run in reports(there)} == set(names(there))
    ticked(new, FIRST + timedelta(days=5))


def test_a_book_in_the_middle_of_a_transaction_is_not_backed_up_before_a_tick(home, place, tmp_path, capsys):
    killed = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN IMMEDIATE'); db.execute('CREATE TABLE t (a)'); "
        "db.executemany('INSERT INTO t VALUES (?)', [('x' * 3000,)] * 200); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", killed, place.book], check=True)
    assert main(["backup", str(tmp_path / "copy")]) == 2
    assert "the next tick mends" in capsys.readouterr().err
    ticked(home, FIRST + timedelta(days=7))
    assert main(["backup", str(tmp_path / "copy")]) == 0


def test_a_drop_that_is_moved_away_while_a_backup_looks_is_passed_over(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("")
    looking = backups.files_below(tmp_path)
    assert next(looking).name == "a"
    (tmp_path / "b").unlink()
    assert list(looking) == []


def old(path):
    """A file that has lain still for long."""
    os.utime(path, (1.0, 1.0))
    return path


def waiting_in(copy):
    folder = copy / "home" / "data" / "telco" / "incoming"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_drop_that_is_still_written_is_in_no_backup_before_it_is_whole(place, tmp_path, capsys):
    lay(place, 5, [another("WHOLE")])
    whole = ["clients-5.csv", "clients-5.csv.done"]
    young, held, part = (place.incoming / name for name in ("young.csv", "held.csv", "later.csv.part"))
    young.write_text(HEADER)
    part.write_text(HEADER)
    with held.open("w") as writing:
        writing.write(HEADER)
        writing.flush()
        old(held)
        assert main(["backup", str(tmp_path / "copy")]) == 0
    assert waiting_in(tmp_path / "copy") == whole
    files = ", ".join(f"data/telco/incoming/{path.name}" for path in (held, part, young))
    assert f"left out, as they may still be written to: {files}. The next" in capsys.readouterr().out
    part.unlink()
    old(young)
    old(held)
    assert main(["backup", str(tmp_path / "next")]) == 0
    assert waiting_in(tmp_path / "next") == [*whole, "held.csv", "young.csv"]
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize("ready", [False, True])
def test_a_drop_that_grows_while_it_is_copied_is_left_out(place, tmp_path, monkeypatch, capsys, ready):
    drop, put = place.incoming / "grows.csv", backups._put
    drop.write_text(HEADER)
    if ready:
        old(drop)

    def and_then_the_rest(path, copy):
        put(path, copy)
        if path == drop:
            drop.write_text(HEADER + LINES[10])
            drop.with_name("grows.csv.done").touch()

    monkeypatch.setattr(backups, "_put", and_then_the_rest)
    assert main(["backup", str(tmp_path / "copy")]) == 0
    assert waiting_in(tmp_path / "copy") == []
    assert "left out, as they may still be written to: data/telco/incoming/grows.csv." in capsys.readouterr().out


def test_where_the_yaml_is_wrong_a_mark_makes_a_drop_whole(place, tmp_path):
    lay(place, 5, [another("WHOLE")])
    old(place.incoming / "clients-5.csv")
    (place.incoming / "unmarked.csv").write_text(HEADER)
    old(place.incoming / "unmarked.csv")
    place.params.write_text("nonsense: [")
    assert main(["backup", str(tmp_path / "copy")]) == 0
    assert waiting_in(tmp_path / "copy") == ["clients-5.csv", "clients-5.csv.done"]


def test_all_folders_of_a_restored_home_outlive_a_power_cut(home, tmp_path, monkeypatch):
    """Each was synced after the last name had come into it: the campaign's row 4 replays the cut itself."""
    backups.backup(home, tmp_path / "copy", ["telco"], "now")
    synced, real = dict[int, set[str]](), os.fsync

    def noted(handle):
        real(handle)
        about = os.fstat(handle)
        if stat.S_ISDIR(about.st_mode):
            synced[about.st_ino] = {entry.name for entry in os.scandir(handle)}

    new = Home(tmp_path / "new")
    new.root.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        restoring.restore(new, tmp_path / "copy", [])
    folders = [new.root, *(path for path in new.root.rglob("*") if path.is_dir())]
    names = {path: {each.name for each in path.iterdir()} - {"lock", ".restore.lock"} for path in folders}
    assert [path for path in folders if not names[path] <= synced.get(path.stat().st_ino, set())] == []


@pytest.mark.parametrize(
    "trap", ["changed", "missing", "extra", "link", "absolute", "above", "top", "portfolio", "lock"]
)
def test_a_backup_that_is_damaged_or_a_trap_is_refused_before_anything_is_touched(home, tmp_path, trap):
    copy = tmp_path / "copy"
    backups.backup(home, copy, ["telco"], "now")
    manifest = json.loads((copy / "manifest.json").read_text())
    files = manifest["files"]
    victim = next(name for name in files if name.endswith("manifest.json"))
    if trap == "changed":
        (copy / "home" / victim).write_text("{}")
    elif trap == "missing":
        (copy / "home" / victim).unlink()
    elif trap == "extra":
        (copy / "home" / "data" / "telco" / "more").write_text("x")
    elif trap == "lock":
        (copy / "home" / "data" / "telco" / "lock").touch()
        files["data/telco/lock"] = backups.entry(copy / "home" / "data" / "telco" / "lock")
        (copy / "manifest.json").write_text(json.dumps(manifest))
    elif trap == "link":
        (copy / "home" / victim).unlink()
        (copy / "home" / victim).symlink_to("/etc/passwd")
    else:
        name = {"absolute": "/tmp/x", "above": "data/../../x", "top": "runner.py", "portfolio": "data/x"}[trap]
        files[name] = {"sha256": "0" * 64, "bytes": 0}
        (copy / "manifest.json").write_text(json.dumps(manifest))
    new = Home(tmp_path / "new")
    new.root.mkdir()
    with pytest.raises(UsageError):
        restoring.restore(new, copy, [])
    left = sorted(str(path.relative_to(new.root)) for path in new.root.rglob("*") if path.is_file())
    assert left == [".restore.lock", "data/telco/lock"]
    assert not (new.root / ".restore").exists()


def test_nothing_is_restored_over_what_is_there(home, tmp_path):
    backups.backup(home, tmp_path / "copy", ["telco"], "now")
    with pytest.raises(UsageError, match="there already"):
        restoring.restore(home, tmp_path / "copy", ["telco"])


def test_a_restore_cut_short_while_moving_in_is_finished_by_the_next(home, tmp_path, monkeypatch):
    backups.backup(home, tmp_path / "copy", ["telco"], "now")
    new = Home(tmp_path / "new")
    new.root.mkdir()
    moved = []
    real = safe.move

    def once(source, target):
        if moved:
            raise OSError("cut")
        moved.append(target)
        real(source, target)

    monkeypatch.setattr(safe, "move", once)
    with pytest.raises(OSError, match="cut"):
        restoring.restore(new, tmp_path / "copy", [])
    monkeypatch.undo()
    assert restoring.restore(new, tmp_path / "copy", []) == ["telco"]
    assert new.place("telco").book.exists()
    assert new.place("telco").params.exists()
    assert not (new.root / ".restore").exists()


class Cut(BaseException):
    """In the place of a kill: nobody catches it."""


@pytest.fixture
def begun(home, tmp_path, monkeypatch):
    """A new machine: a checkout whose portfolio has its YAML, with cron at work; and a backup of another one."""
    backups.backup(home, tmp_path / "copy", ["telco"], "now")
    new = Home(tmp_path / "new")
    new.place("telco").params.parent.mkdir(parents=True)
    shutil.copy(home.place("telco").params, new.place("telco").params)
    monkeypatch.setenv("ATTRITION_HOME", str(new.root))
    return new


def cut_short(home, source, function, at):
    """A restore that is cut short at a call of one of its functions."""
    real, calls = getattr(restoring, function), []

    def cut(*given):
        calls.append(given)
        if len(calls) == at:
            raise Cut
        return real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restoring, function, cut)
        with pytest.raises(Cut):
            restoring.restore(home, source, [])


def test_no_tick_begins_while_files_are_restored(begun, tmp_path, monkeypatch, capsys):
    real, statuses = restoring._fetch, []

    def and_then_a_tick(*given):
        real(*given)
        if not statuses:
            statuses.append(main(["tick", "telco"]))

    monkeypatch.setattr(restoring, "_fetch", and_then_a_tick)
    assert main(["restore", str(tmp_path / "copy")]) == 0
    assert statuses == [75]
    assert "holds" in capsys.readouterr().err
    assert main(["tick", "telco"]) == 0
    with Book.open(begun.place("telco").book) as book:
        assert book.state().champion


def test_nothing_is_restored_where_a_tick_is_at_work(begun, tmp_path, capsys):
    with safe.lock(begun.place("telco").lock, "now"):
        assert main(["restore", str(tmp_path / "copy")]) == 75
    assert not (begun.root / ".restore").exists()
    assert main(["restore", str(tmp_path / "copy")]) == 0


@pytest.mark.parametrize(
    ("function", "at"), [("_entries", 1), ("_fetch", 3), ("_move_in", 1), ("_move", 2), ("_lists", 1)]
)
def test_nobody_works_on_a_portfolio_before_its_restore_has_ended(begun, tmp_path, capsys, function, at):
    cut_short(begun, tmp_path / "copy", function, at)
    place = begun.place("telco")
    before = tree(place.root)
    assert place.book.exists() or not place.current.exists(), "no model serves that no book knows"
    for words in (["tick", "telco"], ["tick", "--all"], ["pages", "telco"], ["backup", str(tmp_path / "half")]):
        if words[0] != "pages" or place.book.exists():  # without a book there is nothing to write
            assert main(words) == 2
            assert f"end it with: runner.py restore {tmp_path / 'copy'}" in capsys.readouterr().err
    assert {k: v for k, v in tree(place.root).items() if not k.endswith("/lock")} == {
        k: v for k, v in before.items() if not k.endswith("/lock")
    }
    for folder in (place.executed, place.executed.parent):  # as one leaves it that is killed while it writes a list
        if folder.exists():
            (folder / f".index.html.{NOBODY}.tmp").touch()
    assert main(["restore", str(tmp_path / "copy")]) == 0
    assert not list(begun.root.rglob("*.tmp"))
    assert main(["tick", "telco"]) == 0
    assert not (begun.root / ".restore").exists()


def test_a_half_done_restore_is_ended_by_no_other_one(begun, tmp_path, capsys):
    cut_short(begun, tmp_path / "copy", "_move", 2)
    for words in (["/nonexistent"], ["/nonexistent", "--portfolio", "other"], ["--portfolio", "telco"]):
        given = words if words[0] == "/nonexistent" else [str(tmp_path / "copy"), *words]
        assert main(["restore", *given]) == 2
        assert f"End that one first with: runner.py restore {tmp_path / 'copy'}" in capsys.readouterr().err
    (tmp_path / "copy").rename(tmp_path / "mounted elsewhere")
    assert main(["restore", str(tmp_path / "mounted elsewhere")]) == 0
    assert main(["tick", "telco"]) == 0


def test_a_half_done_restore_is_ended_without_its_backup(begun, tmp_path):
    cut_short(begun, tmp_path / "copy", "_move", 2)
    shutil.rmtree(tmp_path / "copy")
    assert main(["restore", str(tmp_path / "copy")]) == 0
    assert main(["tick", "telco"]) == 0


def test_who_is_told_that_a_portfolio_cannot_begin_is_told_without_a_file_where_it_is_to_be_restored(
    home, tmp_path, monkeypatch, capsys
):
    assert main(["backup", str(tmp_path / "copy")]) == 0
    again = Home(tmp_path / "again")
    shutil.copytree(home.root / "params", again.root / "params")
    (again.root / "alerts.yaml").write_text("to: ['json://127.0.0.1:9/']\n")
    (again.root / "alerts.yaml").chmod(0o600)
    yaml = again.place("telco").params
    good = yaml.read_text()
    yaml.write_text("columns: [broken")
    monkeypatch.setenv("ATTRITION_HOME", str(again.root))
    assert main(["tick", "--all"]) == 2
    assert "did not take the message" in capsys.readouterr().err
    yaml.write_text(good)
    assert main(["restore", str(tmp_path / "copy"), "--portfolio", "telco"]) == 0


def test_what_is_restored_with_a_yaml_that_is_wrong_needs_no_second_call(home, place, tmp_path, monkeypatch):
    good = place.params.read_text()
    place.params.write_text("columns: [broken")
    assert main(["backup", str(tmp_path / "copy")]) == 0
    again = Home(tmp_path / "again")
    again.root.mkdir()
    monkeypatch.setenv("ATTRITION_HOME", str(again.root))
    assert main(["restore", str(tmp_path / "copy")]) == 0
    again.place("telco").params.write_text(good)
    assert tick(again, "telco") == 0


def test_a_forgetting_that_was_killed_at_its_last_step_is_over(home, place):
    place.forgetting.write_bytes(b"0" * 150)  # the name of the client is written over first
    assert tick(home, "telco") == 0
    assert not place.forgetting.exists()


def test_what_came_while_it_was_restored_is_not_written_over(begun, tmp_path, capsys):
    place = begun.place("telco")
    cut_short(begun, tmp_path / "copy", "_move_in", 1)
    place.incoming.mkdir()
    lay(place, 9, [another("UPLOADED")])
    place.models.mkdir(parents=True)
    place.current.write_text("{}")
    assert main(["restore", str(tmp_path / "copy")]) == 2
    assert f"{place.current} has come" in capsys.readouterr().err
    place.current.unlink()
    assert main(["restore", str(tmp_path / "copy")]) == 0
    assert (place.incoming / "clients-9.csv").exists()


def test_an_order_that_is_damaged_is_told_and_nothing_is_done(begun, tmp_path, capsys):
    cut_short(begun, tmp_path / "copy", "_move", 2)
    (begun.root / ".restore" / "order.json").write_text("{")
    for words in (["tick", "telco"], ["restore", str(tmp_path / "copy")]):
        assert main(words) == 2
        assert "order.json says what a restore that was cut short had to do, and is damaged" in capsys.readouterr().err


# ---- replay


def test_a_run_that_trains_and_one_that_holds_come_out_the_same(place, capsys):
    before = tree(place.root)
    for run in names(place)[1:3]:
        assert main(["replay", "telco", run, "--json"]) == 0, capsys.readouterr().out
        found = json.loads(capsys.readouterr().out)
        assert found["same"]
        assert not found["lost"]
        assert sum(stage["compared"] for stage in found["stages"]) > 20
    assert tree(place.root) == before


def test_a_record_or_a_coefficient_that_was_changed_comes_out_otherwise(place, capsys):
    run = names(place)[1]
    path = place.executed / run / "20_monitor.ipynb"
    path.write_text(path.read_text().replace('"n": 200', '"n": 201', 1).replace('"n": 2', '"n": 3', 1))
    path = place.models / "0002" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["coefficients"][0]["coefficient"] += 1e-9
    path.write_text(json.dumps(manifest))
    assert main(["replay", "telco", run, "--json"]) == 1
    found = {each["stage"]: each["differences"] for each in json.loads(capsys.readouterr().out)["stages"]}
    assert found["monitor"]
    assert any("coefficients" in line for stage, lines in found.items() if stage != "monitor" for line in lines)
    assert not found["assess"]


# ---- try


def test_the_stages_as_edited_beside_production_and_nothing_of_it_is_touched(place, tmp_path, monkeypatch, capsys):
    before = tree(place.root)
    assert main(["try", "telco", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    same = found["runs"][0]
    assert same["production"] == same["now"]
    assert found["moves"]["moved"] == 0
    assert tree(place.root) == before


def test_another_model_moves_ranks(place, capsys):
    place.params.write_text(place.params.read_text().replace("learning_rows: 100", "learning_rows: 100, C: 0.0001"))
    assert main(["try", "telco", "--last", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 4
    assert [each["now"]["decision"] for each in found["runs"]] == [report["decision"] for report in reports(place)]
    assert found["moves"]["moved"] > 0


# ---- forget


def holds(root, client):
    """Files below a folder that hold the id, in plain text or as Parquet."""
    found = []
    for path in root.rglob("*"):
        if path.is_file() and ".cache" not in path.parts:
            texts = [path.read_bytes().decode("latin-1"), *scrub._texts(path)]
            found += [str(path.relative_to(root))] if any(client in text for text in texts) else []
    return found


def test_a_client_is_forgotten_everywhere_and_the_sums_stay_exact(home, place, capsys):
    first = holds(place.root, CLIENT)
    assert any(name.endswith(".ipynb") for name in first) or len(first) > 3
    portfolio = params.load(place.params)
    rows = Clients(portfolio, place.clients).rows
    assert main(["forget", "telco", CLIENT, "--reason", "asked for in a letter"]) == 0
    assert holds(place.root, CLIENT) == []
    (line,) = bookkeeping.forgotten(place.book)
    assert forgetting.known(place, CLIENT) == [line]
    assert forgetting.known(place, "somebody") == []
    db = sqlite3.connect(place.book)
    (ingested,) = db.execute("SELECT sum(ingested) FROM drops").fetchone()
    clients = Clients(portfolio, place.clients)
    assert int(clients.sql("SELECT count(*) AS n FROM clients")["n"].iloc[0]) == ingested - line["rows"] == rows - 1
    assert reports(place)[-1]["reason"].endswith("asked for in a letter")
    marked = [report["run"] for report in reports(place) if "not_replayable" in report]
    assert marked == names(place)[:4]
    assert "cannot be replayed" in (place.executed / marked[0] / "index.html").read_text()
    with pytest.raises(UsageError, match="forgotten"):
        past.refuse(Run.read(place.executed / marked[0]))
    lay(place, 6, [another("AFTER")])
    ticked(home, FIRST + timedelta(days=6))
    assert reports(place)[-1]["status"] == "completed"


def test_who_has_a_number_and_no_name_is_recorded_by_it(place, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2_000_111_222)
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert reports(place)[-1]["reason"].startswith("uid 2000111222 had a client forgotten")


def cut_while_forgetting(place, step):
    def cut(*_):
        raise OSError("cut")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting.scrub, step, cut)
        assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 1


@pytest.mark.parametrize("step", ["tables", "lists", "drops", "logs", "version"])
def test_a_forgetting_that_was_cut_short_is_finished_by_the_next_tick(home, place, monkeypatch, step):
    cut_while_forgetting(place, step)
    assert place.forgetting.exists()
    (place.models / "0001" / f".manifest.json.{NOBODY}.tmp").write_text(CLIENT)  # a kill in the middle of writing
    ticked(home, FIRST + timedelta(days=7))
    assert holds(place.root, CLIENT) == []
    assert [line["rows"] for line in bookkeeping.forgotten(place.book)] == [1]


@pytest.mark.parametrize("way", ["by the call", "by a tick", "where it serves"])
def test_a_damaged_manifest_holds_no_forgetting_up_and_goes_as_a_whole(home, place, capsys, way):
    with Book.open(place.book) as book:
        champion = book.state().champion
    version = champion if way == "where it serves" else next(each for each in ("0001", "0002") if each != champion)
    manifest = place.models / version / "manifest.json"
    manifest.write_bytes(b"\0" + manifest.read_bytes()[1:])
    if way == "by a tick":
        cut_while_forgetting(place, "logs")
        ticked(home, FIRST + timedelta(days=7))
    else:
        assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert f"damaged went as a whole, of model {version}" in capsys.readouterr().out
    assert f"damaged went as a whole, of model {version}" in reports(place)[4]["reason"]
    assert not manifest.exists()
    assert holds(place.root, CLIENT) == []
    if way == "where it serves":  # another one takes its place
        lay(place, 6, [another("AFTER")])
    ticked(home, FIRST + timedelta(days=8))
    assert list(place.incoming.iterdir()) == []


def test_no_power_cut_brings_a_forgotten_client_back(place, monkeypatch):
    """What is removed is synced out of its folder before the call says that it is done."""
    left = place.executed / names(place)[1] / f".left.{2**22 + 1}.tmp"  # of a process that was killed
    left.write_text(CLIENT)
    owed, (unlink, fsync) = set(), (os.unlink, os.fsync)

    def removed(path, *, dir_fd=None):
        unlink(path, dir_fd=dir_fd)
        if dir_fd is None:
            owed.add(Path(path).parent)

    def synced(handle):
        fsync(handle)
        owed.discard(Path(f"/proc/self/fd/{handle}").readlink())

    monkeypatch.setattr(os, "unlink", removed)
    monkeypatch.setattr(os, "fsync", synced)
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert not left.exists()
    assert owed == set(), "folders from which something was removed"


@pytest.mark.parametrize("name", ["scores.parquet", "assessed.parquet"])
@pytest.mark.parametrize("left", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: data[:4] * 99])
def test_a_file_of_rows_that_a_killed_stage_left_half_written_holds_no_forgetting_up(place, name, left):
    """What a run that was cut short had written so far is published with it."""
    run = place.executed / names(place)[1]
    torn = run / name
    torn.write_bytes(left((run / "assessed.parquet").read_bytes()))
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert not torn.exists()
    assert f"cut short, went as a whole: {run.name}/{name}." in reports(place)[4]["reason"]
    assert holds(place.root, CLIENT) == []


@pytest.mark.parametrize("name", ["mine.json", "10_ingest.ipynb"])
def test_a_text_that_a_killed_stage_left_half_written_goes_only_where_it_names_the_client(place, name):
    theirs, others = (place.executed / each / name for each in names(place)[1:3])
    theirs.write_text(f'{{"cells": [{{"source": "{CLIENT}"}}, ')
    others.write_text('{"cells": [{"source": "somebody"}, ')
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert not theirs.exists()
    assert others.exists()
    assert f"cut short, went as a whole: {theirs.parent.name}/{name}." in reports(place)[4]["reason"]
    assert holds(place.root, CLIENT) == []


def test_a_page_of_before_that_is_torn_holds_no_forgetting_up(place):
    path = place.executed / names(place)[1] / "index.json"  # which the run after it stands beside
    path.write_text(path.read_text()[:100])
    assert main(["forget", "telco", LINES[460].split(",")[0], "--reason", "asked"]) == 0
    assert path.stat().st_size == 100


def test_of_a_text_in_an_old_encoding_only_the_lines_go_that_name_the_client(place):
    path = place.executed / names(place)[1] / "mine.txt"
    path.write_bytes(f"caf\xe9\n{CLIENT} is caf\xe9\n".encode("latin-1"))
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert path.read_bytes() == b"caf\xe9\n"


def test_a_file_of_rows_stays_that_could_not_be_read_at_the_moment(place, monkeypatch):
    files = {path: path.read_bytes() for path in place.executed.glob("*/assessed.parquet")}

    def broken(*_, **__):
        raise duckdb.IOException("Could not read from file: Input/output error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrub, "_without_lines", broken)
        place.ranking.unlink()
        assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 1
    assert {path: path.read_bytes() for path in place.executed.glob("*/assessed.parquet")} == files
    assert place.forgetting.exists()


def test_root_changes_nothing_in_the_portfolio_of_somebody_else(place, capsys):
    """One tick by hand, and the files of its run could not be changed by cron's user: a forgetting had no end."""
    require(os.geteuid() == 0, "only root can give files away")
    os.chown(place.data, 1234, -1)
    lay(place, 5, [another("AFTER")])
    before = tree(place.root)
    for words in (["tick"], ["prune", "--days", "0"], ["forget", CLIENT, "--reason", "asked"]):
        assert main([words[0], "telco", *words[1:]]) == 2
        assert "belongs to user 1234" in capsys.readouterr().err
    assert tree(place.root) == before


def test_a_manifest_stays_that_cannot_be_read_at_the_moment(place, capsys):
    def broken(folder):
        raise registry.ModelUnreadable(folder, OSError(errno.EIO, "Input/output error"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "read_manifest", broken)
        assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 1
    said = capsys.readouterr().err
    assert "mend its permissions or the disk" in said
    assert "Traceback" not in said
    assert (place.models / "0001" / "manifest.json").exists()
    assert place.forgetting.exists()


def test_whom_to_call_is_without_the_client_though_the_ranking_was_before(home, place, monkeypatch):
    client = next(each for each in re.findall(r"CU-\d+-Z", place.call_list.read_text()))

    def cut(*_, **__):
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(calling, "lists", cut)
        with pytest.raises(Cut):
            main(["forget", "telco", client, "--reason", "asked"])
    assert client in place.call_list.read_text()
    ticked(home, FIRST + timedelta(days=7))
    assert holds(place.root, client) == []


@pytest.mark.parametrize("table", ["clients", "scores"])
def test_the_next_tick_mends_what_a_power_cut_left_of_a_forgettings_entry(home, place, table):
    real = delta._sync_log

    def cut(folder, version):
        if folder.name == table:
            raise Cut
        real(folder, version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta, "_sync_log", cut)
        with pytest.raises(Cut):
            main(["forget", "telco", CLIENT, "--reason", "asked"])
    entry = max((getattr(place, table) / "_delta_log").glob("*.json"))
    entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    ticked(home, FIRST + timedelta(days=7))
    assert not place.forgetting.exists()
    assert holds(place.root, CLIENT) == []


def test_logs_are_written_over_where_they_are_while_others_write_on(place):
    logs = [
        place.root / "cron.log",
        *(place.root / "executed" / name for name in ("cron.log", "api.log", "cron.log.1")),
    ]
    lines = ["before\n", f"{CLIENT}.csv waits\n", "\udcff after\r\n", f"at last {CLIENT}"]
    for log in logs:
        log.write_bytes("".join(lines).encode(errors="surrogateescape"))
    with logs[1].open("a") as writing:
        assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
        writing.write("and on\n")
    assert holds(place.root, CLIENT) == []
    for log in logs:
        first, gone, after, *_ = log.read_bytes().split(b"\n")
        assert (first, after) == (b"before", b"\xff after\r")
        assert scrub.GONE.startswith(gone.decode().strip())
    assert logs[1].read_text(errors="replace").endswith("\nand on\n")


def test_no_backup_is_made_of_what_is_half_forgotten(home, place, tmp_path, capsys, monkeypatch):
    about = {"reason": "asked", "by": "me", "at": "2026-01-12T03:15:00Z"}
    forgetting.begin(place, params.load(place.params), CLIENT, **about)
    assert main(["backup", str(tmp_path / "copy")]) == 2
    assert "a tick ends it first" in capsys.readouterr().err
    ticked(home, FIRST + timedelta(days=7))
    assert main(["backup", str(tmp_path / "copy")]) == 0
    assert holds(tmp_path / "copy", CLIENT) == []

    def then_forget(*given):
        assert main(["forget", "telco", LINES[5].split(",")[0], "--reason", "asked"]) == 0
        return copied(*given)

    copied = backups._folders
    monkeypatch.setattr(backups, "_folders", then_forget)
    assert main(["backup", str(tmp_path / "mixed")]) == 2
    assert "was forgotten meanwhile" in capsys.readouterr().err
    assert not (tmp_path / "mixed").exists()


def test_after_a_forgetting_a_drop_without_new_rows_leaves_the_data_version_where_it_is(home, place):
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    at = Clients(params.load(place.params), place.clients).version
    lay(place, 7, LINES[10:12])
    ticked(home, FIRST + timedelta(days=7))
    with Book.open(place.book, read_only=True) as book:
        assert book.runs(limit=1)[0]["rows"] == {"in": 2, "ingested": 0, "duplicates": 2, "quarantined": 0}
        assert (book.state().data_version, book.state().judged_version) == (at, at)


def test_an_id_like_any_number_is_cut_only_where_it_is_a_client(tmp_path):
    portfolio = params.load(REPOSITORY / "params" / "telco.yaml")
    whom = scrub.Whom("17", portfolio)
    scrap = {"name": "top", "data": [{"id": "17", "rank": 1}, {"id": "18", "rank": 17}]}
    shown = [
        nbformat.v4.new_output("display_data", {record.MIME: scrap}),
        nbformat.v4.new_output("display_data", {"text/html": "<tr><th>client</th></tr><tr><td>17</td></tr>"}),
        nbformat.v4.new_output("display_data", {"text/html": "<tr><th>rows</th></tr><tr><td>17</td></tr>"}),
        nbformat.v4.new_output("stream", name="stdout", text="17 rows"),
    ]
    cell = nbformat.v4.new_code_cell("show(17)", outputs=shown)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "x.ipynb")
    assert scrub._notebook(tmp_path / "x.ipynb", whom)
    (cell,) = nbformat.read(tmp_path / "x.ipynb", as_version=4).cells
    first, listed, counted, said = cell.outputs
    assert first.data[record.MIME]["data"] == [{"id": "18", "rank": 17}]
    assert "17" not in str(listed.data)
    assert "17" in counted.data["text/html"]
    assert said.text == "17 rows"
    assert cell.source == "show(17)"


def test_lines_of_a_file_go_by_the_column_of_the_id(tmp_path):
    whom = scrub.Whom("17", params.load(REPOSITORY / "params" / "telco.yaml"))
    (tmp_path / "test.csv").write_text("rownames,tenure\n17,3\n18,17\n")
    (tmp_path / "tick.log").write_text("at 03:17 quiet\nclient 17 cannot be read\n")
    for name in ("test.csv", "tick.log"):
        scrub._cut(tmp_path / name, whom)
    assert (tmp_path / "test.csv").read_text() == "rownames,tenure\n18,17\n"
    assert (tmp_path / "tick.log").read_text() == "at 03:17 quiet\n"


def test_rejected_rows_go_whole_wherever_the_id_stands_in_them(tmp_path):
    rows = [["17", "a\u2028b"], ["18", "17.5"], [None, "3"]]
    about = {"file": "x.csv", "line": 2, "reason": "fee: 'x' is not a number"}
    lines = [json.dumps({**about, "raw": None, "fields": fields}, ensure_ascii=False) + "\n" for fields in rows]
    (tmp_path / "x.csv.jsonl").write_text("".join(lines))
    whom = scrub.Whom("17", params.load(REPOSITORY / "params" / "telco.yaml"))
    assert scrub._in_file(tmp_path / "x.csv.jsonl", whom)
    drop = tmp_path / "a.jsonl"
    drop.write_text('{"client": 3, "fields": 12}\n{"id": 3, "raw": "a17"}\n')
    assert not scrub._in_file(drop, whom), "a drop's own keys are no quarantine's"
    scrub._cut(tmp_path / "x.csv.jsonl", whom)
    assert (tmp_path / "x.csv.jsonl").read_text() == "".join(lines[1:])


@pytest.mark.parametrize("client", ["17", "ann-1"])
@pytest.mark.parametrize("text", ['"CLIENT" x,2026', '"x" y\tCLIENT\t2026', '"x" y\nCLIENT z'])
def test_a_rejected_row_of_a_wrong_form_goes_by_the_words_of_its_text(client, text):
    text = text.replace("CLIENT", client)
    about = {"file": "x.csv", "line": 2, "reason": "text after a closing quote"}
    whom = scrub.Whom(client, params.load(REPOSITORY / "params" / "telco.yaml"))
    for said in (text, text.replace(client, f"{client}8")):
        line = json.dumps({**about, "raw": said, "fields": [said]}, ensure_ascii=False) + "\n"
        assert scrub._of_client([line], whom) == [said == text]


LETTERS = string.ascii_letters + string.digits + "-_ .<&\"'äß"
IDS = st.text(LETTERS, min_size=3, max_size=20).filter(lambda text: text.strip() == text and not PLAIN.fullmatch(text))
PLAINLY = st.text(max_size=9) | st.integers() | st.none()
NESTED = PLAINLY | st.lists(PLAINLY) | st.dictionaries(st.text(max_size=4), st.lists(PLAINLY))


@given(client=IDS, value=NESTED, how=st.sampled_from(["id", "text", "list", "client"]))
def test_whatever_was_recorded_nothing_of_the_client_is_left(client, value, how):
    whom = scrub.Whom(client, params.load(REPOSITORY / "params" / "telco.yaml"))
    ways = {"id": {"id": client}, "text": f"see {client}, who left", "list": client, "client": {"client": client}}
    left = whom.without({"kept": value, "top": [ways[how], {"id": 18}]})
    assert not whom.token.search(json.dumps(left["top"][:-1], ensure_ascii=False))
    assert left["top"][-1] == {"id": 18}


def test_a_reason_with_the_id_is_refused(place):
    assert main(["forget", "telco", CLIENT, "--reason", f"{CLIENT} asked"]) == 2
