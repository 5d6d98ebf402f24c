"""A client forgotten: everywhere, whoever is cut short in it, and nothing of anybody else."""

import errno
import json
import os
import re
import sqlite3
import string
import tempfile
from datetime import timedelta
from pathlib import Path

import duckdb
import nbformat
import pandas as pd
import pytest
from conftest import require
from hypothesis import given
from hypothesis import strategies as st
from keep_kit import CLIENT, FIRST, LINES, NOBODY, Cut, another, copied, lay, names, ticked
from pipeline_kit import reports, tree

from attrition import (
    backups,
    bookkeeping,
    calling,
    forgetting,
    params,
    past,
    record,
    registry,
    safe,
    scrub,
)
from attrition.alone import alone
from attrition.book import Book
from attrition.home import REPOSITORY, UsageError
from attrition.runs import Run
from attrition.scrub import files, rows, texts
from attrition.scrub.reading import lines_of
from attrition.scrub.whom import GONE, PLAIN
from attrition.store import delta
from attrition.store.clients import Clients
from runner import main, tick


@pytest.fixture
def home(lived, tmp_path, monkeypatch):
    return copied(lived, tmp_path / "home", monkeypatch)


@pytest.fixture
def place(home):
    return home.place("telco")


def test_a_forgetting_that_was_killed_at_its_last_step_is_over(home, place):
    place.forgetting.write_bytes(b"0" * 150)  # the name of the client is written over first
    assert tick(home, "telco") == 0
    assert not place.forgetting.exists()


def holds(root, client):
    """Files below a folder that hold the id, in plain text or as Parquet."""
    found = []
    for path in root.rglob("*"):
        if path.is_file() and ".cache" not in path.parts:
            texts = [path.read_bytes().decode("latin-1"), "".join(lines_of(path))]
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
    assert (clients.rows, clients.last_row) == (rows - 1, rows)
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


def test_what_a_second_kill_left_of_a_forgettings_pages_goes_with_the_next_tick(home, place):
    beside = home.root / "executed" / f".index.json.{NOBODY}.tmp"

    def cut(*_):
        raise OSError("cut")

    def cut_within_a_write(*_):
        beside.write_text("{")
        cut()

    with pytest.MonkeyPatch.context() as patch:  # all pages are written
        patch.setattr(forgetting.scratch, "sweep", cut)
        assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 1
    with pytest.MonkeyPatch.context() as patch:  # they are written once more
        patch.setattr(forgetting.site, "_home", cut_within_a_write)
        with pytest.raises(OSError, match="cut"):
            ticked(home, FIRST + timedelta(days=7))
    assert beside.exists()
    ticked(home, FIRST + timedelta(days=7))
    assert not beside.exists()
    assert not place.forgetting.exists()


def test_who_are_forgotten_within_one_second_have_a_run_each(place):
    portfolio, at = params.load(place.params), "2026-01-12T03:15:00Z"
    before = names(place)
    with alone(place, at), Book.open(place.book) as book:
        for client in (CLIENT, LINES[4].split(",")[0]):
            forgetting.begin(place, portfolio, client, reason="asked", by="me", at=at)
            forgetting.finish(place, book)
    runs = [line["run"] for line in bookkeeping.forgotten(place.book)]
    assert len(set(runs)) == 2
    assert names(place) == [*before, *runs]


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


def test_a_stage_that_somebody_looks_into_is_without_the_client_and_with_all_else(place):
    run = names(place)[1]
    assert main(["open", "telco", run, "report"]) == 0
    folder = place.executed / ".open" / f"{run}-report"
    mine, seen = folder / "mine.csv", folder / "80_report.ipynb"
    mine.write_text(f"client\n{CLIENT}\nsomebody\n")
    notebook = nbformat.read(seen, as_version=4)
    said = nbformat.v4.new_output("stream", text=f"{CLIENT} leaves")
    notebook.cells.append(nbformat.v4.new_code_cell("2 + 2", outputs=[said]))
    nbformat.write(notebook, seen)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "80_report-checkpoint.ipynb").write_text(seen.read_text())
    table = pd.DataFrame({"who": ["somebody", CLIENT]})
    table.to_pickle(folder / "mine.pkl")
    duckdb.from_df(table).write_parquet(str(folder / "mine.parquet"))  # pandas would want pyarrow
    table[:1].to_pickle(folder / "others.pkl")
    assert sorted(path.name for path in folder.rglob("assessed.parquet")) == ["assessed.parquet"]
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert holds(place.root, CLIENT) == []
    assert mine.read_text() == "client\nsomebody\n"
    assert [path.name for path in folder.glob("*.p*")] == ["others.pkl"]
    assert nbformat.read(seen, as_version=4).cells[-1].source == "2 + 2"


def test_what_lies_beside_the_stages_that_somebody_opened_holds_no_forgetting_up(place):
    notes = safe.make_folder(place.executed / ".open") / "notes.txt"
    notes.write_text(f"{CLIENT} called\nnobody else did\n")
    notes.with_name(f"{CLIENT}.json").write_text(f'{{"client": "{CLIENT}"}}\n' * 2)  # JSON lines, which are no JSON
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert notes.read_text() == "nobody else did\n"
    assert "went as a whole: .open/[a client who was forgotten].json." in reports(place)[4]["reason"]
    assert holds(place.root, CLIENT) == []


def test_what_a_replay_left_that_was_killed_goes_with_the_client(place, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(safe.make_folder(tmp_path / "tmp")))

    def cut(place, run, root):
        (root / "drop.csv").write_text(CLIENT)
        # As if a process that is gone had made it.
        root.rename(str(root).replace(f"-pid{os.getpid()}-", f"-pid{NOBODY}-"))
        raise Cut

    monkeypatch.setattr(past, "rebuild", cut)
    for words in (["replay", "telco", names(place)[0]], ["try", "telco"]):
        with pytest.raises(Cut):
            main(words)
    assert len(holds(tmp_path / "tmp", CLIENT)) == 2
    assert main(["forget", "telco", CLIENT, "--reason", "asked"]) == 0
    assert holds(tmp_path / "tmp", CLIENT) == []


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
        patch.setattr(rows, "_without_lines", broken)
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
        assert GONE.startswith(gone.decode().strip())
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
    assert files._notebook(tmp_path / "x.ipynb", whom)
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
        texts.cut(tmp_path / name, whom)
    assert (tmp_path / "test.csv").read_text() == "rownames,tenure\n18,17\n"
    assert (tmp_path / "tick.log").read_text() == "at 03:17 quiet\n"


def test_rejected_rows_go_whole_wherever_the_id_stands_in_them(tmp_path):
    rows = [["17", "a\u2028b"], ["18", "17.5"], [None, "3"]]
    about = {"file": "x.csv", "line": 2, "reason": "fee: 'x' is not a number"}
    lines = [json.dumps({**about, "raw": None, "fields": fields}, ensure_ascii=False) + "\n" for fields in rows]
    (tmp_path / "x.csv.jsonl").write_text("".join(lines))
    whom = scrub.Whom("17", params.load(REPOSITORY / "params" / "telco.yaml"))
    assert texts.in_file(tmp_path / "x.csv.jsonl", whom)
    drop = tmp_path / "a.jsonl"
    drop.write_text('{"client": 3, "fields": 12}\n{"id": 3, "raw": "a17"}\n')
    assert not texts.in_file(drop, whom), "a drop's own keys are no quarantine's"
    texts.cut(tmp_path / "x.csv.jsonl", whom)
    assert (tmp_path / "x.csv.jsonl").read_text() == "".join(lines[1:])


@pytest.mark.parametrize("client", ["17", "ann-1"])
@pytest.mark.parametrize("text", ['"CLIENT" x,2026', '"x" y\tCLIENT\t2026', '"x" y\nCLIENT z'])
def test_a_rejected_row_of_a_wrong_form_goes_by_the_words_of_its_text(client, text):
    text = text.replace("CLIENT", client)
    about = {"file": "x.csv", "line": 2, "reason": "text after a closing quote"}
    whom = scrub.Whom(client, params.load(REPOSITORY / "params" / "telco.yaml"))
    for said in (text, text.replace(client, f"{client}8")):
        line = json.dumps({**about, "raw": said, "fields": [said]}, ensure_ascii=False) + "\n"
        assert texts._of_client([line], whom, line) == [said == text]


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


@pytest.mark.parametrize("said", ["17", "0017", "+17"])
def test_who_is_named_as_a_file_has_it_is_the_one_in_the_tables(place, said):
    telco = params.load(REPOSITORY / "params" / "telco.yaml")
    forgetting.begin(place, telco, said, reason="asked", by="me", at="2026-01-12T03:15:00Z")
    assert json.loads(place.forgetting.read_text())["client"] == "17"
    with pytest.raises(UsageError, match="names the client"):
        forgetting.begin(place, telco, said, reason=f"{said} asked", by="me", at="2026-01-12T03:15:00Z")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("integer", "17.4"),
        ("integer", "l7"),
        ("integer", "99999999999999999999"),
        ("number", "17.4.1"),
        ("boolean", "17"),
        ("date", "2026-02-30"),
    ],
)
def test_what_is_no_id_there_is_refused_and_not_said_to_be_done(place, kind, said):
    telco = params.load(REPOSITORY / "params" / "telco.yaml")
    named = telco.columns[telco.id].model_copy(update={"type": kind})
    given = telco.model_copy(update={"columns": telco.columns | {telco.id: named}})
    before = tree(place.root)
    with pytest.raises(UsageError, match=rf"client's id is no {kind}, as 'rownames' is by .*telco.yaml: write it as"):
        forgetting.begin(place, given, said, reason="asked", by="me", at="2026-01-12T03:15:00Z")
    assert tree(place.root) == before


def test_an_id_of_which_there_is_no_row_is_looked_for_in_all_else(place, capsys):
    assert main(["forget", "telco", "CU-nobody", "--reason", "asked"]) == 0
    assert "forgot a client: 0 rows of clients/" in capsys.readouterr().out


def test_a_reason_with_the_id_is_refused(place):
    assert main(["forget", "telco", CLIENT, "--reason", f"{CLIENT} asked"]) == 2
