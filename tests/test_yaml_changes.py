"""A YAML that changes between two ticks: what was made by the old one is made anew, or the change is refused."""

import json
import re
import sqlite3
import time
from types import SimpleNamespace

import duckdb
import pytest

from attrition import backups, due, params, past, registry, scrub, visit
from attrition.book import Book
from attrition.runs import Run
from attrition.stages import Stage
from attrition.store import delta
from attrition.wishes import Wish
from campaign import kit

MORE = """\
  account: {type: text}
  note: {type: text, nullable: true}
"""
YAML = kit.YAML.replace("target:", f"{MORE}target:")
HEADER = "client,day,plan,seats,fee,account,note,left"


def lines(seed, count, day=None):
    """Clients with an account each, and the same note."""
    parts = [line.split(",") for line in kit.rows(seed, count)]
    return [",".join([one[0], day or one[1], *one[2:5], f"acc-{one[0]}", "vip", one[5]]) for one in parts]


@pytest.fixture
def place(tmp_path):
    """A portfolio whose 40 clients are on the list."""
    found = kit.home(tmp_path / "home")
    found.params.write_text(YAML)
    kit.drop(found, "first.csv", lines(1, 40), HEADER)
    assert kit.tick(found) == 0
    return found


def listed(place, what="count(*), count(DISTINCT id)"):
    """What the ranking says of its clients."""
    return duckdb.execute(f"SELECT {what} FROM '{place.ranking}' ORDER BY ALL").fetchall()


def runs(place):
    """How many there were."""
    with Book.open(place.book, read_only=True) as book:
        return book.state().runs


def edited(place, old="", new=""):
    """The YAML with one text in the place of another, or with one more line."""
    text = place.params.read_text()
    place.params.write_text(text.replace(old, new) if old else text + new)


def test_by_another_id_no_client_is_on_the_list_twice(place):
    edited(place, "id: client", "id: account")
    kit.drop(place, "again.csv", lines(1, 5, "2026-02-20"), HEADER)
    assert kit.tick(place) == 0
    assert listed(place) == [(40, 40)]
    assert listed(place, "DISTINCT left(id, 4)") == [("acc-",)]


@pytest.mark.parametrize("drop", [lines(2, 5), lines(1, 5, "2025-12-01"), []], ids=["new", "late", "none"])
def test_a_column_to_show_stands_with_every_client(place, drop):
    edited(place, new="show: [note]\n")
    if drop:
        kit.drop(place, "second.csv", drop, HEADER)
    assert kit.tick(place) == 0
    ((clients, notes),) = listed(place, "count(*), count(note)")
    assert clients == notes == 40 + (len(drop) if drop == lines(2, 5) else 0)


def test_by_other_bands_every_client_is_in_the_band_of_its_risk(place):
    edited(place, new="bands: {medium: 0.01, high: 0.02}\n")
    assert kit.tick(place) == 0
    assert listed(place, "DISTINCT band") == [("high",)]
    before = runs(place)
    assert kit.tick(place) == 0
    assert runs(place) == before, "once is enough"


def test_bands_that_one_run_was_given_are_those_of_its_whole_list_and_of_no_later_one(place):
    kit.drop(place, "second.csv", lines(2, 5), HEADER)
    given = (("bands.medium", "0.01"), ("bands.high", "0.02"))
    assert kit.tick(place, wish=Wish(given=given)) == 0
    assert listed(place, "DISTINCT band") == [("high",)]
    kit.drop(place, "third.csv", lines(3, 5), HEADER)
    assert kit.tick(place) == 0
    of_its_risk = "if(probability < 0.3, 'low', if(probability < 0.6, 'medium', 'high'))"
    assert listed(place, f"count(*), count(*) FILTER (band = {of_its_risk})") == [(50, 50)]


def test_a_list_that_an_earlier_release_left_half_changed_is_made_anew(place, tmp_path, monkeypatch):
    """It went on with the lines that were there, by whatever words these had been made."""
    edited(place, new="bands: {medium: 0.01, high: 0.02}\n")
    with sqlite3.connect(place.book) as db:
        for column in ("scored_by", "outcomes"):
            db.execute(f"ALTER TABLE state DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 2")
    waited = []
    monkeypatch.setattr(backups, "time", SimpleNamespace(time=time.time, sleep=waited.append))
    assert kit.command("backup", place, dest=tmp_path / "copy", portfolio=None) == 0
    assert not waited, "nobody publishes: the copy is only newer in form"
    assert kit.tick(place) == 0
    assert listed(place, "DISTINCT band") == [("high",)]
    before = runs(place)
    assert kit.tick(place) == 0
    assert runs(place) == before


@pytest.mark.parametrize("closed_by", ["the tick that reads the YAML", "another command, after such a tick was killed"])
def test_a_list_of_a_run_that_was_killed_before_its_yaml_changed_is_made_anew(place, monkeypatch, closed_by):
    """It came to be known when the new YAML had been looked at: no later tick looked again."""

    def killed_at(owner, name):
        def cut(*_given, **_more):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, cut)
            with pytest.raises(KeyboardInterrupt):
                kit.tick(place)

    kit.drop(place, "second.csv", lines(2, 5), HEADER)
    killed_at(Book, "finished")
    edited(place, new="bands: {medium: 0.01, high: 0.02}\n")
    if closed_by.startswith("another"):
        killed_at(visit, "recover")
        assert kit.command("forget", place, client="nobody", reason="asked for") == 0
    assert kit.tick(place) == 0
    assert listed(place, "DISTINCT band") == [("high",)]
    before = runs(place)
    assert kit.tick(place) == 0
    assert runs(place) == before, "once is enough"


@pytest.mark.parametrize("how", ["killed, and the change taken back", "by -p"])
def test_a_champion_of_another_yaml_than_that_of_now_is_replaced(place, how):
    """The YAML was known to be good, of the champion before: nobody was scored, and ticks ended well."""
    kit.drop(place, "second.csv", lines(2, 1), HEADER)  # with which the stage's rule promotes what is trained
    if how == "by -p":
        assert kit.tick(place, wish=Wish(force=True, given=(("show", "[fee]"),))) == 0
    else:

        def killed(notebook, *given, **more):
            if "60_diagnose" in str(notebook):
                raise KeyboardInterrupt
            return kit.execute(notebook, *given, **more)

        edited(place, new="show: [fee]\n")
        with pytest.raises(KeyboardInterrupt):
            kit.tick(place, executing=killed)
        edited(place, "show: [fee]\n", "")
    with Book.open(place.book, read_only=True) as book:
        assert book.state().champion == "0002"
    assert kit.tick(place) == 0
    with Book.open(place.book, read_only=True) as book:
        champion = book.state().champion
    assert registry.read_manifest(place.models / champion).fits(params.load(place.params))
    assert listed(place, "count(DISTINCT id), min(model_version), max(model_version)") == [(41, champion, champion)]


def test_sources_that_come_with_other_features_are_asked_while_no_model_knows_these(place, tmp_path):
    """Where too few clients count to train another, the rows that are wanted may wait there."""
    more = f'show: [fee]\nsources: [{{name: exports, url: "file://{tmp_path}/"}}]\n'
    edited(place, new=more)
    with Book.open(place.book) as book:
        due.settle_time(place, book)
        assert (due.outgrown(place, book), bool(book.state().sources)) == (True, True)
        edited(place, more, "")
        due.settle_time(place, book)
        assert (due.outgrown(place, book), bool(book.state().sources)) == (False, False)


def test_what_changes_no_line_of_the_list_has_nobody_scored_anew(place):
    edited(place, new="rules: {tolerance: 0.4}\ndeadline: 60\n")
    before = runs(place)
    assert kit.tick(place) == 0
    assert runs(place) == before
    with Book.open(place.book, read_only=True) as book:
        assert book.state().params_sha256 == params.load(place.params).sha256, "it was read"


def test_an_outcome_that_means_something_else_is_refused_and_nothing_is_lost(place, capfd):
    """Rows that are there keep what they meant: with the new ones beside them nobody could tell who left."""
    swapped = 'target: {column: left, positive: "0", negative: "1"}'
    edited(place, "target: {column: left}", swapped)
    kit.drop(place, "second.csv", lines(2, 5), HEADER)
    assert kit.tick(place) == 2
    said = capfd.readouterr().err
    assert re.search(r"target: positive and negative were '1' and '0' .* and are '0' and '1' now.* a new name", said)
    assert (place.incoming / "second.csv").exists()
    edited(place, swapped, "target: {column: left}")
    assert kit.tick(place) == 0
    assert listed(place) == [(45, 45)]


def test_a_yaml_that_is_saved_while_a_tick_is_at_work_is_the_next_ones(place):
    """A stage that read it then took rows in by other words than the tick was checked by: both meanings, for good."""
    came = lines(2, 20)
    kit.drop(place, "second.csv", came, HEADER)

    def saved(*given, **more):
        edited(place, "target: {column: left}", 'target: {column: left, positive: "0", negative: "1"}')
        return kit.execute(*given, **more)

    assert kit.tick(place, executing=saved) == 0
    left = duckdb.execute(f"SELECT sum(\"left\") FROM '{place.clients}/*.parquet' WHERE _version = 2").fetchone()
    assert left == (sum(line.endswith("1") for line in came),)
    assert not [path for path in place.executed.rglob("*") if path.name == ".params"]
    assert kit.tick(place) == 2


@pytest.mark.parametrize("how", ["by -p", "killed before the book knew"])
def test_what_an_outcome_means_is_what_the_first_rows_were_read_by(tmp_path, monkeypatch, how):
    place = kit.home(tmp_path / "home")
    kit.drop(place, "first.csv", kit.rows(1, 40))
    if how == "by -p":
        assert kit.tick(place, wish=Wish(given=(("target.positive", "0"), ("target.negative", "1")))) == 0
    else:

        def cut(*_given, **_more):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Book, "ingested", cut)
            with pytest.raises(KeyboardInterrupt):
                kit.tick(place)
        edited(place, "target: {column: left}", 'target: {column: left, positive: "0", negative: "1"}')
    kit.drop(place, "second.csv", kit.rows(2, 5))
    assert kit.tick(place) == 2
    assert (place.incoming / "second.csv").exists()


@pytest.mark.parametrize(("left", "horizon"), [("whole", 30), ("torn", "?"), ("pruned", "?")])
def test_what_a_model_of_an_earlier_release_was_asked_its_run_remembers(place, tmp_path, left, horizon):
    edited(place, new="horizon: 30d\n")
    kit.drop(place, "late.csv", lines(4, 40, "2026-06-01"), HEADER)
    assert kit.tick(place, wish=Wish(force=True)) == 0
    edited(place, "horizon: 30d\n", "")
    folder = place.models / "0002"
    registry.rewrite(folder, asks={})
    begun = place.executed / registry.read_manifest(folder).run / "before.json"
    if left != "whole":
        begun.write_text(begun.read_text()[:40]) if left == "torn" else begun.unlink()
    _, manifest = Stage.open(str(place.root), place.name, str(place.root / "scratch")).model("0002")
    assert manifest.asks.get("horizon", "?") == horizon
    kit.drop(place, "last.csv", lines(5, 5), HEADER)
    assert kit.tick(place) == 0
    newest = max(place.executed.glob("2*"), key=lambda path: path.name.rpartition("-")[2])
    then, _ = past.rebuild(place, Run.read(newest), tmp_path / "then")
    _, again = Stage.open(str(then.root), place.name, str(tmp_path)).model("0002")
    assert again.asks == manifest.asks, "of a replay too"
    portfolio = params.load(place.params)
    assert manifest.otherwise(portfolio) == ("horizon is none, and was 30" if left == "whole" else "")


def test_a_forgetting_that_was_cut_short_goes_on_by_the_id_that_it_began_with(place, monkeypatch, capfd):
    """By another one it took somebody else, for good."""
    his, hers = lines(9, 2)
    kit.drop(place, "second.csv", [his.replace("acc-c9-0", "c9-1"), hers], HEADER)
    assert kit.tick(place) == 0

    def cut(*_given):
        raise OSError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(scrub, "tables", cut)
        assert kit.command("forget", place, client="c9-1", reason="asked for") == 1
    edited(place, "id: client", "id: account")
    edited(place, "  client:", "  customer:")
    assert kit.tick(place) == 2
    assert "forgotten by 'client', which is no column now" in capfd.readouterr().err
    edited(place, "  customer:", "  client:")
    assert kit.tick(place) == 0
    left = duckdb.execute(f"SELECT client FROM '{place.clients}/*.parquet' WHERE client LIKE 'c9-%'").fetchall()
    assert left == [("c9-0",)]


def assessed(place):
    """What was ever said of a client: where, by the number of the row and the id of that time."""
    files = {path: path.parent.name for path in place.executed.glob("*/*.parquet")}
    files |= dict.fromkeys(place.scores.glob("*.parquet"), "scores") | {place.ranking: "ranking"}
    return sorted(
        (where, *line)
        for path, where in files.items()
        for line in duckdb.execute(f"SELECT _row, id, probability FROM '{path}'").fetchall()
    )


@pytest.mark.parametrize("cut", ["not", "after clients/", "after scores/"])
def test_who_had_another_id_before_goes_from_what_was_made_by_that_one(place, monkeypatch, capfd, cut):
    """With risk and reasons; but nobody who shared that id."""
    for name, day in (("his", "2026-02-01"), ("hers", "2026-02-02")):
        (line,) = lines(9, 1, day)
        kit.drop(place, f"{name}.csv", [line.replace("acc-c9-0", name)], HEADER)
        assert kit.tick(place) == 0
    edited(place, "id: client", "id: account")
    kit.drop(place, "next.csv", lines(2, 5), HEADER)
    assert kit.tick(place) == 0
    before = assessed(place)
    assert {each for _, row, each, _ in before if row == 41} == {"c9-0", "his"}
    rewrite = delta.rewrite

    def killed(folder, *given):
        if cut == "after clients/" and folder == place.scores:
            raise OSError("cut")
        rewrite(folder, *given)
        if cut == "after scores/" and folder == place.scores:
            raise OSError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(delta, "rewrite", killed)
        assert kit.command("forget", place, client="his", reason="asked for") == (0 if cut == "not" else 1)
    if cut != "not":
        assert kit.tick(place) == 0
    assert assessed(place) == [each for each in before if each[1] != 41]
    assert not place.forgetting.exists()
    said = json.loads((max(place.executed.glob("2*")) / "run.json").read_text())["reason"]
    assert "known by another id before" in said
    assert "c9-0" not in said
    assert "known by another id before" in capfd.readouterr().out or cut != "not"


def test_by_the_id_of_before_the_rest_is_forgotten_too(place, capfd):
    edited(place, "id: client", "id: account")
    assert kit.tick(place) == 0
    (run, *_) = sorted(place.executed.glob("2*"))
    (run / "70_assess.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "c1-7 leaves", "outputs": []}]}')
    assert kit.command("forget", place, client="acc-c1-7", reason="asked for") == 0
    assert "known by another id before" in capfd.readouterr().out
    edited(place, "id: account", "id: client")
    assert kit.command("forget", place, client="c1-7", reason="asked for") == 0
    assert "before, and" not in capfd.readouterr().out
    edited(place, "id: client", "id: account")
    assert kit.tick(place) == 0
    texts = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}
    assert [path for path, text in texts.items() if re.search(rb"c1-7(?!\d)", text)] == []
    assert listed(place) == [(39, 39)]


def test_who_is_there_under_a_number_that_somebody_had_before_stays(place):
    """The number of the last row is given again when its client is gone."""
    kit.drop(place, "last.csv", lines(8, 1), HEADER)
    assert kit.tick(place) == 0
    edited(place, "id: client", "id: account")
    assert kit.tick(place) == 0
    assert kit.command("forget", place, client="acc-c8-0", reason="asked for") == 0
    before = assessed(place)
    kit.drop(place, "next.csv", lines(9, 1), HEADER)
    assert kit.tick(place) == 0
    assert {each for _, row, each, _ in assessed(place) if row == 41} == {"acc-c9-0"}
    assert kit.command("forget", place, client="acc-c9-0", reason="asked for") == 0
    of_runs = [each for each in assessed(place) if each[0] != "ranking" and each in before]
    assert of_runs == [each for each in before if each[0] != "ranking"]


def test_before_its_first_row_an_outcome_may_come_to_mean_anything(tmp_path):
    place = kit.home(tmp_path / "home")
    assert kit.tick(place) == 0
    edited(place, "target: {column: left}", "target: {column: left, positive: gone}")
    kit.drop(place, "first.csv", [line[:-1] + {"1": "gone", "0": "0"}[line[-1]] for line in kit.rows(1, 40)])
    assert kit.tick(place) == 0
    assert listed(place) == [(40, 40)]
