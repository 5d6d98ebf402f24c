"""A portfolio's YAML is checked before anything starts; a fault names file, key and what is expected."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from attrition.home import REPOSITORY, Home, UsageError
from attrition.overrides import changed
from attrition.params import ParamsError, load

GOOD = {
    "title": "Clients",
    "id": "client",
    "columns": {"client": {"type": "text"}, "age": {"type": "integer"}, "plan": {"type": "category"}},
    "target": {"column": "left"},
}
DATED = {"as_of": "day", "horizon": "30d", "columns": GOOD["columns"] | {"day": {"type": "date"}}}
CALLS = {"treated": "called", "columns": GOOD["columns"] | {"called": {"type": "boolean", "nullable": True}}}
COSTS = {"call": 5, "client": 400, "kept": 0.3, "currency": "EUR"}


def written(tmp_path, **changes):
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


@pytest.mark.parametrize("path", sorted((REPOSITORY / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_portfolio_of_the_project_is_good(path):
    assert load(path).name == path.stem


def test_features_are_what_is_neither_id_nor_shown(tmp_path):
    portfolio = load(written(tmp_path, show=["plan"]))
    assert (portfolio.numeric, portfolio.categorical) == (["age"], [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": 1}, "colour: unknown key"),
        ({"threshhold": 0.4}, "threshhold: unknown key; did you mean threshold?"),
        ({"model": {"C": "1"}}, "model.C: Input should be a valid number, found '1'"),
        ({"rules": {"give_up": 1.5}}, "rules.give_up: Input should be a valid integer"),
        ({"settle": -1}, "settle: Input should be greater than or equal to 0"),
        ({"columns": {"age": {"type": "int"}}}, "columns.age.type: Input should be 'integer'"),
        ({"columns": {"age": {"type": "category", "min": 1}}}, "min and max belong to"),
        ({"id": "nobody"}, "id: 'nobody' is not one of columns"),
        ({"as_of": "age"}, "as_of: 'age' must be a date"),
        ({"target": {"column": "age"}}, "must not stand in columns too"),
        ({"columns": {"client": {"type": "text"}}}, "columns leave no feature"),
        ({"columns": {"client": {"type": "text"}, "_row": {"type": "integer"}}}, "'_row' is no column's name"),
        ({"columns": {**GOOD["columns"], "AGE": {"type": "integer"}}}, "differ only in small and capital"),
        ({"bands": {"medium": 0.8}}, "medium must be below high"),
        ({"columns": {"age": {"type": "integer", "min": 5, "max": 1}}}, "min 5 is above max 1"),
        ({"columns": {"age": {"type": "integer", "min": float("nan")}}}, "min and max must be numbers"),
        ({"columns": {"plan": {"type": "category", "values": []}}}, "name each category that is allowed, once"),
        ({"columns": {"plan": {"type": "category", "values": ["a", "a"]}}}, "name each category that is allowed, once"),
        ({"columns": {"plan": {"type": "category", "values": [" Team"]}}}, "values: ' Team' cannot be met"),
        ({"columns": {"plan": {"type": "category", "values": [1]}}}, "found 1: put it in quotes"),
        (
            {"target": {"column": "left", "positive": True}},
            "target.positive: Input should be a valid string, found True: put",
        ),
        ({"target": {"column": "left", "positive": "0"}}, "positive and negative are both '0'"),
        ({"target": {"column": "left", "positive": ""}}, "positive: '' cannot be met"),
        ({"target": {"column": "left", "negative": "No "}}, "negative: 'No ' cannot be met"),
        ({"show": ["plan", "plan"]}, "show: a column stands there twice"),
        ({**DATED, "id": "day"}, "id and as_of are both 'day'"),
        ({"name": "x"}, "name: unknown key"),
        ({**DATED, "horizon": 30}, "horizon: write whole days as 30d, from 1d to 3650d, not 30"),
        ({**DATED, "horizon": "0d"}, "horizon: write whole days as 30d"),
        ({**DATED, "horizon": "3651d"}, "horizon: write whole days as 30d"),
        ({**DATED, "horizon": "1.5d"}, "horizon: write whole days as 30d"),
        ({"horizon": "30d"}, "horizon: it counts from a client's as-of date: name both columns under id and as_of"),
        ({"treated": "called"}, "treated: 'called' is not one of columns"),
        ({"treated": "age"}, "treated: 'age' must be a boolean"),
        (
            {"columns": {**GOOD["columns"], "on": {"type": "boolean"}}, "id": "on", "treated": "on"},
            "treated: 'on' must be a boolean of its own",
        ),
        ({"sources": [{"name": "x"}]}, "sources.0: a source has either url or postgres"),
        ({"sources": [{"name": "X", "url": "file:///x"}]}, "sources.0.name: String should match pattern"),
        ({"sources": [{"name": "x", "url": "/x"}]}, "url: begin with what kind it is"),
        ({"sources": [{"name": "x", "url": "a:word@b/c"}]}, "url: begin with what kind it is"),
        ({"sources": [{"name": "x", "url": "sftp://a:word@b/c"}]}, "url: no password in the YAML"),
        ({"sources": [{"name": "x", "url": "file:///x", "query": "a"}]}, "query does not belong to a source with url"),
        ({"sources": [{"name": "x", "postgres": "DB"}]}, "query is missing"),
        ({"sources": [{"name": "x", "postgres": "postgresql://a:word@b/c", "query": "a"}]}, "should match pattern"),
        ({"sources": [{"name": "x", "postgres": "DB", "query": "a", "watermark": "b"}]}, "watermark and overlap come"),
        (
            {"sources": [{"name": "x", "postgres": "DB", "query": "a", "watermark": "b", "overlap": "2 days"}]},
            "overlap: write a time as 2d, 12h or 30m, or a whole number",
        ),
        ({"sources": [{"name": "x", "url": "file:///x"}] * 2}, "sources: two are called 'x'"),
        ({"model": {"seed": -1}}, "model.seed: Input should be greater than or equal to 0, found -1"),
        ({"model": {"seed": 2**32}}, "model.seed: Input should be less than 4294967296"),
        ({"deadline": 99_999_999_999}, "deadline: Input should be less than or equal to 604800"),
        ({"run_deadline": 604_801}, "run_deadline: Input should be less than or equal to 604800"),
        ({"columns": {**GOOD["columns"], "a\0b": {"type": "integer"}}}, r"columns: 'a\x00b' is no column's name: take"),
        ({"target": {"column": "a\0b"}}, r"columns: 'a\x00b' is no column's name: take the NUL out of it"),
        ({"hold_out": 1}, "hold_out: Input should be less than 1"),
        ({"costs": {"call": 0, "client": 400, "kept": 0.3}}, "costs.call: Input should be greater than 0"),
        ({"costs": {"call": 5, "client": float("inf"), "kept": 0.3}}, "costs.client: Input should be a finite number"),
        ({"costs": {"call": 5, "client": 400, "kept": 1.5}}, "costs.kept: Input should be less than or equal to 1"),
        ({"costs": {"call": 5, "client": 400}}, "costs.kept: Field required"),
        ({"costs": {**COSTS, "currency": "x" * 9}}, "costs.currency: String should have at most 8 characters"),
        ({"costs": {**COSTS, "call": 120}}, "costs: call / (kept * client) is 1; as a threshold it must be between"),
        ({"costs": {**COSTS, "client": 1e-200, "kept": 1e-200}}, "costs: call / (kept * client) is inf"),
        ({"costs": COSTS, "threshold": 0.5}, "threshold: it follows from costs: leave one of the two out"),
        ({"rules": {"ticks_a_year": 0.5}}, "rules.ticks_a_year: Input should be greater than or equal to 1"),
        ({"rules": {"ticks_a_year": 2}}, "rules: false_retrains / ticks_a_year is 0.1, a false retrain every few"),
        ({"rules": {"ticks_a_year": float("inf")}}, "rules.ticks_a_year: Input should be a finite number"),
        ({"rules": {"false_retrains": float("inf")}}, "rules.false_retrains: Input should be a finite number"),
        (
            {"rules": {"false_retrains": 1e-320, "ticks_a_year": 1e9}},
            "rules: false_retrains / ticks_a_year is too small",
        ),
        ({"rules": {"tolerance": 3.0}}, "rules.tolerance: Input should be less than or equal to 2"),
        ({"rules": {"gain": 0.5}}, "rules.gain: Input should be less than 0.5"),
        ({"rules": {"confidence": 0.99}}, "rules.confidence: unknown key"),
        ({"rules": {"reference_row": 1}}, "rules.reference_row: unknown key; did you mean reference_rows?"),
    ],
)
def test_a_fault_names_file_key_and_expectation(tmp_path, changes, says):
    path = written(tmp_path, **changes)
    with pytest.raises(ParamsError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        {"sources": [{"name": "x", "postgres": "postgresql://a:canary@b/c", "query": "a"}]},
        {"sources": [{"name": "x", "url": "s3://b", "options": '{"secret": "canary"}'}]},
        {"sources": "postgresql://a:canary@b/c"},
        {"sources": {"name": "x", "url": "https://a:canary@b/c"}},  # without the dash of a list
        {"sources": [["https://a:canary@b/c"]]},
        {"sources": [{"name": "x", "url": ["https://a:canary@b/c"]}]},
        {"engine": {"dask": "tcp://a:canary@b:1"}},
        {"deadline": "postgresql://a:canary@b/c"},  # at a key that takes no secret at all
        {"top": ["host=b password=canary"]},
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path, given):
    with pytest.raises(ParamsError) as error:
        load(written(tmp_path, **given))
    assert "canary" not in str(error.value)
    assert "not shown" in str(error.value)


@pytest.mark.parametrize("text", ["postgresql://a:canary@b/c", "[postgresql://a:canary@b/c"])
def test_a_secret_on_the_command_line_is_not_repeated(tmp_path, text):
    with pytest.raises(ParamsError, match=r"-p") as error:
        changed(written(tmp_path), [("top", text)])
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *("https://user:canary@h/x.csv", "HTTPS://canary@h/x.csv", "ftp://canary@h/x.csv", "https:////u:canary@h/x"),
        *("simplecache::https://user:canary@h/x.csv", "filecache::ftp://user:canary@h/in/*.csv"),
        *("zip://*.csv::https://user:canary@h/x.zip", "blockcache::simplecache::https://canary@h/x.csv"),
        *("s3://key:canary@bucket/x", "s3://canary@bucket/x", "sftp://user:canary@h/x", "file://user:canary@h/x"),
        *("sftp://user%3Acanary@h/x", "sftp://user:can#ary@h/x", "sftp://user:can/ary@h/x", "sftp://u:1?can/ary@h/x"),
        *("sftp://u:canary＠@h/x", "https://[canary:x@h/x", "simplecache::user:canary@h/x", "sftp://u:a::canary@h/x"),
        *(
            "https://blob/c/x.csv?sv=1&sig=canary",
            "https://h/x?X-Amz-Credential=canary",
            "https://h/x?ACCESS_TOKEN=canary",
        ),
        *(
            "https://h/x?X-Goog-Signature=canary",
            "https://h/x?X-Amz-Security-Token=canary",
            "https://h/x?api%5Fkey=canary",
        ),
        *("https://h/x?AWSAccessKeyId=canary", "https://h/x?key=canary", "https://h/x?v=1;client_secret=canary"),
        *(
            "https://h/x#token=canary",
            "simplecache::https://h/x?password=canary",
            "zip://*.csv::https://h/x.zip?Sig=canary",
        ),
    ],
)
def test_a_url_with_a_secret_is_refused_wherever_in_it_and_not_repeated(tmp_path, url):
    with pytest.raises(
        ParamsError, match=r"url: no (password|secret) in the YAML, and .* name that under options"
    ) as error:
        load(written(tmp_path, sources=[{"name": "x", "url": url}]))
    assert "canary" not in str(error.value)
    assert ("under the kind that wants it" in str(error.value)) == ("::" in url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///exports/*.csv",
            "file:/exports/a@b:c/*.csv",
            "file:///a:b@c/x.csv",
            "local:///x",
            "memory://x/y?.csv",
        ),
        *("s3://bucket/year=2026/key=1/*.csv", "s3://bucket/a:b@c/x.csv", "s3://bucket/y?ar/*.csv", "gs://bucket/x"),
        *("https://h:8080/a@b/*.csv", "https://h/x.csv?month=5&format=csv&sv=1", "hf://datasets/me/x@main/*.csv"),
        *(
            "sftp://crm@host:22/out/*.csv",
            "abfs://container@account.dfs.core.windows.net/x/*.csv",
            "arrow_hdfs://u@h/x",
        ),
        *("simplecache::https://h/x.csv", "zip://*.csv::/data/a@b.zip", "zip://*.csv::simplecache::s3://bucket/x.zip"),
    ],
)
def test_a_url_without_a_secret_is_taken(tmp_path, url):
    assert load(written(tmp_path, sources=[{"name": "x", "url": url}])).sources[0].url == url


def test_what_evidence_needs_is_read(tmp_path):
    portfolio = load(written(tmp_path, **{**DATED, **CALLS, "columns": DATED["columns"] | CALLS["columns"]}))
    assert (portfolio.horizon, portfolio.treated, portfolio.hold_out) == (30, "called", 0.1)
    assert portfolio.features == ["age", "plan"]
    assert portfolio.rules.alpha == 0.2 / 365


def test_the_threshold_is_what_costs_say_else_what_is_given_else_a_half(tmp_path):
    assert load(written(tmp_path)).threshold == 0.5
    assert load(written(tmp_path, threshold=0.4)).threshold == 0.4
    assert load(written(tmp_path, costs=COSTS)).threshold == pytest.approx(5 / (0.3 * 400))


def test_all_faults_are_named_at_once(tmp_path):
    with pytest.raises(ParamsError) as error:
        load(written(tmp_path, colour=1, settle=-1))
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"title: a\ntitle: b", "'title' stands twice"),
        (b"a: [", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"- 1", "expected keys and values"),
    ],
)
def test_what_is_no_yaml_is_said_to_be_none(tmp_path, content, says):
    path = tmp_path / "shop.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=says):
        load(path)


def test_a_folder_in_the_place_of_a_yaml_is_called_one(tmp_path):
    (tmp_path / "shop.yaml").mkdir()
    with pytest.raises(ParamsError, match=r"shop\.yaml is a folder: move it away"):
        load(tmp_path / "shop.yaml")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("9" * 5000, "no number or date, though it looks like one, in line 2"),
        ("\n  - a\n  - " + "9" * 5000, "no number or date, though it looks like one, in line 4"),
        ("2026-13-45", "no number or date, though it looks like one, in line 2"),
        ("0x" + "f" * 5000, "too large a number, in line 2"),
        ("[" * 3000 + "]" * 3000, "more than 20 lists and maps within each other, in line 2"),
        ("[" * 200_000, "more than 20 lists and maps within each other, in line 2"),
        ("{a: " * 21 + "1" + "}" * 21, "more than 20 lists and maps within each other, in line 2"),
    ],
    ids=["long", "in a list", "date", "hexadecimal", "deep", "very deep", "maps"],
)
def test_a_value_that_cannot_be_read_is_named_with_its_key_and_line(tmp_path, value, says):
    path = tmp_path / "shop.yaml"
    path.write_text(f"title: Clients\nshow: {value}\n")
    with pytest.raises(ParamsError) as error:
        load(path)
    assert str(error.value) == f"{path}: show: {says}"


def test_a_value_that_would_fill_the_memory_is_shown_in_brief(tmp_path):
    names = "abcdefg"
    aliases = [f"- &{after} [{', '.join([f'*{name}'] * 9)}]" for name, after in pairwise(names)]
    path = tmp_path / "shop.yaml"
    path.write_text("\n".join(["title:", "- &a [1, 1, 1, 1, 1, 1, 1, 1, 1]", *aliases, ""]))
    with pytest.raises(ParamsError) as error:
        load(path)
    assert "title: Input should be a valid string, found [[1, 1, 1, 1, 1, 1, ...]" in str(error.value)
    assert len(str(error.value)) < 500


def test_a_missing_portfolio_is_told_where_it_should_be(tmp_path):
    with pytest.raises(ParamsError, match="no such portfolio"):
        load(tmp_path / "nobody.yaml")


@pytest.mark.parametrize("name", ["", "Demo", "../etc", "a/b", "a" * 33, "a.b", "dé", "a\n"])
def test_a_name_that_is_none_never_becomes_a_path(name):
    with pytest.raises(UsageError):
        Home(Path("/nowhere")).place(name)


def test_a_yaml_that_is_no_portfolio_for_its_name_is_told_with_what_to_call_it(tmp_path):
    home = Home(tmp_path)
    assert home.passed_over() == []
    (tmp_path / "data" / "My Clients").mkdir(parents=True)
    (tmp_path / "params").mkdir()
    wrong = ("2026.yaml", "Demo.yaml", "My Clients.yaml", "a\x1b.yaml", "shop.YML", "telco.yml", f"{'x' * 33}.yaml")
    for name in (*wrong, "demo.yaml", "notes.txt", "shop.yaml.off", ".demo.yaml", "demo.yaml~"):
        (tmp_path / "params" / name).touch()
    said = home.passed_over()
    assert home.portfolios() == ["demo"]
    assert [line.partition(" is no portfolio's YAML, so no tick takes its drops: ")[0] for line in said] == [
        f"{tmp_path / 'params'}: {name!r}" for name in wrong
    ]
    to = [line.partition("rename it to ")[2].partition("; if it is to be none")[0] for line in said]
    assert to[0] == "p2026.yaml"
    assert to[1].startswith("a name that is not taken, as demo is: ")
    assert to[2] == "my_clients.yaml, and its folder 'My Clients' in data/ to my_clients"
    assert to[3:] == ["a_.yaml", "shop.yaml", "telco.yaml", f"{'x' * 32}.yaml"]


def test_params_that_cannot_be_listed_are_not_taken_for_empty(tmp_path):
    (tmp_path / "params").touch()
    with pytest.raises(OSError, match="params"):
        Home(tmp_path).passed_over()
