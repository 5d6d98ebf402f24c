"""Files of a portfolio that are gone or damaged: what can be made again is, and of the rest a person is told."""

import json
import shutil
import tempfile
from pathlib import Path

import duckdb
import pytest
from conftest import require

from attrition import backups, health
from attrition.book import Book
from attrition.home import Home, UsageError
from attrition.store import ranking
from campaign import kit, sink


@pytest.fixture
def place(tmp_path):
    """A portfolio with a champion that has scored its 40 clients."""
    found = kit.home(tmp_path / "home")
    kit.drop(found, "first.csv", kit.rows(1, 40))
    assert kit.tick(found) == 0
    return found


def state(place):
    """What the book says."""
    with Book.open(place.book, read_only=True) as book:
        return book.state()


@pytest.mark.parametrize("left", ["rows", "model"])
@pytest.mark.parametrize("how", ["gone", "empty"])
def test_no_new_book_is_begun_beside_rows_or_a_model_of_a_lost_one(place, tmp_path, capfd, how, left):
    """It knew no file that was taken in, and called its first model 0001, as the one is called that served."""
    whole = place.book.read_bytes()
    place.book.unlink()
    if how == "empty":
        place.book.touch()
    (place.current if left == "rows" else place.clients).rename(tmp_path / "away")
    assert kit.tick(place) == 2
    said = capfd.readouterr().err
    assert f"{place.book} is missing or empty" in said
    assert str(place.clients / "_delta_log" if left == "rows" else place.current) in said
    assert sink.heard(place)["failure"] == 1
    with pytest.raises(UsageError, match="is missing or empty"):
        backups.backup(Home(place.root), tmp_path / "copy", [place.name], "2026-03-01T03:15:00Z")
    assert any("is missing or empty" in each.said for each in health.examine(Home(place.root)) if not each.ok)
    (tmp_path / "away").rename(place.current if left == "rows" else place.clients)
    place.book.write_bytes(whole)
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 0


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_where_a_champion_is_to_score_all_again_and_cannot_another_is_trained(place, how):
    """No new row was there to judge it by: each tick failed in 70_assess."""
    model, _ = place.version_files("0001")
    model.write_bytes(model.read_bytes()[:-1] + b"?") if how == "flipped" else model.unlink()
    place.params.write_text(place.params.read_text() + "bands: {medium: 0.3, high: 0.5}\n")
    assert kit.tick(place) == 0
    assert (state(place).champion, state(place).scores_owed) == ("0002", False)


@pytest.mark.parametrize("how", ["torn", "another thing", "gone"])
def test_which_run_last_went_through_each_stage_is_found_again(place, how):
    """With a torn latest.json every tick with work failed."""
    path = place.executed / "latest.json"
    before = json.loads(path.read_text())
    path.write_text(path.read_text()[:40] if how == "torn" else "[1]")
    if how == "gone":
        path.unlink()
    assert kit.tick(place) == 0
    assert json.loads(path.read_text()) == before
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 0
    assert json.loads(path.read_text())["train"] == before["train"]


@pytest.mark.parametrize("how", ["gone", "torn", "empty"])
@pytest.mark.parametrize("came", [True, False])
def test_where_the_list_is_lost_it_is_made_again_of_all_clients(place, capfd, came, how):
    """The next one had the clients of the next drop alone, and nothing said so."""
    whole = place.ranking.read_bytes()
    place.ranking.write_bytes(whole[:-9] if how == "torn" else b"")
    if how == "gone":
        place.ranking.unlink()
    if came:
        kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 0
    assert "ranking.parquet is gone or spoilt: all clients are scored once more" in capfd.readouterr().err
    (found,) = duckdb.execute(f"SELECT count(DISTINCT id) FROM '{place.ranking}'").fetchone()
    assert found == (45 if came else 40)
    with Book.open(place.book, read_only=True) as book:
        assert "All clients are scored once more" in book.runs(1)[0]["reason"]
    before = state(place).runs
    assert kit.tick(place) == 0
    assert state(place).runs == before, "once"


def test_a_list_that_is_spoilt_between_its_ends_is_made_again_by_the_tick_after_the_one_that_fails(place, capfd):
    """Each tick failed of it."""
    whole = place.ranking.read_bytes()
    assert ranking.readable(place.ranking)
    place.ranking.write_bytes(whole[:-40] + b"?" * 32 + whole[-8:])
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert [kit.tick(place), kit.tick(place)] == [1, 0]
    assert "ranking.parquet is gone or spoilt" in capfd.readouterr().err
    (found,) = duckdb.execute(f"SELECT count(DISTINCT id) FROM '{place.ranking}'").fetchone()
    assert found == 45


@pytest.mark.parametrize("what", ["book", "rows", "all rows"])
def test_of_what_cannot_be_made_again_it_is_said_what_is_damaged_and_what_to_do(place, tmp_path, capfd, what):
    path = place.book if what == "book" else next(place.clients.glob("*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    if what == "all rows":
        place.clients.rename(tmp_path / "away")
        assert kit.tick(place) == 2, "also without a drop"
        capfd.readouterr()
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 2
    said = capfd.readouterr()
    words = ["a backup", str(place.book if what == "book" else place.clients)]
    assert all(word in said.out + said.err for word in words)
    assert "Traceback" not in said.err
    assert sink.heard(place)["failure"] == 1
    if what == "all rows":
        (tmp_path / "away").rename(place.clients)
    path.write_bytes(whole)
    assert kit.tick(place) == 0
    assert state(place).data_version == 2
    assert sink.heard(place)["recovery"] == 1


def test_a_portfolio_that_was_moved_into_another_is_not_passed_over(place, capfd):
    """A YAML was renamed first, and a tick came: `mv data/shop data/store` lays it into the folder that is there."""
    store = Home(place.root).place("store")
    place.params.rename(store.params)
    assert kit.tick(store) == 0
    place.data.rename(store.data / place.name)
    assert kit.tick(store) == 2
    assert f"{store.data / place.name} has a book" in capfd.readouterr().err
    (store.data / place.name).rename(place.data)
    assert kit.tick(store) == 0


@pytest.mark.parametrize("older", ["book", "clients", "scores"])
def test_an_older_copy_of_one_file_is_refused_before_a_row_comes_on_top_of_it(place, tmp_path, capfd, older):
    """With an older book rows had numbers that others had, and each tick failed; of the others nothing was said."""
    path = {"book": place.book, "clients": place.clients, "scores": place.scores}[older]
    (shutil.copy if older == "book" else shutil.copytree)(path, tmp_path / "older")
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 0
    path.rename(tmp_path / "newer")
    (tmp_path / "older").rename(path)
    kit.drop(place, "third.csv", kit.rows(3, 5))
    assert kit.tick(place) == 2
    assert f"{path} is an older copy" in capfd.readouterr().err
    with pytest.raises(UsageError, match="is an older copy"):
        backups.backup(Home(place.root), tmp_path / "copy", [place.name], "2026-03-01T03:15:00Z")
    assert any("is an older copy" in each.said for each in health.examine(Home(place.root)) if not each.ok)
    path.rename(tmp_path / "older")
    (tmp_path / "newer").rename(path)
    assert kit.tick(place) == 0
    assert state(place).data_version == 3


@pytest.mark.parametrize("lost", ["clients", "scores"])
def test_a_table_that_is_gone_is_told_by_each_tick_and_by_a_backup(place, tmp_path, capfd, lost):
    """Predictions of months went without a word."""
    path = {"clients": place.clients, "scores": place.scores}[lost]
    path.rename(tmp_path / "away")
    assert kit.tick(place) == 2
    assert f"{path} is gone" in capfd.readouterr().err
    with pytest.raises(UsageError, match="is gone"):
        backups.backup(Home(place.root), tmp_path / "copy", [place.name], "2026-03-01T03:15:00Z")
    (tmp_path / "away").rename(path)
    assert kit.tick(place) == 0


def test_where_all_who_were_scored_are_forgotten_no_prediction_is_missed(place):
    """A backup of it has no table of predictions."""
    nobody = place.ranking.with_name("nobody.parquet")
    duckdb.execute(f"COPY (FROM '{place.ranking}' LIMIT 0) TO '{nobody}'")
    nobody.replace(place.ranking)
    shutil.rmtree(place.scores)
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 0


@pytest.mark.parametrize("folder", ["incoming", "models", "executed"])
def test_a_folder_on_another_file_system_is_refused_before_a_row_comes_in(place, capfd, folder):
    """Its rows were in when the first file could not be renamed, and each tick failed of that."""
    path = getattr(place, folder)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        require(Path(other).stat().st_dev != place.data.stat().st_dev, "the tests' own folder is on that disk too")
        shutil.copytree(path, Path(other, folder))
        path.rename(path.with_name("away"))
        path.symlink_to(Path(other, folder))
        kit.drop(place, "second.csv", kit.rows(2, 5))
        assert kit.tick(place) == 2
        assert f"{path} is on another file system" in capfd.readouterr().err
        assert state(place).data_version == 1
        assert any("another file system" in each.said for each in health.examine(Home(place.root)) if not each.ok)


def test_where_the_folder_of_drops_is_a_disk_that_is_not_mounted_it_is_told(place, tmp_path, capfd):
    """Each tick said that there was no drop."""
    place.incoming.rmdir()
    place.incoming.symlink_to(tmp_path / "share")
    assert kit.tick(place) == 2
    assert "which is not there: mount it" in capfd.readouterr().err
    (tmp_path / "share").mkdir()
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 0


def test_the_last_tick_is_not_the_one_that_is_at_work(place):
    """`doctor` said that there was none."""
    with Book.open(place.book) as book:
        book.begin("20260301T040000Z", "2026-03-01T04:00:00Z")
    (found,) = (each for each in health.examine(Home(place.root)) if each.check == "shop: freshness")
    assert "no tick yet" not in found.said
