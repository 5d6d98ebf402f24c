"""What is left in a notebook's outputs is what is read back."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition import record

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def notebook(path, *values):
    outputs = [{"output_type": "display_data", "data": {record.MIME: {"name": n, "data": d}}} for n, d in values]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": outputs}]}))
    return path


@given(data=anything)
def test_plain_values_stay_what_they_are(data):
    assert record.plain(data) == data
    assert json.loads(json.dumps(record.plain(data), allow_nan=False)) == data


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (math.nan, None),
        (math.inf, None),
        (np.float64(0.5), 0.5),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.array([1.0, np.nan]), [1.0, None]),
        (pd.Series({"a": 1}), {"a": 1}),
        (pd.DataFrame({"a": [1, 2]}), [{"a": 1}, {"a": 2}]),
        (pd.Timestamp("2026-03-01"), "2026-03-01T00:00:00"),
        ((1, 2), [1, 2]),
        ({1: 2}, {"1": 2}),
    ],
)
def test_what_data_scientists_hold_becomes_plain(given, plain):
    assert record.plain(given) == plain


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="object cannot be recorded"):
        record.plain(object())


def test_of_a_name_left_twice_the_last_counts(tmp_path):
    assert record.read(notebook(tmp_path / "a.ipynb", ("n", 1), ("m", 2), ("n", 3))) == {"n": 3, "m": 2}


def test_a_value_that_was_not_left_is_named_with_those_that_were(tmp_path):
    path = notebook(tmp_path / "20_monitor.ipynb", ("verdict", 1))
    with pytest.raises(record.NotRecorded, match=r"20_monitor.ipynb recorded no 'decision'; it has verdict"):
        record.value(path, "decision")
