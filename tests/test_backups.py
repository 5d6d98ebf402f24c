"""A home backed up and restored, also while others work in it, and after a backup or a restore was cut short."""

import json
import os
import shutil
import stat
import subprocess
import sys
from datetime import timedelta

import pytest
from keep_kit import FIRST, HEADER, LINES, NOBODY, Cut, another, copied, lay, names, ticked
from pipeline_kit import here, reports, tree

from attrition import backups, bookkeeping, params, registry, restoring, safe
from attrition.book import Book
from attrition.home import Home, UsageError
from attrition.store.clients import Clients
from campaign import kit
from runner import main, tick


@pytest.fixture
def home(lived, tmp_path, monkeypatch):
    return copied(lived, tmp_path / "home", monkeypatch)


@pytest.fixture
def place(home):
    return home.place("telco")


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


def test_what_is_no_file_is_said_to_be_in_no_backup(place, tmp_path, capsys):
    (place.quarantine / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(place.models / "pipe")
    (place.executed / ".cache").symlink_to(tmp_path)
    assert main(["backup", str(tmp_path / "copy")]) == 0
    which = "data/telco/quarantine/elsewhere, models/telco/pipe"
    assert f"not in it, as they are links, pipes or the like and no files: {which}\n" in capsys.readouterr().out


@pytest.mark.parametrize("within", ["data/telco/incoming", "models", "executed/telco", "params", "notebooks"])
def test_a_backup_is_no_part_of_what_it_copies(home, place, tmp_path, capsys, within):
    (tmp_path / "link").symlink_to(home.root)
    before = tree(home.root)
    assert main(["backup", str(tmp_path / "link" / within / "copy")]) == 2
    assert "which is copied: name a folder outside" in capsys.readouterr().err
    assert tree(home.root) == before


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


@pytest.mark.parametrize("off", [True, False])
def test_a_portfolio_without_a_yaml_is_in_a_backup_all_the_same(home, place, tmp_path, monkeypatch, capsys, off):
    """Switched off, or lost: whoever puts the YAML back has all of it."""
    home.place("other").params.write_text(place.params.read_text())
    lay(place, 5, [another("WAITS")])
    old(place.incoming / "clients-5.csv").with_name("clients-5.csv.done").unlink()
    place.params.rename(away := home.root / ("params/telco.yaml.off" if off else "telco.yaml"))
    assert main(["backup", str(tmp_path / "copy")]) == 0
    assert (f"telco: without its YAML: {place.params} is missing" in capsys.readouterr().out) != off
    again = Home(tmp_path / "again")
    monkeypatch.setenv("ATTRITION_HOME", str(again.root))
    assert main(["restore", str(tmp_path / "copy"), "--portfolio", "telco"]) == 0
    assert not again.place("other").params.exists()
    back = again.place("telco")
    assert (back.off, again.lost()) == (([back.params.with_name("telco.yaml.off")], []) if off else ([], ["telco"]))
    back.params.parent.mkdir(exist_ok=True)
    back.params.write_text(away.read_text())
    before = names(back)
    assert before == names(place)
    assert tick(again, "telco") == 0
    assert len(names(back)) == len(before) + 1


@pytest.mark.parametrize("when", ["before the book is copied", "after it"])
def test_a_client_who_is_forgotten_while_a_backup_is_made_is_in_none(tmp_path, monkeypatch, when):
    place = kit.home(tmp_path / "home")
    kit.drop(place, "first.csv", kit.rows(1, 40))
    assert kit.tick(place) == 0
    safe.make_folder(place.test).joinpath("rows.csv").write_text(f"{kit.HEADER}\n{kit.rows(1, 1)[0]}\n")
    real = bookkeeping.copy

    def copy(book, into):
        if when == "after it":
            real(book, into)
        assert kit.command("forget", place, client="c1-0", reason="asked for") == 0
        if when != "after it":
            real(book, into)

    monkeypatch.setattr(bookkeeping, "copy", copy)
    with pytest.raises(UsageError, match="a client was forgotten meanwhile"):
        backups.backup(Home(place.root), tmp_path / "copy", [place.name], "2026-03-01T03:15:00Z")
    assert not (tmp_path / "copy").exists()


def test_a_backup_without_the_deployed_model_says_that_earlier_ones_are_to_be_kept(home, place, tmp_path, capsys):
    assert main(["backup", str(tmp_path / "whole")]) == 0
    assert "keep the backups" not in capsys.readouterr().out
    version = registry.current(place.models).version
    shutil.rmtree(place.models / version)
    assert main(["backup", str(tmp_path / "copy")]) == 0
    assert f"telco: model {version} is deployed, and its files are gone: keep the backups" in capsys.readouterr().out


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
