"""What was set aside is listed, and a corrected file brings it back; the ledger stays exact."""

import getpass
import json
import signal
import subprocess
import sys

import pytest
from pipeline_kit import BARE, capstone, here
from test_commits import AT, STAMP

from attrition import due, params
from attrition.book import Book
from attrition.commits import commit_ingest, settle_drops
from attrition.runs import Run
from attrition.signals import Stop
from attrition.store.clients import Clients
from attrition.store.drops import is_drop, waiting
from attrition.store.ingest import ingest
from campaign import kit

HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"
WORDS = f"{HEADER}\naa,1,2,3,1\nbb,many,2,3,0\ncc,\x1b[31m,2,3,1\n"
SEMICOLONS = f"{HEADER}\ndd,1,2,3,1\n".replace(",", ";")

SHOP = """
title: Shop
id: client
as_of: day
columns: {client: {type: text}, day: {type: date}, seats: {type: integer}}
target: {column: left}
"""


@pytest.fixture
def home(tmp_path):
    """A home after a tick that set two rows of one file aside, and the whole of another."""
    home = capstone(tmp_path / "home")
    place = home.place("capstone")
    (place.incoming / "words.csv").write_text(WORDS)
    (place.incoming / "semicolons.csv").write_text(SEMICOLONS)
    take(place)
    return home


def take(place):
    """Ingest and commit what waits, as a tick does; the lines of the ledger."""
    portfolio = params.load(place.params)
    with Book.open(place.book) as book:
        name, sequence = book.begin(STAMP, AT)
        run = Run.start(place, name, AT, {})
        drops = sorted(path for path in place.incoming.iterdir() if is_drop(path.name))
        ingest(portfolio, Clients(portfolio, place.clients), drops, run.folder, run=name)
        commit_ingest(place, portfolio, book, sequence, run)
        settle_drops(place, run)
        return book.drops(name)


def as_json(home, *words):
    done = here(home, "quarantine", "capstone", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_rows_are_listed_with_file_line_reason_and_text(home):
    found = as_json(home)
    assert [(row["file"], row["line"], row["reason"]) for row in found] == [
        ("words.csv", 3, "lastmonth_activity: 'many' is not a whole number"),
        ("words.csv", 4, "lastmonth_activity: '\\x1b[31m' is not a whole number"),
        ("semicolons.csv", None, "found ';' between the columns, not ',': set delimiter in the YAML"),
    ]
    assert (found[1]["raw"], found[1]["fields"]) == ("cc,\x1b[31m,2,3,1", ["cc", "\x1b[31m", "2", "3", "1"])
    assert len(as_json(home, "--limit", "1")) == 2


def test_a_person_reads_it_and_no_text_steers_the_terminal(home):
    said = here(home, "quarantine", "capstone", "--limit", "1").stdout
    assert "words.csv (20260301T031500Z-0001): 2 of 3 rows set aside" in said
    assert "line 3: lastmonth_activity: 'many' is not a whole number: bb,many,2,3,0\n" in said
    assert "… and 1 more" in said
    assert "semicolons.csv (20260301T031500Z-0001): all of it set aside" in said
    assert "\x1b" not in here(home, "quarantine", "capstone").stdout


def test_a_corrected_file_is_taken_in_and_recorded(home, tmp_path):
    place = home.place("capstone")
    corrected = tmp_path / "words.csv"
    corrected.write_text(WORDS.replace("many", "7"))
    done = here(home, "quarantine", "capstone", "--release", str(corrected))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(as_json(home)) == 3, "until its rows are committed nothing is released"
    (line,) = take(place)
    counts = ("name", "rows_in", "ingested", "duplicates", "quarantined")
    assert [line[each] for each in counts] == ["words.csv", 3, 1, 1, 1]
    assert line["notes"] == ["run 20260301T031500Z-0001 took a file of this name with other content"]
    assert [(row["run"][-4:], row["file"], row["line"]) for row in as_json(home)] == [
        ("0002", "words.csv", 4),
        ("0001", "semicolons.csv", None),
    ]
    released = [row for row in as_json(home, "--all") if row["released"]]
    assert [(row["line"], row["released"]["by"]) for row in released] == [
        (3, getpass.getuser()),
        (4, getpass.getuser()),
    ]
    with Book.open(place.book, read_only=True) as book:
        first = next(line for line in book.drops("20260301T031500Z-0001") if line["name"] == "words.csv")
    assert [first[each] for each in counts] == ["words.csv", 3, 1, 0, 2], "the account of the first stays as it was"
    assert Clients(params.load(place.params), place.clients).rows == 2


def test_who_has_a_number_and_no_name_is_recorded_by_it(home, tmp_path, monkeypatch):
    """As in a container that runs as another user: `getpass` asks the system, which knows none."""
    place, corrected = home.place("capstone"), tmp_path / "words.csv"
    corrected.write_text(WORDS.replace("many", "7"))
    monkeypatch.setattr("os.getuid", lambda: 2_000_111_222)
    done = here(home, "quarantine", "capstone", "--release", str(corrected))
    assert (done.returncode, done.stderr) == (0, "")
    take(place)
    assert {row["released"]["by"] for row in as_json(home, "--all") if row["released"]} == {"uid 2000111222"}


def test_a_whole_file_comes_back(home, tmp_path):
    corrected = tmp_path / "semicolons.csv"
    corrected.write_text(SEMICOLONS.replace(";", ","))
    assert here(home, "quarantine", "capstone", "--release", str(corrected)).returncode == 0
    (line,) = take(home.place("capstone"))
    assert (line["ingested"], line["moved_to"]) == (1, "taken")
    assert {row["file"] for row in as_json(home)} == {"words.csv"}


def test_the_same_file_comes_back_if_it_was_the_yaml_that_was_wrong(home, tmp_path):
    place, same = home.place("capstone"), tmp_path / "semicolons.csv"
    same.write_text(SEMICOLONS)
    (aside,) = (each for each in as_json(home) if each["file"] == same.name)
    place.executed.joinpath(aside["run"]).mkdir(parents=True)
    about = {"params_sha256": params.load(place.params).sha256}
    place.executed.joinpath(aside["run"], "run.json").write_text(json.dumps(about))
    assert here(home, "quarantine", "capstone", "--release", str(same)).returncode == 2
    place.params.write_text(place.params.read_text() + "\ndelimiter: ';'\n")
    assert here(home, "quarantine", "capstone", "--release", str(same)).returncode == 0
    (line,) = take(place)
    assert (line["ingested"], line["moved_to"]) == (1, "taken")


def test_of_two_files_of_one_name_the_run_says_which_is_corrected(home, tmp_path):
    place, corrected = home.place("capstone"), tmp_path / "words.csv"
    (place.incoming / "words.csv").write_text(WORDS.replace("many", "lots"))
    take(place)
    corrected.write_text(WORDS.replace("many", "7"))
    done = here(home, "quarantine", "capstone", "--release", str(corrected))
    runs = [f"20260301T031500Z-000{number}" for number in (2, 1)]
    assert done.returncode == 2
    assert f"files of this name were set aside by {', '.join(runs)}: name one of them with --run" in done.stderr
    assert here(home, "quarantine", "capstone", "--release", str(corrected), "--run", runs[1]).returncode == 0
    take(place)
    assert {row["run"][-4:] for row in as_json(home) if row["file"] == "words.csv"} == {"0002", "0003"}
    assert here(home, "quarantine", "capstone", "--release", str(corrected), "--run", "none").returncode == 2


def test_an_outcome_that_came_before_its_client_comes_back_as_it_is(tmp_path):
    home = capstone(tmp_path / "home")
    place, told = home.place("shop"), tmp_path / "told.csv"
    place.params.write_text(SHOP)
    place.incoming.mkdir(parents=True)
    told.write_text("client,day,left\nann,2026-01-31,1\n")
    (place.incoming / "told.csv").write_text(told.read_text())
    assert take(place)[0]["reasons"] == {"no row of this client and date": 1}
    (place.incoming / "rows.csv").write_text("client,day,seats,left\nann,2026-01-31,3,\n")
    take(place)
    done = here(home, "quarantine", "shop", "--release", str(told))
    assert (done.returncode, done.stderr) == (0, "")
    assert [line["ingested"] for line in take(place)] == [1]
    assert "nothing is set aside" in here(home, "quarantine", "shop").stdout


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("other.csv", WORDS, "other.csv: no file of this name has rows set aside; there is words.csv, semicolons.csv"),
        ("words.csv", WORDS, "words.csv is as it was when it was set aside: correct it first, or the YAML"),
        ("words.csv", None, "no such file"),
    ],
)
def test_what_cannot_be_released_says_why(home, tmp_path, name, content, says):
    if content:
        (tmp_path / name).write_text(content)
    done = here(home, "quarantine", "capstone", "--release", str(tmp_path / name))
    assert done.returncode == 2
    assert says in done.stderr
    assert [path for path in home.place("capstone").incoming.iterdir() if is_drop(path.name)] == []


def test_a_second_release_waits_for_the_first(home, tmp_path):
    corrected = tmp_path / "words.csv"
    corrected.write_text(WORDS.replace("many", "7"))
    assert here(home, "quarantine", "capstone", "--release", str(corrected)).returncode == 0
    again = here(home, "quarantine", "capstone", "--release", str(corrected))
    assert again.returncode == 2
    assert "is there already: it waits for the next tick" in again.stderr


def killed(home, at, *words):
    """The runner, killed in the place of the first call of a function."""
    code = f"import os, pathlib, runner; from attrition import safe; {at} = lambda *_: os.kill(os.getpid(), 9)"
    bare = {**BARE, "ATTRITION_HOME": str(home.root)}
    command = [sys.executable, "-c", f"{code}; runner.main({list(words)!r})"]
    return subprocess.run(command, env=bare, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("at", ["safe.sync", "pathlib.Path.replace", "safe.move"])
def test_of_a_release_that_was_killed_nothing_stays(home, tmp_path, at):
    place, corrected = home.place("capstone"), tmp_path / "words.csv"
    corrected.write_text(WORDS.replace("many", "7"))
    foreign = {".words.csv.1.tmp", ".other.mark"}  # of somebody else's tool
    for name in foreign:
        (place.incoming / name).touch()
    assert killed(home, at, "quarantine", "capstone", "--release", str(corrected))
    assert {path.name for path in place.incoming.iterdir()} > foreign
    assert due.drops(place, 0.0, Stop()) == []
    assert {path.name for path in place.incoming.iterdir()} == foreign
    assert here(home, "quarantine", "capstone", "--release", str(corrected)).returncode == 0
    assert len(take(place)) == 1
    assert {path.name for path in place.incoming.iterdir()} == foreign
    assert {row["run"][-4:] for row in as_json(home) if row["file"] == "words.csv"} == {"0002"}


def test_a_release_that_was_killed_vouches_for_no_later_file_of_the_name(home, tmp_path):
    place, corrected = home.place("capstone"), tmp_path / "words.csv"
    corrected.write_text(WORDS.replace("many", "7"))
    assert killed(home, "safe.move", "quarantine", "capstone", "--release", str(corrected))
    with (place.incoming / "words.csv").open("w") as upload:
        upload.write(WORDS)
        upload.flush()
        assert due.drops(place, 0.0, Stop()) == []
        upload.write("dd,1,2,3,1\n")
    assert due.drops(place, 0.0, Stop()) == [place.incoming / "words.csv"]
    assert [line["rows_in"] for line in take(place)] == [4]
    assert list(place.incoming.iterdir()) == []
    assert {row["run"][-4:] for row in as_json(home, "--all") if not row["released"]} == {"0001", "0002"}


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", "ж" * 125 + ".csv"])
def test_a_file_of_the_longest_name_is_taken_in_set_aside_and_released_as_any_other(home, tmp_path, name):
    place, corrected = home.place("capstone"), tmp_path / name
    (place.incoming / name).write_text(WORDS)
    take(place)
    assert due.drops(place, 0.0, Stop()) == []
    corrected.write_text(WORDS.replace("many", "7"))
    assert here(home, "quarantine", "capstone", "--release", str(corrected)).returncode == 0
    assert due.drops(place, 3600.0, Stop()) == [place.incoming / name]
    assert take(place)[0]["rows_in"] == 3
    assert list(place.incoming.iterdir()) == []
    assert [row["run"][-4:] for row in as_json(home) if row["file"] == name] == ["0003"]


def test_what_is_released_need_not_lie_still_first(home, tmp_path):
    place, corrected = home.place("capstone"), tmp_path / "words.csv"
    corrected.write_text(WORDS.replace("many", "7"))
    assert here(home, "quarantine", "capstone", "--release", str(corrected)).returncode == 0
    drop = place.incoming / "words.csv"
    assert waiting(place.incoming, 3600.0, drop.stat().st_mtime).ready == [drop]
    drop.write_text(WORDS)
    assert waiting(place.incoming, 3600.0, drop.stat().st_mtime).ready == []


def test_nothing_set_aside(tmp_path):
    home = capstone(tmp_path)
    assert "no tick has run yet" in here(home, "quarantine", "capstone").stderr
    take(home.place("capstone"))
    assert here(home, "quarantine", "capstone").stdout == "capstone: nothing is set aside\n"


def test_a_book_of_an_earlier_version_gets_what_it_lacks(home):
    place = home.place("capstone")
    with Book.open(place.book) as book:
        book._db.executescript(
            "DROP TABLE marks; DROP INDEX drops_by_name; ALTER TABLE state DROP COLUMN sources;"
            "ALTER TABLE state DROP COLUMN scored_by; ALTER TABLE state DROP COLUMN outcomes; PRAGMA user_version = 1"
        )
    assert len(as_json(home)) == 3


def test_a_drop_that_is_called_as_anothers_rejected_rows_comes_after_it(tmp_path):
    """In one run the rejected rows were taken for what had replaced it, put back, and counted once more."""
    place = kit.home(tmp_path / "home")
    kit.drop(place, "c.csv", [*kit.rows(1, 20), "nobody,2026-01-05,Gold,3,1.0,1"])
    kit.drop(place, "c.csv.jsonl", ["no object"])
    assert [kit.tick(place), kit.tick(place)] == [0, 0]
    with Book.open(place.book, read_only=True) as book:
        told = [(drop["name"], drop["rows_in"]) for run in reversed(book.runs(9)) for drop in book.drops(run["run"])]
        kept = [json.loads(line) for drop in book.drops(book.runs(9)[-1]["run"]) for line in rejected_rows(place, drop)]
    assert [name for name, _ in told] == ["c.csv", "c.csv.jsonl"]
    assert told[0][1] == 21
    assert [row["line"] for row in kept] == [22]


def rejected_rows(place, drop):
    return (place.quarantine / drop["run"] / f"{drop['name']}.jsonl").read_text().splitlines()
