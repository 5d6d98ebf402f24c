import csv
import io
import json

import homes
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition import body
from attrition.body import Reader, Refused

SHOP = homes.portfolio()
EXPECTED = {
    "client": "expected text of at most 1000 signs",
    "usage": "expected a number from 0 to 1000",
    "tenure": "expected a whole number of at least 0",
    "vip": "expected true or false",
    "plan": "expected one of basic, plus",
    "region": "expected text of 1 to 1000 signs",
    "balance": "expected a number",
    "since": "expected a date: YYYY-MM-DD",
}
JSON, CSV = "application/json", "text/csv"


def read(data, media_type=JSON, portfolio=SHOP):
    data = data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else json.dumps(data).encode()
    return Reader(portfolio, portfolio.features).read(data, media_type)


def records(data, media_type=JSON, portfolio=SHOP):
    """The rows that were read, without what is missing."""
    found = read(data, media_type, portfolio)
    rows = zip(*found.columns.values(), strict=True)
    return [{name: value for name, value in zip(found.columns, row, strict=True) if value is not None} for row in rows]


def refused(data, media_type=JSON, portfolio=SHOP):
    with pytest.raises(Refused) as caught:
        read(data, media_type, portfolio)
    return caught.value


def as_csv(records, delimiter=","):
    file = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(names)
    writer.writerows([["" if record.get(name) is None else record[name] for name in names] for record in records])
    return file.getvalue().encode()


def test_a_record_and_a_list_of_it_are_the_same():
    assert records(homes.RECORD) == records([homes.RECORD]) == [homes.RECORD]


@pytest.mark.parametrize("drop", ["client", "since", "region", "balance"])
def test_optional_columns_may_be_left_out_or_null(drop):
    without = {name: value for name, value in homes.RECORD.items() if name != drop}
    assert records(without) == records({**without, drop: None}) == [without]


@pytest.mark.parametrize("drop", ["usage", "tenure", "vip", "plan"])
def test_required_columns_may_not(drop):
    without = {name: value for name, value in homes.RECORD.items() if name != drop}
    for record in (without, {**without, drop: None}):
        assert refused(record).problems == [{"row": 0, "field": drop, "problem": "missing"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("usage", True),
        ("usage", "5"),
        ("usage", [5]),
        ("usage", float("nan")),
        ("usage", float("inf")),
        ("usage", -0.5),
        ("usage", 1000.5),
        ("tenure", 1.5),
        ("vip", 2),
        ("vip", "true"),
        ("vip", 1.0),
        ("plan", "gold"),
        ("plan", 1),
        ("plan", ""),
        ("region", "x" * 1001),
        ("client", 5),
        ("since", "2026-02-30"),
        ("since", "20260201"),
        ("since", 20260201),
        ("balance", {"deep": {}}),
    ],
)
def test_a_wrong_value_is_named_by_row_and_field(field, value):
    found = refused([homes.RECORD, {**homes.RECORD, field: value}])
    assert (found.status, found.problems) == (422, [{"row": 1, "field": field, "problem": EXPECTED[field]}])


@pytest.mark.parametrize("field", ["left", "colour"])
def test_an_unknown_column_is_named(field):
    assert refused([homes.RECORD, {**homes.RECORD, field: 1}]).problems == [
        {"row": 1, "field": field, "problem": "unknown column"}
    ]


@pytest.mark.parametrize("value", [0, 3, 3.0, 1e30])
def test_a_whole_number_may_be_written_as_a_float(value):
    assert records({**homes.RECORD, "tenure": value})[0]["tenure"] == value


@pytest.mark.parametrize("value", [0, 1, True, False])
def test_a_boolean_is_true_false_0_or_1(value):
    assert records({**homes.RECORD, "vip": value})[0]["vip"] == value


def test_a_number_out_of_range_is_named_although_the_document_is_not_json():
    text = json.dumps([homes.RECORD, {**homes.RECORD, "usage": "?"}]).replace('"?"', "1e400")
    assert refused(text).problems == [{"row": 1, "field": "usage", "problem": EXPECTED["usage"]}]


def test_all_bad_rows_are_named_up_to_a_hundred():
    bad = {**homes.RECORD, "usage": "x", "plan": "gold"}
    assert [problem["row"] for problem in refused([bad, homes.RECORD, bad]).problems] == [0, 0, 2, 2]
    assert len(refused([bad] * 300).problems) == body.MOST_PROBLEMS


def test_rows_that_are_none_are_named_among_the_others():
    found = refused([5, homes.RECORD, None, {**homes.RECORD, "vip": "x"}]).problems
    assert [(each["row"], each["field"]) for each in found] == [(0, None), (2, None), (3, "vip")]


@pytest.mark.parametrize("data", [b"", b"{", b"nope", b"\xff", b'{"a":1}x', b'{"usage": 01}', b'"\\ud800'])
def test_what_is_no_json_is_a_bad_request(data):
    assert refused(data).status == 400


@pytest.mark.parametrize("data", [b"[" * 1_000_000, b'{"a":' * 100_000, b"[" * 1000 + b"]" * 1000])
def test_depth_does_no_harm(data):
    assert refused(data).status in (400, 422)


def test_a_lone_surrogate_is_no_text():
    assert refused(json.dumps({**homes.RECORD, "client": "\ud800"})).status == 400
    faults = refused(json.dumps([{**homes.RECORD, "plan": "\ud800"}, {**homes.RECORD, "\udfff": 1}])).problems
    assert [(each["row"], each["field"]) for each in faults] == [(0, "plan"), (1, "?")]
    assert refused(json.dumps({"\ud800": [1], "plan": ["\ud800"], "usage": 1})).status == 422
    assert msgspec.json.encode(faults), "what is told can be sent"


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_other_media_types_are_refused(media_type):
    assert refused(homes.RECORD, media_type).status == 415


def test_limits():
    assert refused([homes.RECORD] * (body.MOST_ROWS + 1)).status == 413
    assert refused("usage\n" + "1\n" * (body.MOST_ROWS + 1), CSV).status == 413
    assert refused(b" " * (body.MOST_BYTES + 1)).status == 413
    assert read([homes.RECORD] * body.MOST_ROWS).size == body.MOST_ROWS


@pytest.mark.parametrize(("data", "media_type"), [("[]", JSON), ("", CSV), ("usage,plan\n", CSV), ("\n\n", CSV)])
def test_no_rows_are_an_error(data, media_type):
    assert refused(data, media_type).status == 422


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_gives_the_rows_that_json_gives(delimiter):
    sent = [homes.RECORD, {**homes.RECORD, "region": None, "balance": None, "since": "2026-01-01", "vip": 0}]
    shop = homes.portfolio(delimiter=delimiter)
    assert records(as_csv(sent, delimiter), CSV, shop) == records(sent)


def test_columns_give_the_rows_that_records_give():
    sent = [homes.RECORD, {**homes.RECORD, "region": None, "balance": None, "since": "2026-01-01", "vip": 0}]
    names = [name for name in homes.COLUMNS if name != "region"]
    columns = {name: [row.get(name) for row in sent] for name in names}
    assert read(columns).columnar
    assert records(columns) == [
        {name: value for name, value in row.items() if name != "region"} for row in records(sent)
    ]


def test_faults_in_columns_are_named():
    columns = {name: [value, value] for name, value in homes.RECORD.items()}
    assert refused({**columns, "usage": [1, 2, 3]}).detail == "the columns differ in length"
    assert refused({**columns, "usage": 5}).problems == [{"row": None, "field": "usage", "problem": "not a list"}]
    del columns["plan"]
    found = [(each["row"], each["field"]) for each in refused({**columns, "usage": [1, "x"], "left": [0, 0]}).problems]
    assert found == [(None, "left"), (None, "plan"), (1, "usage")]


def test_the_names_of_columns_may_be_any_text():
    odd = {
        "Total Charges": {"type": "number"},
        "class": {"type": "category"},
        "f0": {"type": "integer"},
        "é-1": {"type": "boolean"},
    }
    shop = homes.portfolio(columns=odd, id=None)
    row = {"Total Charges": 1.5, "class": "a", "f0": 2, "é-1": True}
    assert records(row, portfolio=shop) == records(as_csv([row]), CSV, shop) == [row]
    assert refused({**row, "class": 1}, portfolio=shop).problems[0]["field"] == "class"


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_csv_from_a_spreadsheet(prefix, ending):
    text = prefix + ending.join(["usage,tenure,vip,plan", "5,1,Yes,basic", "", "6,2,FALSE,plus", ""])
    assert [(row["usage"], row["vip"]) for row in records(text, CSV)] == [(5, True), (6, False)]


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", " 5", "0x10", "٥", "5,0", "--5", "1e", "1e999"])
def test_what_looks_like_a_number_to_python_only_is_none(text):
    assert refused(as_csv([{**homes.RECORD, "usage": text}]), CSV).problems[0]["problem"] == EXPECTED["usage"]


def test_csv_faults_are_named():
    text = "usage,tenure,vip,plan,left\n1,2,1,basic,0\n1,2\n1e999,2,1,basic,0\n" + "9" * 400 + ",2,1,basic,0\n"
    found = [(each["row"], each["field"], each["problem"]) for each in refused(text, CSV).problems]
    assert found == [
        (None, "left", "unknown column"),
        (1, None, "2 fields where the header has 5"),
        (2, "usage", EXPECTED["usage"]),
        (3, "usage", EXPECTED["usage"]),
    ]


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"usage\n\xff\n", 400), (b'usage\n"5\n', 400), (b"usage,usage\n1,2\n", 422), (b"usage\n" + b"9" * 200_000, 400)],
)
def test_unreadable_csv(data, status):
    assert refused(data, CSV).status == status


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*homes.COLUMNS, "x"]), inner, max_size=9)
    ),
    max_leaves=20,
)


@given(ANY)
def test_any_json_gives_rows_or_a_refusal(value):
    _rows_or_refusal(json.dumps(value).encode(), JSON)


@given(st.binary(max_size=200), st.sampled_from([JSON, CSV]))
def test_any_bytes_give_rows_or_a_refusal(data, media_type):
    _rows_or_refusal(data, media_type)


@given(st.text(alphabet='usage,tenurevipl\n"1.5e;é', max_size=200))
def test_any_text_gives_rows_or_a_refusal(text):
    _rows_or_refusal(text.encode(), CSV)


def _rows_or_refusal(data, media_type):
    status, found = 200, []
    try:
        found = records(data, media_type)
    except Refused as refusal:
        status = refusal.status
    assert status in (400, 422) or found
    assert all(row["usage"] >= 0 and row["plan"] in ("basic", "plus") for row in found)


SECRET = "Zq7-secret"


@given(st.sampled_from(list(homes.COLUMNS)), st.sampled_from([SECRET, [SECRET], {SECRET: SECRET}, [{"a": SECRET}]]))
def test_no_value_is_repeated(field, value):
    found = refused({**homes.RECORD, "plan": "gold", field: value})
    assert SECRET not in json.dumps([found.detail, found.problems])


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"{" + b'"a":1,' * 1_000_000 + b'"a":1}', JSON),
        (b"[" + b"{}," * 1_000_000 + b"{}]", JSON),
        (b",".join([b"usage"] * 1_000_000) + b"\n", CSV),
    ],
)
def test_a_million_fields_are_refused_unread(data, media_type):
    assert refused(data, media_type).status == 413


@given(st.sampled_from(list(homes.COLUMNS)), ANY)
def test_a_body_is_refused_just_where_a_value_of_it_is_named(field, value):
    """The two ways through a body must agree, or a fault would go unnamed, or a body that is right be refused."""
    data = json.dumps({**homes.RECORD, field: value})
    if "NaN" in data or "Infinity" in data:
        assert refused(data).status in (400, 422)
        return
    try:
        read(data)
        problems = []
    except Refused as refusal:
        problems = [(each["row"], each["field"]) for each in refusal.problems]
    reader = Reader(SHOP, SHOP.features)
    named = [(each["row"], each["field"]) for each in reader._faults([json.loads(data)])]
    lone = any("\ud800" <= sign <= "\udfff" for sign in str(json.loads(data)))
    assert problems == named or lone or isinstance(value, list)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.234,5", 1234.5), ("7", 7), ("-0,5", -0.5), ("1.234", 1234), ("1e2", 100), (",5", 0.5)],
)
def test_a_csv_has_the_portfolios_decimal_sign_as_its_drops_have(text, value):
    local = homes.portfolio(decimal=",", thousands=".", delimiter=";")
    rows = read(as_csv([{**homes.RECORD, "balance": text, "usage": "12,5"}], ";"), CSV, local)
    assert rows.columns["balance"] == [value]
    assert rows.columns["usage"] == [12.5]


@pytest.mark.parametrize("text", ["1.5", "1,234.5", "1.23,4", "1 234"])
def test_a_number_with_another_decimal_sign_is_refused_and_not_read_as_another(text):
    local = homes.portfolio(decimal=",", thousands=".", delimiter=";")
    assert refused(as_csv([{**homes.RECORD, "balance": text, "usage": "1"}], ";"), CSV, local).status == 422
