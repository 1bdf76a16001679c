"""Keys and slices on arrays agree with the plain way of saying the same."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.core.slices import Slice
from market_pipeline.storage.rows.read import Ranked, last_of_each_key, require_inside

small = st.integers(-3, 3)


@given(st.lists(st.tuples(small, small, small)))
def test_the_last_row_of_each_key_is_kept_in_the_order_of_keys(keys):
    arrays = [np.array(column, dtype=np.int64) for column in zip(*keys)] or [np.empty(0, dtype=np.int64)] * 3
    order = last_of_each_key(arrays)
    last = {key: number for number, key in enumerate(keys)}
    expected = [last[key] for key in sorted(last)]
    assert (list(range(len(keys))) if order is None else order.tolist()) == expected


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), small), max_size=20),
    st.lists(st.tuples(st.sampled_from("ABD"), small, st.integers(0, 2)), max_size=4),
)
def test_rows_are_inside_exactly_if_a_slice_holds_their_day(rows, slices):
    epoch = date(1970, 1, 1)
    parts = [
        Slice(s, epoch + timedelta(days=first), epoch + timedelta(days=first + more))
        for s, first, more in slices
    ]
    texts = sorted({symbol for symbol, _ in rows})
    ranks = np.array([texts.index(symbol) for symbol, _ in rows], dtype=np.int64)
    days = np.array([day for _, day in rows], dtype=np.int64)
    astray = [
        (s, d)
        for s, d in rows
        if not any(p.symbol == s and p.first <= epoch + timedelta(days=d) <= p.last for p in parts)
    ]
    if not astray:
        require_inside("t", Ranked(texts, ranks), days, parts)
        return
    with pytest.raises(
        ValueError,
        match=f"{len(astray)} rows for t lie outside .*{astray[0][0]} {epoch + timedelta(days=astray[0][1])}",
    ):
        require_inside("t", Ranked(texts, ranks), days, parts)
