"""The newest entry of a Delta log, whole or torn by a power cut."""

import json

import pytest

from attrition.store import torn

MADE = [{"protocol": {}}, {"metaData": {}}, {"commitInfo": {"operation": "CREATE TABLE"}}]
INGEST = [{"commitInfo": {"run": "r", "added": "2"}}, {"add": {}}, {"add": {}}, {"txn": {}}]
COMPACTED = [{"commitInfo": {"compacted": "2"}}, {"add": {}}, {"remove": {}}, {"remove": {}}]
REWRITTEN = [{"commitInfo": {"rewritten": "2", "added": "1"}}, {"remove": {}}, {"remove": {}}, {"add": {}}]
BEFORE = [{"commitInfo": {"run": "r"}}, {"add": {}}, {"txn": {}}]  # of a table from before files were counted
SET = [{"commitInfo": {"operation": "SET TBLPROPERTIES"}}, {"metaData": {}}]


def table(tmp_path, *entries):
    log = tmp_path / "_delta_log"
    log.mkdir()
    for version, lines in enumerate(entries):
        (log / f"{version:020d}.json").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


@pytest.mark.parametrize("newest", [INGEST, COMPACTED, REWRITTEN, BEFORE, SET])
def test_a_whole_entry_stays_and_one_cut_anywhere_goes(tmp_path, newest):
    folder = table(tmp_path, MADE, newest)
    entry = folder / "_delta_log" / f"{1:020d}.json"
    assert torn.mend(folder) is None
    whole = entry.read_bytes()
    for length in range(len(whole)):
        entry.write_bytes(whole[:length])
        assert torn.mend(folder) == 1, whole[:length]
    entry.write_bytes(bytes(len(whole)))  # as XFS leaves it
    assert torn.mend(folder) == 1
    assert torn.mend(folder) is None
    assert [path.name for path in entry.parent.iterdir()] == [f"{0:020d}.json"]


def test_the_entry_that_makes_a_table_may_be_torn_too(tmp_path):
    folder = table(tmp_path, MADE[:1])
    assert torn.mend(folder) == 0
    assert torn.mend(folder) is None
    assert torn.mend(tmp_path / "none") is None


def test_a_checkpoint_of_the_newest_version_goes_and_an_older_one_stays(tmp_path):
    folder = table(tmp_path, MADE, INGEST)
    log = folder / "_delta_log"
    (log / f"{1:020d}.checkpoint.parquet").write_text("half")
    (log / "_last_checkpoint").write_text('{"version": 1}')
    assert torn.mend(folder) is None
    assert sorted(path.suffix for path in log.iterdir()) == [".json", ".json"]
    (log / f"{0:020d}.checkpoint.parquet").write_text("whole")
    (log / "_last_checkpoint").write_text('{"version": 0}')
    torn.mend(folder)
    assert (log / "_last_checkpoint").exists()


def test_a_checkpoint_that_older_entries_were_dropped_for_stays(tmp_path):
    folder = table(tmp_path, MADE, INGEST)
    log = folder / "_delta_log"
    (log / f"{1:020d}.checkpoint.parquet").write_text("whole")
    (log / f"{0:020d}.json").unlink()
    torn.mend(folder)
    assert (log / f"{1:020d}.checkpoint.parquet").exists()
