"""Measures in two passes are those of NumPy, whatever the values and however they are cut into parts."""

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrition import moments
from attrition.moments import measures


def asked(*parts):
    """One that answers for these parts, each a list of values, and notes what it was asked."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE rows (part BIGINT, x DOUBLE)")
    for number, values in enumerate(parts):
        connection.execute("INSERT INTO rows SELECT $n, unnest($v::DOUBLE[])", {"n": number, "v": [*values]})
    wheres = []

    def answer(some, select, where):
        wheres.append(where)
        values = ", ".join(f"{sql} AS {name}" for name, sql in select.items())
        found = []
        for number in range(len(parts)):
            part = f"(SELECT x FROM rows{some} WHERE part = {number})"
            row = connection.execute(f"SELECT {values} FROM {part} WHERE {where}")
            found.append(dict(zip([name for name, *_ in row.description], row.fetchone(), strict=True)))
        return found

    def ask(select, *, where="true"):
        return answer("", select, where)

    def sample(select, *, where="true"):
        return answer(" TABLESAMPLE BERNOULLI(2.5 PERCENT) REPEATABLE (1)", select, where)

    return ask, sample, wheres


def expect(found, values, rows):
    known = np.array([value for value in values if value is not None], dtype=float)
    assert (found.rows, found.known) == (rows, known.size)
    if known.size:
        assert found.median == np.median(known)
        assert (found.min, found.max) == (known.min(), known.max())
        scale = max(1.0, np.abs(known).max())
        assert found.mean == pytest.approx(known.mean(), abs=1e-12 * scale)
        if known.size > 1:
            assert found.std == pytest.approx(known.std(ddof=1), rel=1e-9, abs=1e-7 * scale)


values = st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(-3, 3).map(float)), max_size=60)


@given(parts=st.lists(values, min_size=1, max_size=4))
def test_few_values(parts):
    together = [value for part in parts for value in part]
    ask, _, _ = asked(*parts)
    (found,) = measures(ask, ask, ["x"], len(together))
    expect(found, together, len(together))


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.normal(1e6, 1e-3, n),
        lambda rng, n: rng.integers(0, 3, n).astype(float),
        lambda rng, n: rng.integers(0, 2, n).astype(float),
        lambda rng, n: np.zeros(n),
        lambda rng, n: np.sort(rng.exponential(1, n)),
    ],
    ids=["a large mean", "three values", "two values", "one value", "in order"],
)
def test_many_values(draw):
    values = draw(np.random.default_rng(1), 20_001)
    ask, sample, wheres = asked(values[:5000], values[5000:])
    (found,) = measures(ask, sample, ["x"], len(values))
    expect(found, values, len(values))
    assert len(wheres) == 4  # the sample, the sums, what lies below, what lies between


def test_a_sample_that_misleads_costs_another_pass(monkeypatch):
    monkeypatch.setattr(moments, "SPREAD", 0.001)
    values = np.random.default_rng(1).normal(size=20_000)
    ask, sample, wheres = asked(values)
    (found,) = measures(ask, sample, ["x"], len(values))
    expect(found, values, len(values))
    assert len(wheres) > 4


@given(values=values, stand_in=st.floats(-10, 10))
def test_mean_and_variance_of_a_column_with_its_gaps_filled(values, stand_in):
    ask, _, _ = asked(values)
    (found,) = measures(ask, ask, ["x"], len(values))
    filled = np.array([stand_in if value is None else value for value in values])
    if filled.size:
        scale = max(1.0, np.abs(filled).max())
        mean, variance = found.filled(stand_in)
        assert mean == pytest.approx(filled.mean(), abs=1e-9 * scale)
        assert variance == pytest.approx(filled.var(), rel=1e-7, abs=1e-7 * scale**2)
