"""Properties that hold for any series of positive finite prices."""

import math
from dataclasses import fields
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.words.sentences import LONGEST_HEADLINE
from market_pipeline.core.columns import Columns

FIRST = np.datetime64(datetime(2023, 6, 3), "us")

prices = st.one_of(
    st.floats(min_value=5e-324, max_value=1e300, exclude_max=True),
    st.sampled_from([1e-9, 99.0, 100.0, 101.0, 106.0, 1e12]),
)
gaps = st.one_of(
    st.sampled_from([1e-6, 0.5, 60.0, 300.0, 3600.0, 3 * 86_400.0]), st.floats(min_value=1e-6, max_value=7200)
)
NUMBERS = [field.name for field in fields(Anomaly) if field.type in ("float", "float | None")]


@st.composite
def any_prices(draw: st.DrawFn) -> Columns:
    """Up to three coins of up to eighty quotes each, however they are spaced."""
    tables = []
    for symbol in ("BTC", "ETH", "SOL")[: draw(st.integers(1, 3))]:
        # Lists left to themselves are short, and most rules speak only after thirty quotes.
        drawn = draw(st.lists(prices, min_size=draw(st.sampled_from([1, 40])), max_size=80))
        steps = draw(st.lists(gaps, min_size=len(drawn), max_size=len(drawn)))
        # In whole microseconds: a sum of many steps has no room for the smallest.
        moments = np.cumsum(np.rint(np.array(steps) * 1e6).astype(np.int64)).astype("timedelta64[us]")
        tables.append((np.full(len(drawn), symbol, dtype=object), FIRST + moments, np.array(drawn)))
    symbols, times, values = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    return Columns({"symbol": symbols, "timestamp": times, "price": values})


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(any_prices())
def test_every_row_can_be_stored_and_agrees_with_itself_and_the_two_point_rule_is_the_rule(quotes: Columns) -> None:
    rows = detect_columns(score_columns(quotes))
    assert len({(row.symbol, row.timestamp, row.kind) for row in rows}) == len({row.id for row in rows}) == len(rows)
    ids = {row.id for row in rows}
    assert NUMBERS
    for row in rows:
        assert all(math.isfinite(value) for name in NUMBERS if (value := getattr(row, name)) is not None)
        assert row.score >= row.threshold
        # From its start to the quote, or to the peak of its episode.
        end = row.timestamp_before + timedelta(seconds=row.elapsed_seconds)
        assert row.timestamp_before < row.timestamp <= end
        assert end == row.timestamp or row.event_id in (None, row.id) or row.kind == "large_move"
        assert row.episode_first <= row.episode_last and row.detected_at >= row.timestamp
        assert row.event_id is None or row.event_id in ids
        if row.kind != "stale_feed":
            assert row.direction == ("up" if row.price_after > row.price_before else "down")
        assert len(row.headline) <= LONGEST_HEADLINE
        for text in (row.headline, row.explanation):
            assert text.endswith(".") and "nan" not in text and "inf" not in text

    flagged = {(row.symbol, row.timestamp) for row in rows if row.kind == "user_threshold"}
    symbols, values, times = quotes["symbol"], quotes["price"].tolist(), quotes.datetimes("timestamp")
    assert flagged == {
        (symbols[index], times[index])
        for index in range(1, len(quotes))
        if symbols[index] == symbols[index - 1]
        and times[index] - times[index - 1] <= timedelta(hours=6)
        and abs(values[index] / values[index - 1] - 1) >= 0.05
    }
