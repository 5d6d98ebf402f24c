"""A portfolio's YAML is checked before anything starts; a fault names file, key and what is expected."""

from pathlib import Path

import pytest
import yaml

from attrition.home import REPOSITORY, Home, UsageError
from attrition.params import ParamsError, load

GOOD = {
    "title": "Clients",
    "id": "client",
    "columns": {"client": {"type": "text"}, "age": {"type": "integer"}, "plan": {"type": "category"}},
    "target": {"column": "left"},
}


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
        ({"name": "x"}, "name: unknown key"),
    ],
)
def test_a_fault_names_file_key_and_expectation(tmp_path, changes, says):
    path = written(tmp_path, **changes)
    with pytest.raises(ParamsError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert says in str(error.value)


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


def test_a_missing_portfolio_is_told_where_it_should_be(tmp_path):
    with pytest.raises(ParamsError, match="no such portfolio"):
        load(tmp_path / "nobody.yaml")


@pytest.mark.parametrize("name", ["", "Demo", "../etc", "a/b", "a" * 33, "a.b", "dé", "a\n"])
def test_a_name_that_is_none_never_becomes_a_path(name):
    with pytest.raises(UsageError):
        Home(Path("/nowhere")).place(name)
