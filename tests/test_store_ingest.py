from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import COLUMNS, DATA, HEADER, PARAMS, ROW, SEED, SOURCE, Shop, csv, portfolio

from attrition import params
from attrition.store.check import Checked, accounted
from attrition.store.ingest import Ingest, _buckets


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, portfolio())


def test_the_first_data_sets(tmp_path: Path) -> None:
    shop = Shop(tmp_path, params.load(PARAMS / "capstone.yaml"))
    first = shop.take(*SEED)
    assert first.rows == {"in": 36, "ingested": 26, "duplicates": 10, "quarantined": 0}
    assert [(drop.rows_in, drop.ingested, drop.duplicates) for drop in first.drops] == [(17, 17, 0), (19, 9, 10)]
    second = shop.take(*SOURCE)
    assert second.rows == {"in": 26, "ingested": 26, "duplicates": 0, "quarantined": 0}
    assert (second.ingest, second.data_version) == (2, 2)


def test_again_is_all_duplicates_and_no_version(tmp_path: Path) -> None:
    shop = Shop(tmp_path, params.load(PARAMS / "telco.yaml"))
    shop.take(DATA / "telco_sample.csv")
    again = shop.take(DATA / "telco_sample.csv")
    assert again.rows == {"in": 500, "ingested": 0, "duplicates": 500, "quarantined": 0}
    assert (again.ingest, again.data_version, again.files) == (1, 1, [])
    assert shop.clients.version == 1


def test_missing_equals_missing_and_differing_rows_are_two(shop: Shop, tmp_path: Path) -> None:
    bare = "ann,2026-01-31,Team,3,,yes,"
    shop.take(csv(tmp_path, ROW, bare, bare))
    done = shop.take(csv(tmp_path, bare, "ann,2026-01-31,Team,3,,yes,0", ROW.replace("9.5", "9.50"), name="next.csv"))
    assert done.rows == {"in": 3, "ingested": 1, "duplicates": 2, "quarantined": 0}


def test_a_hash_alone_is_no_duplicate(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attrition.store.canonical.hashed", lambda portfolio: "CAST(7 AS BIGINT)")
    shop.take(csv(tmp_path, ROW))
    done = shop.take(csv(tmp_path, ROW, ROW.replace("ann", "bob"), name="next.csv"))
    assert (done.rows["ingested"], done.rows["duplicates"]) == (1, 1)


def hash_of(texts: list[str], values: list[int]) -> int:
    """What `canonical` promises, written another way."""
    numbers = [0, *(value % 2**63 for value in values)]
    for text in map(str.encode, texts):
        number = int.from_bytes(text if 0 < len(text) <= 16 else hashlib.md5(text).digest()[::-1], "big")
        numbers += [number % 2**64, number >> 64]
    mixed = 0
    for place, number in enumerate(numbers, start=1):
        mixed ^= number * factor(place)
    return ((mixed ^ mixed >> 64) % 2**64 * factor(0) >> 1) % 2**63


def factor(place: int) -> int:
    return int(hashlib.md5(str(place).encode()).hexdigest()[:16], 16) // 4 | 1


NONE = 0x5DEECE66D
FEES = [("9.5", 19 * 2**29), ("-0.5", -(2**29)), ("", NONE), ("1e300", NONE), ("1e10", 10**10), ("1e-7", 107)]
FEES += [("0.123456789123", 132_560_718), ("4.656612873077393e-10", 0)]  # half to even


@pytest.mark.parametrize(("fee", "value"), FEES)
@pytest.mark.parametrize("client", ["ann", "Zoë 😀", "sixteen bytes it", "seventeen bytes it"])
def test_the_hash_is_that_of_the_canonical_row(shop: Shop, tmp_path: Path, client: str, fee: str, value: int) -> None:
    shop.take(csv(tmp_path, f"{client},2026-01-31,Team,3,{fee},yes,1"))
    wanted = hash_of([client, "Team"], [1, 20_484, value, 1, 3])  # active day fee left seats
    assert shop.clients.sql("SELECT _hash FROM clients")["_hash"].tolist() == [wanted]


def test_no_order_of_lines_or_columns_matters(tmp_path: Path) -> None:
    given = params.load(PARAMS / "telco.yaml")
    lines = (DATA / "telco_sample.csv").read_text().splitlines()
    straight = Shop(tmp_path / "straight", given)
    straight.take(DATA / "telco_sample.csv")
    mixed = lines[1:]
    random.Random(1).shuffle(mixed)
    shuffled = Shop(tmp_path / "shuffled", given.model_copy(update={"columns": dict(reversed(given.columns.items()))}))
    shuffled.take(csv(tmp_path, *mixed, header=lines[0]))
    wanted = straight.clients.frame()
    assert shuffled.clients.frame()[wanted.columns.tolist()].equals(wanted)


@pytest.mark.parametrize("buckets", [1, 8])
@pytest.mark.parametrize("as_of", ["day", None])
def test_of_one_day_what_a_later_drop_says_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int, as_of: str | None
) -> None:
    monkeypatch.setattr("attrition.store.ingest._buckets", lambda _drops: buckets)
    shop = Shop(tmp_path, portfolio(as_of=as_of))
    rows = [f"c{number},2026-01-31,Team,{number},9.5,yes," for number in range(40)]
    drops = [csv(tmp_path, *(f"{row}{left}" for row in rows), name=f"{left}.csv") for left in (1, 0)]
    shop.take(*drops)
    assert shop.clients.frame()["left"].tolist() == [0.0] * 40 + [1.0] * 40
    assert shop.clients.frame()["_row"].tolist() == list(range(1, 81))
    assert shop.clients.current()["left"].tolist() == [1.0] * 40


def test_in_many_buckets_again_is_all_duplicates_but_for_what_is_new(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bucket asks for the rows with its hashes, of a file that all ask of."""
    rows = [f"c{number},2026-01-31,Team,{number},9.5,yes,1" for number in range(200)]
    shop.take(csv(tmp_path, *rows))
    monkeypatch.setattr("attrition.store.ingest._buckets", lambda _drops: 8)
    monkeypatch.setattr("attrition.store.buckets.MANY", 0)  # values, beyond which each file is read once for all
    done = shop.take(csv(tmp_path, *rows, *(row.replace("-31,", "-30,") for row in rows[:9]), name="next.csv"))
    assert done.rows == {"in": 209, "ingested": 9, "duplicates": 200, "quarantined": 0}
    assert shop.clients.rows == 209


def test_rows_are_numbered_by_date_first_and_go_on(shop: Shop, tmp_path: Path) -> None:
    days = ["2026-03-01", "2026-01-01", "2026-02-01"]
    shop.take(csv(tmp_path, *(f"ann,{day},Team,3,1,yes,1" for day in days)))
    shop.take(csv(tmp_path, "ann,2025-01-01,Team,3,1,yes,1", name="next.csv"))
    frame = shop.clients.frame(["day"])
    assert frame["_row"].tolist() == [1, 2, 3, 4]
    assert frame["day"].dt.strftime("%Y-%m").tolist() == ["2026-01", "2026-02", "2026-03", "2025-01"]
    assert frame["_version"].tolist() == [1, 1, 1, 2]


def test_rows_that_cannot_be_taken_are_kept_with_their_reason(shop: Shop, tmp_path: Path) -> None:
    done, staging = shop.stage(csv(tmp_path, ROW, "bob,2026-01-31,Team,3,ab\u2028c,yes,1", name="Zoë.csv"))
    (drop,) = done.drops
    assert (drop.ingested, drop.quarantined, drop.reasons, drop.to) == (1, 1, {"fee: not a number": 1}, "taken")
    (line,) = (staging / "quarantine" / "Zoë.csv.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert json.loads(line) == {
        "file": "Zoë.csv",
        "line": 3,
        "reason": "fee: 'ab\\u2028c' is not a number",
        "raw": "bob,2026-01-31,Team,3,ab\u2028c,yes,1",
        "fields": ["bob", "2026-01-31", "Team", "3", "ab\u2028c", "yes", "1"],
    }


@pytest.mark.parametrize("name", [b"\xff\xfe.csv", b"x" * 251 + b".csv"])
def test_any_name_of_a_file_will_do(shop: Shop, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / name.decode("utf-8", "surrogateescape")
    shutil.copy(csv(tmp_path, ROW, "x"), path)
    done, staging = shop.stage(path)
    assert done.drops[0].quarantined == 1
    (kept,) = (staging / "quarantine").iterdir()
    assert json.loads(kept.read_text())["file"] == path.name
    assert Ingest.read(staging) == done


def test_the_manifest_says_what_is_staged(shop: Shop, tmp_path: Path) -> None:
    done, staging = shop.stage(csv(tmp_path, ROW))
    assert Ingest.read(staging) == done
    (part,) = done.files
    staged = staging / "rows" / "part-000001-0.parquet"
    assert part.path == staged.name
    assert part.sha256 == hashlib.sha256(staged.read_bytes()).hexdigest()
    assert (part.bytes, part.rows, part.stats["numRecords"]) == (staged.stat().st_size, 1, 1)
    described = duckdb.connect().sql(f"DESCRIBE SELECT * FROM '{staged}'").fetchall()
    kinds = ["VARCHAR", "DATE", "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "TINYINT", "BIGINT", "BIGINT", "BIGINT"]
    names = [*HEADER.split(","), "_row", "_version", "_hash"]
    assert [row[:2] for row in described] == list(zip(names, kinds, strict=True))


def test_the_same_drops_stage_the_same_bytes(tmp_path: Path) -> None:
    given = params.load(PARAMS / "telco.yaml")
    parts = [Shop(tmp_path / name, given).stage(DATA / "telco_sample.csv")[0].files for name in "ab"]
    assert parts[0] == parts[1]


def test_bad_files_are_set_aside_and_good_ones_go_on(tmp_path: Path) -> None:
    capstone = params.load(PARAMS / "capstone.yaml")
    header = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"
    junk = tmp_path / "junk"
    (junk / "folder.csv").mkdir(parents=True)
    (junk / "empty.csv").touch()
    (junk / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    csv(junk, "a,1,2,3", name="no target.csv", header=header.rpartition(",")[0])
    csv(junk, "1;2;3;a;0", name="semicolons.csv", header=header.replace(",", ";"))
    csv(junk, name="nothing.csv", header=header)
    csv(junk, "x,0,1,2,3,a", name="reordered.csv", header="extra," + ",".join(reversed(header.split(","))))
    csv(junk, "b,NaN,2,3,1", "c,x,2,3,1", "d,1,2,3,1", name="numbers.csv", header=header)
    csv(junk, "e,1,2,3,1", "f,1,2,3,1", name="one class.csv", header="\ufeff" + header)
    done = Shop(tmp_path / "shop", capstone).take(*junk.iterdir())
    accounts = {drop.name: (drop.rows_in, drop.ingested, drop.quarantined, drop.to) for drop in done.drops}
    assert accounts == {
        "empty.csv": (0, 0, 0, "quarantine"),
        "folder.csv": (0, 0, 0, "quarantine"),
        "no target.csv": (1, 0, 1, "quarantine"),
        "nothing.csv": (0, 0, 0, "taken"),
        "numbers.csv": (3, 1, 2, "taken"),
        "one class.csv": (2, 2, 0, "taken"),
        "picture.csv": (0, 0, 0, "quarantine"),
        "reordered.csv": (1, 1, 0, "taken"),
        "semicolons.csv": (1, 0, 1, "quarantine"),
    }
    by_name = {drop.name: drop for drop in done.drops}
    assert by_name["no target.csv"].reasons == {"missing column: exited": 1}
    assert by_name["empty.csv"].reasons == {"an empty file": 0}
    assert by_name["one class.csv"].notes == ["every outcome is 1"]
    assert (by_name["folder.csv"].sha256, by_name["folder.csv"].size) == (None, 0)


def test_a_drop_that_is_gone_is_no_empty_drop(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shop.stage(tmp_path / "gone.csv")


def test_a_drop_that_grows_while_it_is_read_is_not_known_by_its_new_content(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv(tmp_path, ROW)
    before = hashlib.sha256(path.read_bytes()).hexdigest()

    def grows(*given: Any, **named: Any) -> Checked:
        checked = accounted(*given, **named)
        path.write_text(path.read_text() + ROW.replace("ann", "bob"))
        return checked

    monkeypatch.setattr("attrition.store.arrivals.accounted", grows)
    (drop,) = shop.take(path).drops
    assert (drop.sha256, drop.rows_in) == (before, 1)


def test_a_drop_that_may_not_be_read_is_set_aside(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = csv(tmp_path, ROW), Path.open

    def guarded(self: Path, *given: Any, **named: Any) -> Any:  # root may read everything, so chmod would not do
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *given, **named)

    monkeypatch.setattr(Path, "open", guarded)
    (drop,) = shop.take(path).drops
    assert (drop.to, drop.sha256) == ("quarantine", None)


# For its hash, which a refused one needs as well: it would stay and come again; for its header, by the exact reader.
@pytest.mark.parametrize(("header", "at"), [(HEADER, 1), ("no,such,columns", 1), ("no,such,columns", 4)])
def test_a_drop_that_could_not_be_read_for_a_moment_waits_for_the_next_tick(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, at: int
) -> None:
    path, opened, asked = csv(tmp_path, ROW, header=header), Path.open, []

    def guarded(self: Path, *given: Any, **named: Any) -> Any:
        if self == path:
            asked.append(self)
            if len(asked) == at:
                raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *given, **named)

    monkeypatch.setattr(Path, "open", guarded)
    with pytest.raises(PermissionError, match="for a moment"):
        shop.take(path)


lines = st.sampled_from([ROW, ROW.replace("ann", "bob"), "ann,x,Team,3,1,yes,1", "ann,2026", "", '"', "é,", "\0"])
contents = st.lists(lines, max_size=6).map(lambda some: "\n".join([HEADER, *some]).encode())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(st.one_of(contents, st.binary(max_size=20)), max_size=3))
def test_each_drop_is_accounted_for_to_the_row(tmp_path_factory: pytest.TempPathFactory, files: list[bytes]) -> None:
    root = tmp_path_factory.mktemp("shop")
    shop = Shop(root, portfolio())
    drops = [root / f"{number}.csv" for number in range(len(files))]
    for path, content in zip(drops, files, strict=True):
        path.write_bytes(content)
    done = shop.take(*drops)
    for drop in done.drops:
        assert drop.rows_in == drop.ingested + drop.duplicates + drop.quarantined
        assert drop.to == "taken" or drop.quarantined == drop.rows_in
    assert shop.clients.rows == done.rows["ingested"] == len(shop.clients.frame())
    again = shop.take(*drops)
    assert again.rows == {**done.rows, "ingested": 0, "duplicates": done.rows["ingested"] + done.rows["duplicates"]}


def test_columns_of_any_name(tmp_path: Path) -> None:
    names = ["line", "raw", "select", 'a"b', "it's", "file", "_".join("xy"), "name", "fault"]
    columns = COLUMNS | {name: {"type": "integer"} for name in names}
    shop = Shop(tmp_path, portfolio(columns=columns))
    header = HEADER + "," + ",".join(name.replace('a"b', '"a""b"') for name in names)
    done = shop.take(csv(tmp_path, ROW + "".join(f",{place}" for place in range(len(names))), header=header))
    assert done.rows["ingested"] == 1
    assert shop.clients.frame(names).iloc[0][names].tolist() == list(range(len(names)))


@pytest.mark.parametrize(
    ("sizes", "buckets"),
    [
        ([], 1),
        ([0], 1),
        ([1], 1),
        ([24 * 2**20], 1),
        ([24 * 2**20 - 1, 1, 1], 2),
        ([48 * 2**20], 2),
        ([48 * 2**20 + 1], 4),
        ([200 * 24 * 2**20], 256),
        ([300 * 24 * 2**20], 256),
    ],
)
def test_rows_are_sorted_into_as_many_buckets_as_the_drops_are_large(
    tmp_path: Path, sizes: list[int], buckets: int
) -> None:
    drops = [tmp_path / f"{number}.csv" for number in range(len(sizes))]
    for path, size in zip(drops, sizes, strict=True):
        with path.open("wb") as file:
            file.truncate(size)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to(drops[0] if drops else tmp_path / "nowhere")
    assert _buckets([*drops, tmp_path / "folder.csv", tmp_path / "link.csv"]) == buckets


def test_the_account_of_an_ingest_can_be_read_by_a_person(shop: Shop, tmp_path: Path) -> None:
    _, staging = shop.stage(csv(tmp_path, ROW))
    text = (staging / "ingest.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1) + "\n"
    assert not (staging / "work").exists()


def test_drops_are_taken_in_the_order_of_their_names(shop: Shop, tmp_path: Path) -> None:
    for folder in ("y", "z"):
        (tmp_path / folder).mkdir()
    done = shop.take(csv(tmp_path / "y", ROW, name="b.csv"), csv(tmp_path / "z", ROW, name="a.csv"))
    assert [(drop.name, drop.ingested, drop.duplicates) for drop in done.drops] == [("a.csv", 1, 0), ("b.csv", 0, 1)]


def test_a_folder_that_cannot_be_listed_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = csv(tmp_path, "bob,2026-01-31,1", name="told.csv", header="client,day,left")
    drops = [csv(tmp_path, ROW, ROW.replace("ann", "bob").removesuffix("1")), told]
    wanted, _ = Shop(tmp_path / "whole", portfolio()).stage(*drops)
    listed, left = {"listdir": os.listdir, "scandir": os.scandir}, [0]

    def failing(name: str) -> Callable[[Any], Any]:
        def listing(folder: Any = ".") -> Any:
            if str(folder).startswith(str(tmp_path)):
                left[0] -= 1
                if left[0] == 0:
                    raise PermissionError(errno.EACCES, "Permission denied", folder)
            return listed[name](folder)

        return listing

    for name in listed:
        monkeypatch.setattr(os, name, failing(name))
    for at in itertools.count(1):
        left[0], shop = at, Shop(tmp_path / f"home{at}", portfolio())
        with suppress(PermissionError):
            done, _ = shop.stage(*drops)
            assert [drop.ingested for drop in done.drops] == [drop.ingested for drop in wanted.drops]
        if left[0] > 0:  # there are no more
            break
    assert at > 5


def test_a_home_below_folders_that_look_like_columns_has_the_values_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "plan=Basic" / "fee=7"  # DuckDB takes such for columns, unless it is told not to
    folder.mkdir(parents=True)
    shop, other = Shop(folder / "shop", portfolio()), ROW.replace("ann", "bob")
    assert [drop.duplicates for drop in shop.take(csv(folder, ROW, ROW, other)).drops] == [1]
    told = csv(folder, "bob,2026-01-31,0", name="told.csv", header="client,day,left")
    shop.take(told)
    found = shop.clients.frame()[["client", "plan", "fee", "left"]].to_numpy().tolist()
    assert sorted(found) == [["ann", "Team", 9.5, 1], ["bob", "Team", 9.5, 0], ["bob", "Team", 9.5, 1]]
