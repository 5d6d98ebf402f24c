"""What a file's columns are, and what looks wrong with them."""

import random

import pytest
import yaml
from conftest import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attrition import params
from attrition.draft import yaml_text
from attrition.home import UsageError
from attrition.profile import Dialect, dialect, profile

ROWS = 600
RNG = random.Random(1)
LEFT = ["1" if RNG.random() < 0.3 else "0" for _ in range(ROWS)]


def table(**columns):
    """Columns beside an id, a number that says a little, and the outcome ``churned``."""
    usage = [f"{RNG.gauss(10, 3) + 2 * (left == '1'):.2f}" for left in LEFT]
    return {"client_id": [f"c{n}" for n in range(ROWS)], "usage": usage, "churned": LEFT, **columns}


def found(name, values, **asked):
    seen = profile(table(**{name: values}), "churned", **asked)
    return next(each for each in seen.columns if each.name == name), seen


def pick(*values):
    return [RNG.choice(values) for _ in range(ROWS)]


@pytest.mark.parametrize(
    ("values", "kind", "nullable"),
    [
        (pick("1", "2", "30", "-4"), "integer", False),
        (pick("1", "2.5", "", "1e3"), "number", True),
        (pick("0", "1"), "boolean", False),
        (pick("Yes", "No", ""), "boolean", True),
        (pick("2026-01-31", "2026-02-01"), "date", False),
        (pick("north", "south"), "category", False),
        (pick("01234", "99999"), "category", False),  # a postcode: its zero means something
        ([f"Mr {n}" for n in range(ROWS)], "text", False),
        (pick("1", "999999999999999999999"), "number", False),
    ],
)
def test_the_type_of_a_column(values, kind, nullable):
    column, _ = found("x", values)
    assert (column.type, column.nullable) == (kind, nullable)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "closed_on",
            ["2026-01-01x" if left == "1" else "" for left in LEFT],
            "closed_on: not learnt from: it tells churned",
        ),
        (
            "score",
            [f"{int(left) + RNG.random() / 2:.3f}" for left in LEFT],
            "it tells churned all by itself (AUC 1.000)",
        ),
        (
            "visits",
            [str(RNG.gauss(0, 1) + 3.2 * (left == "1")) for left in LEFT],
            "visits: it nearly tells the outcome by itself (AUC 0.9",
        ),
        ("exit_reason", pick("price", "none", "service"), "exit_reason: by its name it may be known only when"),
        ("account_no", [str(10_000 + 7 * n) for n in range(ROWS)], "account_no: not learnt from: it looks like an id"),
        ("row", [str(n) for n in range(1, ROWS + 1)], "row: not learnt from: it only numbers the rows"),
        ("fee", pick("10", "NA", "12.5"), "fields say 'NA' among numbers"),
        ("since", pick("31.01.2026", "01.02.2026"), "since: looks like a date"),
        ("country", ["DE"] * ROWS, "country: the same in every row"),
        ("nothing", [""] * ROWS, "nothing: ignored, it is empty in every row"),
        ("_hidden", pick("1", "2"), "_hidden: ignored"),
        ("USAGE", pick("1", "2"), "USAGE: ignored, another column's name differs only"),
    ],
)
def test_what_looks_wrong_is_said(name, values, said):
    seen = profile(table(**{name: values}), "churned")
    assert any(said in warning for warning in seen.warnings), seen.warnings
    assert seen.id == "client_id"


def test_what_is_fine_is_not_warned_of():
    assert profile(table(plan=pick("a", "b"), months=pick("1", "2", "3")), "churned").warnings == ()


def test_without_an_id_one_is_made_and_equal_rows_are_counted():
    seen = profile({"plan": ["a", "a", "b"] * 200, "churned": (["1"] * 3 + ["0"] * 3) * 100}, "churned")
    assert (seen.id, seen.made_id) == ("client", True)
    assert any("no column names a client, and 596 rows are equal to another" in each for each in seen.warnings)


def nameless(**columns):
    """A table in which no column is called an id."""
    return {name: values for name, values in table(**columns).items() if name != "client_id"}


def test_a_code_of_its_own_in_each_row_names_the_client_and_is_said():
    codes = [f"K{n:05d}" for n in range(ROWS)]
    seen = profile(nameless(kundencode=codes), "churned")
    assert (seen.id, seen.made_id) == ("kundencode", False)
    assert any("kundencode: taken for what names a client" in each for each in seen.warnings)
    assert profile(nameless(ref=[codes[0], *codes[:-1]]), "churned").made_id
    assert profile(nameless(one=codes, other=codes), "churned").made_id, "which of two?"
    assert profile(nameless(name=[f"Ann Bo {code}" for code in codes]), "churned").made_id, "names come again"


@pytest.mark.parametrize("name", ["Kundennummer", "Kunden-Nr.", "KundenID", "id", "Vertragsnummer", "customer id"])
def test_an_id_is_known_by_its_name_in_other_languages_too(name):
    seen = profile(nameless(**{name: [str(7 * n + 100) for n in range(ROWS)]}), "churned")
    assert seen.id == name


def test_an_id_may_be_told_and_may_come_again_on_another_day():
    columns = table(as_of=["2026-01-01", "2026-02-01"] * (ROWS // 2))
    columns["client_id"] = [f"c{n // 2}" for n in range(ROWS)]
    seen = profile(columns, "churned")
    assert (seen.id, seen.as_of, seen.made_id) == ("client_id", "as_of", False)
    told = profile(table(number=[str(n // 2) for n in range(ROWS)]), "churned", id="number")
    assert told.id == "number"
    assert (
        "number: 300 rows name a client that another row names too; of each client the last row counts" in told.warnings
    )


@pytest.mark.parametrize(
    ("values", "asked", "pair"),
    [
        (["good"] * 5 + ["bad"], None, ("bad", "good")),
        (["No"] + ["Yes"] * 5, None, ("Yes", "No")),
        (["blue"] * 5 + ["red"], None, ("red", "blue")),
        (["blue"] * 5 + ["red"], "blue", ("blue", "red")),
        (["no"] * 6, None, ("yes", "no")),
        (["1"] * 6, None, ("1", "0")),
    ],
)
def test_who_left_is_found_or_told(values, asked, pair):
    seen = profile({"x": [str(n) for n in range(6)], "y": values}, "y", positive=asked)
    assert (seen.positive, seen.negative) == pair
    assert any("few rows: 6 clients" in warning for warning in seen.warnings)
    if len(set(values)) == 1:
        assert any("every client has" in warning for warning in seen.warnings)


@pytest.mark.parametrize(
    ("columns", "asked", "said"),
    [
        ({"y": ["a", "b", "c"]}, {}, "3 different values"),
        ({"y": ["", ""]}, {}, "every field is empty"),
        ({"y": ["gone", "gone"]}, {}, "needs some that left and some that stayed"),
        ({"y": ["a", "b"]}, {"positive": "c"}, "no client has 'c'"),
        ({"x": ["a", "b"]}, {}, "no column 'y'; the file has x"),
        ({"y": ["a", "b"]}, {"id": "who"}, "no column 'who'"),
        ({"y": ["a", "b"], "_id": ["1", "2"]}, {"id": "_id"}, "'_id' begins with _"),
        ({"y": ["a", "b"], "i\0d": ["1", "2"]}, {"id": "i\0d"}, "a NUL in it: rename"),
    ],
)
def test_what_is_no_outcome_is_refused(columns, asked, said):
    with pytest.raises(UsageError, match=said):
        profile(columns, "y", **asked)


def test_how_excel_writes_numbers_is_found():
    lines = ["1.234,5;abc;1,2\r\n", "7;d,e;\r\n"]
    assert dialect("a;b;c\r\n", lines) == Dialect(";", ",")
    assert dialect("a;b\n", ["1.5;x,y\n"]) == Dialect(";", ".")
    assert dialect("a,b\n", ["1,2\n"]) == Dialect(",", ".")
    column, _ = found("fee", pick("1.234,5", "7"), decimal=",")
    assert (column.type, column.low, column.high) == ("number", 7, 1234.5)


texts = st.text(max_size=8) | st.sampled_from(
    ["", "1", "0", "2.5", "yes", "no", "NA", "2026-01-31", "007", "'", '"', ": #"]
)
names = st.text(min_size=1, max_size=12).map(str.strip).filter(bool)


@given(
    st.dictionaries(
        names.filter(lambda name: name.lower() != "usage"),
        st.lists(texts, min_size=12, max_size=12),
        min_size=1,
        max_size=5,
    ),
    names.filter(lambda name: name.lower() != "usage" and name[0] != "_" and "\0" not in name),
    st.booleans(),
)
@example({"USAGE": [""] * 12}, "left", False)
@example({"a\0b": ["1", "0"] * 6}, "left", False)
@settings(max_examples=examples(60))
def test_whatever_a_file_holds_a_good_portfolio_comes_of_it(tmp_path_factory, columns, target, excel):
    columns = {name: [value.strip() for value in values] for name, values in columns.items()} | {
        "usage": [str(n % 5) for n in range(12)],
        target: ["1", "0", "1", "0"] * 3,
    }
    form = Dialect(";", ",") if excel else Dialect(",", ".")
    path = tmp_path_factory.mktemp("home") / "shop.yaml"
    seen = profile(columns, target, decimal=form.decimal)
    path.write_bytes(yaml_text(seen, form, title=target, source="clients\n.csv").encode("utf-8", "replace"))
    portfolio = params.load(path)
    assert portfolio.id == seen.id
    assert yaml.safe_load(path.read_bytes())["target"] == {"column": target, "positive": "1", "negative": "0"}
    assert {each.name for each in seen.columns} <= set(portfolio.columns)
