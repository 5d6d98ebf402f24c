"""What a drop or a folder is called is a name, and nothing else: DuckDB would take some for patterns."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest
from store_kit import ROW, Shop, csv, portfolio

NAMES = ["a[1]", "a*", "a?", "a[!b]", "[a-z]1", "**", "a\\[1]", "a\\1"]


def written(folder: Path, name: str, *rows: str) -> Path:
    """A file of these rows in the form that its name says."""
    plain, made, target = csv(folder, *rows, name="plain"), folder / "made", folder / name
    if name.endswith(".parquet"):
        (folder.parent / "plain").write_bytes(plain.read_bytes())
        source = f"read_csv('{folder.parent}/plain', all_varchar = true)"
        duckdb.connect().execute(f"COPY (FROM {source}) TO '{made}' (FORMAT parquet)")
        plain.unlink()
    else:
        made.write_bytes(gzip.compress(plain.read_bytes()) if name.endswith(".gz") else plain.read_bytes())
        plain.unlink()
    return made.rename(target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_a_name_is_no_pattern(tmp_path: Path, name: str, form: str) -> None:
    folder, beside = tmp_path / "home[1]", tmp_path / "home1"
    for each in (folder, beside):
        each.mkdir()
        for other in ("a1", "ab", "ax", "b1"):
            written(each, f"{other}.{form}", ROW.replace("ann", other), ROW.replace("ann", f"{other}2"))
    shop, rows = Shop(folder, portfolio()), [ROW, ROW.replace("ann", "bob")]
    done = shop.take(written(folder, f"{name}.{form}", *rows))
    if "\\" in name and form == "parquet":
        assert list(done.drops[0].reasons) == ["DuckDB cannot be told this name: it has a backslash, or is not UTF-8"]
        return
    assert done.rows == {"in": 2, "ingested": 2, "duplicates": 0, "quarantined": 0}
    assert sorted(shop.clients.frame(["client"])["client"]) == ["ann", "bob"]
    again = shop.take(written(folder, f"{name}.{form}", rows[1], ROW.replace("ann", "cat"), ROW.replace("3", "x")))
    assert again.rows == {"in": 3, "ingested": 1, "duplicates": 1, "quarantined": 1}
