"""Files out of which a client is taken, however they write the id."""

import gzip
import json
import os
import tracemalloc

import duckdb
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import COLUMNS, HEADER, portfolio, predictions

from attrition import safe, scrub
from attrition.home import Home
from attrition.store import whose
from attrition.store.check import check
from attrition.store.engine import connect

CLIENT = "CU-1-Z"
SHOP = portfolio(columns=COLUMNS | {"client": {"type": "integer"}})
SPACED = SHOP.model_copy(update={"thousands": " "})
REST = "2026-01-31,Team,3,9.5,yes,1"
QUOTED = 'a"b-1'
LONG = 2**22  # signs of a line that no reader takes


def laid(place, folder, name, *rows):
    """A file below a folder of the portfolio, as rows of a CSV or as text."""
    path = safe.make_folder(folder / "20260105T031500Z-0001") / name
    path.write_text("\n".join(rows) + "\n")
    return path


def wrote(path, kind):
    """The same rows as Parquet, the id in a type of its writer's."""
    target = path.with_suffix(".parquet")
    rows = f"SELECT CAST(client AS {kind}) AS client, * EXCLUDE (client) FROM read_csv('{path}')"
    duckdb.execute(f"COPY ({rows}) TO '{target}' (FORMAT parquet)")
    path.unlink()
    return target


@pytest.mark.parametrize("kind", ["DOUBLE", "DECIMAL(18, 2)", "BIGINT", "VARCHAR"])
@pytest.mark.parametrize("client", ["1000017", "17"])
def test_a_drop_of_parquet_goes_whatever_type_the_id_has_there(tmp_path, kind, client):
    place = Home(tmp_path).place("small")
    his, others = (
        wrote(laid(place, place.taken, f"{name}.csv", HEADER, f"{number},{REST}"), kind)
        for name, number in (("his", client), ("others", f"{client}8"))
    )
    scrub.drops(place, scrub.Whom(client, SHOP))
    assert (his.exists(), others.exists()) == (False, True)


@pytest.mark.parametrize(
    ("given", "client", "name", "written"),
    [
        (SHOP, "1000017", "x.csv", "001000017,REST"),
        (SHOP, "17", "x.csv", "00017,REST"),
        (SHOP, "17", "x.csv", '"+17" ,REST'),
        (SPACED, "1000017", "x.csv", "1 000\u202f017,REST"),
        (portfolio(), QUOTED, "x.csv", '"a""b-1",REST'),
        (portfolio(), "jos\u00e9-7", "x.jsonl", '{"client": "jos\\u00E9-7"}'),
        (portfolio(), "jos\u00e9-7", "x.jsonl", '{"client": "\\u006aos\u00e9-7"}'),
    ],
)
def test_a_file_in_which_the_id_is_written_otherwise_than_in_the_tables(tmp_path, given, client, name, written):
    place = Home(tmp_path).place("small")
    head = [HEADER] if name == "x.csv" else ['{"client": "somebody"}']
    rows = [*head, written.replace("REST", REST)]
    drop, set_aside, held_out = (
        laid(place, folder, name, *rows) for folder in (place.taken, place.quarantine, place.test)
    )
    assert scrub.drops(place, scrub.Whom(client, given)) == 3
    assert not drop.exists()
    assert [path.read_text() for path in (set_aside, held_out)] == [head[0] + "\n"] * 2


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        ("1000017", ["001000017", "x"]),
        ("17", ["017 ", "x"]),
        ("17", ["17.0", "x"]),
        ("17", ['"0017" x,2026-01-31']),
        ("1000017", ["x,001000017,2026-01-31"]),
    ],
)
def test_a_row_that_was_set_aside_goes_however_its_id_is_written(tmp_path, client, fields):
    place, about = Home(tmp_path).place("small"), {"file": "x.csv", "line": 2, "reason": "plan: missing", "raw": None}
    others = json.dumps(about | {"fields": ["1", "17.4", "170"]})
    path = laid(place, place.quarantine, "x.csv.jsonl", json.dumps(about | {"fields": fields}), others)
    scrub.drops(place, scrub.Whom(client, SHOP))
    assert path.read_text() == others + "\n"


@pytest.mark.parametrize("folder", ["quarantine", "test"])
@pytest.mark.parametrize(
    ("delimiter", "header", "others"),
    [
        (";", "fee;client;plan", ["5,17;8;Team", "17,17;9;Team", "17;7;Team"]),
        (",", "name,client,plan", ['"x, 17",8,Team', '"17,17",9,Team']),
    ],
)
def test_a_number_in_another_column_is_nobodys_id(tmp_path, folder, delimiter, header, others):
    """Whoever parts fields at each comma sees 5,17;8 as three."""
    place = Home(tmp_path).place("small")
    his = {";": "1,5;17;Team", ",": "x,17,Team"}[delimiter]
    path = laid(place, getattr(place, folder), "x.csv", header, *others, his)
    scrub.drops(place, scrub.Whom("17", SHOP.model_copy(update={"delimiter": delimiter})))
    assert path.read_text().splitlines() == [header, *others]


@pytest.mark.parametrize(
    ("client", "other"),
    [("smith", "smith.john"), ("smith", "o'smith"), ("ann@x.org", "jo+ann@x.org"), ("ann@x.org", "ann@x.org.uk")],
)
def test_a_longer_id_is_another_clients(tmp_path, client, other):
    place, whom = Home(tmp_path).place("small"), scrub.Whom(client, portfolio())
    held, refused = (
        laid(place, folder, "x.csv", "client,note", f"{client},x", f"{other},x", f"{other},ask {client}")
        for folder in (place.test, place.quarantine)
    )
    lines = laid(place, place.test, "x.jsonl", *(json.dumps({"client": each}) for each in (client, other)))
    about = {"file": "x.csv", "line": 2, "reason": "plan: missing"}
    rows = ([client, "x"], [other, "x"], [other, f"ask {client}"])
    aside = laid(place, place.quarantine, "y.csv.jsonl", *(json.dumps(about | {"fields": row}) for row in rows))
    drop = laid(place, place.taken, "z.csv", "client,note", f"{other},x")
    assert scrub.drops(place, whom) == 4
    assert held.read_text() == refused.read_text() == f"client,note\n{other},x\n"
    assert lines.read_text() == json.dumps({"client": other}) + "\n"
    assert aside.read_text() == json.dumps(about | {"fields": [other, "x"]}) + "\n"
    assert drop.exists()


def test_a_drop_whose_ids_are_made_goes_by_the_line_of_the_client(tmp_path):
    made = portfolio(columns=COLUMNS | {"client": {"type": "text", "made": "line"}}, as_of=None)
    place = Home(tmp_path).place("small")
    path = laid(place, place.taken, "x.csv", HEADER.partition(",")[2], REST)
    named = f"x-{safe.sha256(path)[:8]}"
    scrub.drops(place, scrub.Whom(f"{named}:3", made))
    assert path.exists()
    scrub.drops(place, scrub.Whom(f"{named}:2", made))
    assert not path.exists()


def test_what_no_reader_can_open_goes_by_its_text(tmp_path):
    place, whom = Home(tmp_path).place("small"), scrub.Whom(CLIENT, portfolio())
    wide, torn, strange = (laid(place, place.quarantine, name) for name in ("wide.csv", "torn.csv.gz", "x.parquet"))
    wide.write_text(f"client\n{CLIENT}\n", encoding="utf-16")
    packed = gzip.compress(f"client\n{CLIENT}\n".encode() + os.urandom(2000))
    torn.write_bytes(packed[:1000])
    strange.write_text(f"PAR1 {CLIENT}")
    whole = laid(place, place.quarantine, "damaged.csv.gz")
    whole.write_bytes(packed[:10] + b"\xff" * 9)  # zlib cannot go on, which is no OSError
    assert scrub.drops(place, whom) == 3
    assert [path.exists() for path in (wide, torn, strange, whole)] == [False, False, False, True]


def test_what_a_run_was_told_by_p_keeps_its_numbers(tmp_path):
    given = safe.make_folder(tmp_path / "params") / "small.yaml"
    given.write_text("id: client\ntop: 17\n")
    assert not scrub.run(tmp_path, scrub.Whom("17", SHOP))
    assert given.read_text() == "id: client\ntop: 17\n"


@pytest.mark.parametrize(
    ("thousands", "decimal", "written", "client"),
    [
        (".", ",", "17.0", None),  # from pandas, say; a point stands before three digits there
        (".", ",", "17.4", None),
        (".", ",", "17,0", "17"),
        (".", ",", "1.017", "1017"),
        (",", ".", "1,7", None),
        (None, ".", "17.0", "17"),
        (None, ".", "1_7", None),
    ],
)
def test_an_id_that_is_no_number_there_is_not_another_clients(tmp_path, thousands, decimal, written, client):
    given = SHOP.model_copy(update={"thousands": thousands, "decimal": decimal, "delimiter": ";"})
    assert whose.named(given, written) == client
    place = Home(tmp_path).place("small")
    about = {"file": "x.csv", "line": 2, "reason": "plan: missing", "raw": None, "fields": [written, "x"]}
    aside = laid(place, place.quarantine, "x.csv.jsonl", json.dumps(about))
    wrong = "".join(filter(str.isdigit, written))
    if wrong != client:
        scrub.drops(place, scrub.Whom(wrong, given))
        assert aside.read_text() == json.dumps(about) + "\n"


def peak(work):
    """Bytes of memory that Python has at most for what is done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_that_unpacks_to_one_line_without_end_is_looked_through_in_little_memory(tmp_path):
    place, whom = Home(tmp_path).place("small"), scrub.Whom(CLIENT, portfolio())
    zeros, his = (laid(place, place.quarantine, name) for name in ("zeros.csv.gz", "his.csv.gz"))
    zeros.write_bytes(gzip.compress(bytes(2**26), 1))
    his.write_bytes(gzip.compress(b" " * (LONG - 3) + CLIENT.encode() + b" " * 2**22, 1))
    assert peak(lambda: scrub.drops(place, whom)) < 2**26
    assert (zeros.exists(), his.exists()) == (True, False)


def test_a_file_larger_than_memory_is_cut_a_piece_at_a_time(tmp_path):
    place, whom = Home(tmp_path).place("small"), scrub.Whom(CLIENT, portfolio())
    path = laid(place, place.quarantine, "x.csv")
    rest = ["client", *(f"{number}{'x' * 2**17}" for number in range(400)), "y" * LONG, "é", "last"]
    his = [f"{CLIENT},x", "z" * (LONG - 3) + f" {CLIENT} " + "z" * LONG, CLIENT]
    kept = "\n".join(rest).encode("latin-1")  # which is not UTF-8, so that none of it was taken in
    path.write_bytes("\n".join([*rest[:9], his[0], *rest[9:300], his[1], *rest[300:], his[2]]).encode("latin-1"))
    assert peak(lambda: scrub.drops(place, whom)) < 2**25
    assert path.read_bytes() == kept + b"\n"
    assert [each.name for each in path.parent.iterdir()] == ["x.csv"]


BEFORE = st.lists(st.sampled_from(["0", "00", "+", " ", "\u00a0", "1", "1 "]), max_size=3).map("".join)
WRITTEN = st.builds(
    "{}{}{}".format, BEFORE, st.sampled_from(["017", " 017", "\u202f017"]), st.sampled_from(["", " ", ".0"])
)


@settings(max_examples=examples(50))
@given(written=WRITTEN, name=st.sampled_from(["x.csv", "x.jsonl"]))
def test_an_id_written_in_any_way_that_an_ingest_reads_as_the_clients_is_found(tmp_path_factory, written, name):
    path = tmp_path_factory.mktemp("drops") / name
    row = dict(zip(HEADER.split(","), [written, *REST.split(",")], strict=True))
    path.write_text(json.dumps(row) if name == "x.jsonl" else f'{HEADER}\n"{written}",{REST}\n')
    with connect() as db:
        check(db, SPACED, path)
        ids = [str(each) for (each,) in db.execute("SELECT client FROM good").fetchall()]
    for client in ids:
        assert whose.named(SPACED, written.strip()) == client or name == "x.jsonl"
        assert whose.holds(SPACED, path, client, anywhere=False)
        assert not whose.holds(SPACED, path, f"{client}8", anywhere=True)


def test_by_the_number_of_a_row_nobody_goes_who_had_it_in_a_table_of_before(tmp_path):
    """Made anew, a table numbers its rows otherwise, and the predictions of before stay."""
    place = Home(tmp_path).place("small")
    safe.make_folder(place.scores.parent)
    names = [(1, "ann"), (1, "a-1"), (1, "bob"), (2, "a-1"), (2, "ann")]
    predictions(place.scores, [(row, name, None, 1, "0001", 0.5) for row, name in names])
    aside = safe.make_folder(tmp_path / "run") / "mine.parquet"
    odd = ", ".join(f"('{row}', '{name}')" for row, name in [*names, ("none", "a-1")])
    duckdb.execute(f"COPY (SELECT * FROM (VALUES {odd}) AS lines(_row, id)) TO '{aside}' (FORMAT parquet)")
    whom = scrub.Whom("ann", portfolio(), {"1": ["ann", "a-1", "o'neil"]})
    assert scrub.tables(place, whom) == 1
    assert scrub.run(aside.parent, whom)
    left = "SELECT CAST(_row AS VARCHAR), id FROM '{}'"
    assert duckdb.execute(left.format(f"{place.scores}/*.parquet")).fetchall() == [("1", "bob"), ("2", "a-1")]
    assert duckdb.execute(left.format(aside)).fetchall() == [("1", "bob"), ("2", "a-1"), ("none", "a-1")]
