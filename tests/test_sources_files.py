"""Files behind an fsspec URL: each fetched once, again when it changed, whole or not at all."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from pipeline_kit import CAPSTONE, capstone, here, quick, reports, tree
from test_commits import AT, STAMP

from attrition import params, safe
from attrition.book import Book
from attrition.commits import commit_ingest, settle_drops
from attrition.home import Home, Place
from attrition.runs import Run
from attrition.sources import fetch as fetching
from attrition.sources import files
from attrition.store.clients import Clients
from attrition.store.drops import is_drop
from attrition.store.ingest import ingest

ONE, TWO = (path.read_bytes() for path in sorted((CAPSTONE / "practicedata").iterdir()))
OLD = 1_700_000_000


@pytest.fixture(autouse=True)
def _needs_fsspec() -> None:
    require(find_spec("fsspec") is not None, "no fsspec: pip install 'attrition[files]'")


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system in this process."""
    from fsspec.implementations.memory import MemoryFileSystem

    system = MemoryFileSystem()
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def shop(root: Path, url: str, *more: str) -> Place:
    place = capstone(root).place("capstone")
    with place.params.open("a") as file:
        file.write("\n".join(["sources:", "  - name: exports", f"    url: {url}", *more, ""]))
    return place


def asked(place: Place) -> dict[str, Any]:
    with Book.open(place.book) as book:
        said = fetching.fetch(place, params.load(place.params), book)
        book.marked(said["seen"])
    return dict(said["sources"]["exports"])


def take(place: Place) -> list[tuple[str, int, int]]:
    """Ask, ingest and commit as a tick does: what the ledger says of each new drop."""
    assert asked(place)["failed"] is None
    drops = sorted(path for path in place.incoming.iterdir() if is_drop(path.name))
    if not drops:
        return []
    portfolio = params.load(place.params)
    with Book.open(place.book) as book:
        name, sequence = book.begin(STAMP, AT)
        run = Run.start(place, name, AT, {})
        ingest(portfolio, Clients(portfolio, place.clients), drops, run.folder, run=name)
        commit_ingest(place, portfolio, book, sequence, run)
        settle_drops(place, run)
        lines = book.drops(name)
    assert list(place.incoming.iterdir()) == []
    return [(line["name"].split("-", 2)[2], line["ingested"], line["duplicates"]) for line in lines]


def put(system: Any, path: str, content: bytes) -> None:
    with system.open(path, "wb") as file:
        file.write(content)


def test_a_file_is_fetched_once_and_again_when_it_changed(memory: Any, tmp_path: Path) -> None:
    put(memory, "/exports/a.csv", ONE)
    place = shop(tmp_path, "memory://exports/")
    assert take(place) == [("a.csv", 17, 0)]
    assert take(place) == []
    put(memory, "/exports/b.csv.gz", gzip.compress(TWO))
    put(memory, "/exports/.c.csv", TWO)
    put(memory, "/exports/d.csv.tmp", TWO)
    put(memory, "/exports/below/e.csv", TWO)
    assert take(place) == [("b.csv.gz", 9, 10)]
    put(memory, "/exports/a.csv", ONE + b"new,1,2,3,1\n")
    assert take(place) == [("a.csv", 1, 17)]


@pytest.mark.parametrize("url", ["memory://exports/2026-*/*.csv", "memory://exports/2026-01/a.csv"])
def test_a_pattern_and_a_file_by_name(memory: Any, tmp_path: Path, url: str) -> None:
    put(memory, "/exports/2026-01/a.csv", ONE)
    put(memory, "/exports/other/b.csv", TWO)
    assert take(shop(tmp_path, url)) == [("a.csv", 17, 0)]


def test_the_same_content_under_a_new_stamp_is_remembered_and_not_taken(memory: Any, tmp_path: Path) -> None:
    put(memory, "/exports/a.csv", ONE)
    place = shop(tmp_path, "memory://exports")
    take(place)
    with Book.open(place.book, read_only=True) as book:
        before = book.mark("exports", "/exports/a.csv")
    put(memory, "/exports/a.csv", ONE)
    assert take(place) == []
    with Book.open(place.book, read_only=True) as book:
        after = book.mark("exports", "/exports/a.csv")
    assert (before["sha256"], before["stamp"] != after["stamp"]) == (after["sha256"], True)


def test_two_files_of_one_name_are_two_drops(memory: Any, tmp_path: Path) -> None:
    put(memory, "/exports/1/a.csv", ONE)
    put(memory, "/exports/2/a.csv", TWO)
    found = take(shop(tmp_path, "memory://exports/*/a.csv"))
    assert [name for name, *_ in found] == ["a.csv", "a.csv"]
    assert sum(ingested for _, ingested, _ in found) == 26


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_tick(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "/exports/a.csv", ONE[: len(ONE) // 2])
    place = shop(tmp_path, "memory://exports")
    copy = files._copy

    def growing(system: Any, path: str, target: Path) -> str:
        found = copy(system, path, target)
        put(system, path, ONE)
        return str(found)

    with monkeypatch.context() as patch:
        patch.setattr("attrition.sources.files._copy", growing)
        assert asked(place) == {"drops": 0, "failed": None}
    assert list(place.incoming.iterdir()) == []
    assert take(place) == [("a.csv", 17, 0)]


def test_a_young_file_on_a_disk_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "a.csv").write_bytes(ONE)
    place = shop(tmp_path / "home", f"file://{folder}")
    assert asked(place)["drops"] == 0
    os.utime(folder / "a.csv", (OLD, OLD))
    assert take(place) == [("a.csv", 17, 0)]


def test_what_a_process_left_half_done_is_cleared_away(memory: Any, tmp_path: Path) -> None:
    put(memory, "/exports/a.csv", ONE)
    place = shop(tmp_path, "memory://exports")
    (place.incoming / ".exports-0-a.csv.fetched").write_bytes(ONE[:9])
    assert take(place) == [("a.csv", 17, 0)]


@pytest.mark.parametrize("before", ["", "simplecache::"])
def test_a_pattern_in_a_folder_that_is_gone_is_told_and_one_that_nothing_meets_is_not(
    tmp_path: Path, before: str
) -> None:
    folder = tmp_path / "mounted" / "exports"
    place = shop(tmp_path / "home", f"{before}file://{folder}/2026-*/*.csv")
    gone = {"drops": 0, "failed": "there is no such file or folder"}
    assert asked(place) == gone
    (folder / "2026-01").mkdir(parents=True)
    assert asked(place) == {"drops": 0, "failed": None}
    (folder / "2026-01" / "a.csv").write_bytes(ONE)
    os.utime(folder / "2026-01" / "a.csv", (OLD, OLD))
    assert take(place) == [("a.csv", 17, 0)]
    folder.rename(tmp_path / "elsewhere")
    assert asked(place) == gone


def test_a_pattern_in_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    place = shop(tmp_path, f"file://{tmp_path}/{'x' * 300}/*.csv")
    assert asked(place)["failed"] == "its files cannot be read (OSError)"


def test_an_object_store_knows_no_folders_so_that_none_is_missing(memory: Any, tmp_path: Path) -> None:
    assert asked(shop(tmp_path, "memory://exports/2026-*/*.csv")) == {"drops": 0, "failed": None}


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("memory://nowhere", [], "there is no such file or folder"),
        ("what://bucket", [], "fsspec does not know this kind of URL"),
        ("memory://x", ["    options: NOT_SET"], "the environment has no NOT_SET: set it to the options"),
        ("memory://x", ["    options: ODD"], "ODD is no JSON object: write options as"),
    ],
)
def test_what_is_wrong_is_said(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, more: list[str], says: str
) -> None:
    monkeypatch.setenv("ODD", "key=hidden")
    assert says in asked(shop(tmp_path, url, *more))["failed"]


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    failed = asked(shop(tmp_path, "s3://bucket/x"))["failed"]
    assert "this kind of URL needs a library of its own: Install s3fs" in failed
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert asked(Home(tmp_path).place("capstone"))["failed"] == (
        "a source with url needs fsspec: pip install 'attrition[files]'"
    )


def test_a_driver_that_breaks_tells_no_secret(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIONS", '{"key": "hidden-word"}')

    def breaks(*given: Any) -> None:
        raise RuntimeError(f"with hidden-word {given}")

    monkeypatch.setattr("attrition.sources.files._listed", breaks)
    failed = asked(shop(tmp_path, "memory://x", "    options: OPTIONS"))["failed"]
    assert failed == "its files cannot be read (RuntimeError)"


def test_a_yaml_that_an_earlier_version_took_is_told_where_its_sources_are_asked(tmp_path: Path) -> None:
    place = shop(tmp_path / "home", "simplecache::https://user:hidden-word@h/x.csv")
    with Book.open(place.book) as book:
        book.checked(safe.sha256(place.params), 0, sources=True)
    done = here(Home(place.root), "tick", "capstone")
    assert done.returncode == 1
    assert "the sources could not be asked" in done.stdout
    assert "sources.0: url: no password in the YAML" in done.stdout
    assert "hidden-word" not in done.stdout + done.stderr


def test_one_source_that_fails_stops_neither_the_next_nor_the_drops(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    for name, content in (("a.csv", ONE), ("b.csv", TWO)):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (OLD, OLD))
    place = shop(tmp_path / "home", "file:///nowhere/at/all", "  - name: second", f"    url: file://{folder}/*.csv")
    (place.incoming / "laid.csv").write_bytes(ONE)
    stages = str(quick(tmp_path / "notebooks"))
    done = here(Home(place.root), "tick", "capstone", ATTRITION_NOTEBOOKS=stages)
    assert done.returncode == 1, "cron is to know"
    assert "source exports: there is no such file or folder; nothing is lost, the next tick asks again" in done.stdout
    assert "source second: 2 new" in done.stdout
    (report,) = reports(place)
    assert (report["status"], report["rows"]["in"]) == ("completed", 53)
    before = tree(place.taken)
    again = here(Home(place.root), "tick", "capstone", ATTRITION_NOTEBOOKS=stages)
    assert (again.returncode, len(reports(place)), tree(place.taken)) == (1, 1, before)
    with Book.open(place.book, read_only=True) as book:
        assert book.quiet_since() is None, "whoever watches for a good tick is to see none"
