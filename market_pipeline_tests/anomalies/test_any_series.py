"""Properties that hold for any series of positive finite prices."""

import math
from datetime import date, datetime, timedelta, timezone

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.detect import detect_day
from market_pipeline.anomalies.series import PriceSeries

DAY = date(2023, 6, 10)
FIRST = datetime(2023, 6, 3, tzinfo=timezone.utc)

prices = st.one_of(
    st.floats(min_value=5e-324, max_value=1e300, exclude_max=True),
    st.sampled_from([1e-9, 99.0, 100.0, 101.0, 106.0, 1e12]),
)
gaps = st.one_of(
    st.sampled_from([1e-6, 0.5, 60.0, 300.0, 3600.0, 3 * 86_400.0]), st.floats(min_value=1e-6, max_value=7200)
)


@st.composite
def any_series(draw):
    """Up to eighty quotes that end somewhere in the scored day, however they are spaced."""
    # Lists left to themselves are short, and the EWMA score speaks only after thirty returns.
    values = draw(st.lists(prices, min_size=draw(st.sampled_from([0, 40])), max_size=80))
    steps = draw(st.lists(gaps, min_size=len(values), max_size=len(values)))
    last = np.datetime64((FIRST + timedelta(days=7, hours=23)).replace(tzinfo=None), "us")
    microseconds = np.round(np.cumsum(np.array(steps, dtype=np.float64)) * 1e6).astype(np.int64)
    back = (microseconds[-1:] - microseconds).astype("timedelta64[us]")
    return PriceSeries("ANY", last - back, np.array(values, dtype=np.float64))


@settings(max_examples=150, deadline=None)
@given(any_series())
def test_every_row_can_be_stored_and_agrees_with_itself(series):
    rows = detect_day(series, DAY)
    assert len({(row.timestamp, row.detector) for row in rows}) == len(rows)
    for row in rows:
        numbers = [row.score, row.threshold, row.move, row.elapsed_seconds, row.price_before, row.price_after]
        assert all(math.isfinite(number) for number in numbers)
        assert row.expected_move is None or (math.isfinite(row.expected_move) and row.expected_move > 0)
        assert row.score >= row.threshold
        assert row.direction == ("up" if row.price_after > row.price_before else "down")
        assert row.elapsed_seconds == (row.timestamp - row.timestamp_before).total_seconds() > 0
        assert row.explanation.startswith("ANY ") and row.explanation.endswith(".")
        assert "nan" not in row.explanation and "inf" not in row.explanation


@settings(max_examples=60, deadline=None)
@given(any_series(), st.integers(min_value=0, max_value=80))
def test_what_comes_later_never_changes_what_was_flagged(series, kept):
    earlier = PriceSeries("ANY", series.timestamps[:kept], series.prices[:kept])
    before, after = detect_day(earlier, DAY), detect_day(series, DAY)
    assert before == after[: len(before)]


@settings(max_examples=60, deadline=None)
@given(any_series())
def test_the_two_point_rule_is_the_rule(series):
    flagged = {row.timestamp for row in detect_day(series, DAY) if row.detector == "two_point"}
    expected = set()
    for index in range(1, len(series)):
        ratio = float(series.prices[index]) / float(series.prices[index - 1])
        if abs(ratio - 1) >= 0.05 and series.time(index).date() == DAY:
            expected.add(series.time(index))
    assert flagged == expected
