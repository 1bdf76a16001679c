"""Properties that hold for any series of positive finite prices."""

import math
from dataclasses import fields
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns

FIRST = np.datetime64(datetime(2023, 6, 3), "us")

prices = st.one_of(
    st.floats(min_value=5e-324, max_value=1e300, exclude_max=True),
    st.sampled_from([1e-9, 99.0, 100.0, 101.0, 106.0, 1e12]),
)
gaps = st.one_of(
    st.sampled_from([1e-6, 0.5, 60.0, 300.0, 3600.0, 3 * 86_400.0]), st.floats(min_value=1e-6, max_value=7200)
)
NUMBERS = [field.name for field in fields(Anomaly) if field.type in ("float", "float | None", float)]


@st.composite
def any_prices(draw):
    """Up to three coins of up to eighty quotes each, however they are spaced."""
    tables = []
    for symbol in ("BTC", "ETH", "SOL")[: draw(st.integers(1, 3))]:
        # Lists left to themselves are short, and most rules speak only after thirty quotes.
        values = draw(st.lists(prices, min_size=draw(st.sampled_from([1, 40])), max_size=80))
        steps = draw(st.lists(gaps, min_size=len(values), max_size=len(values)))
        moments = np.round(np.cumsum(np.array(steps)) * 1e6).astype(np.int64).astype("timedelta64[us]")
        tables.append((np.full(len(values), symbol, dtype=object), FIRST + moments, np.array(values)))
    symbols, times, values = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    return Columns({"symbol": symbols, "timestamp": times, "price": values})


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(any_prices())
def test_every_row_can_be_stored_and_agrees_with_itself(quotes) -> None:
    rows = detect_columns(score_columns(quotes))
    assert (
        len({(row.symbol, row.timestamp, row.kind) for row in rows})
        == len({row.id for row in rows})
        == len(rows)
    )
    ids = {row.id for row in rows}
    for row in rows:
        assert NUMBERS
        assert all(
            value is None or math.isfinite(value) for value in (getattr(row, name) for name in NUMBERS)
        )
        assert row.score >= row.threshold
        assert row.elapsed_seconds == (row.timestamp - row.timestamp_before).total_seconds() > 0
        assert row.episode_first <= row.episode_last and row.detected_at >= row.timestamp
        assert row.event_id is None or row.event_id in ids
        if row.kind != "stale_feed":
            assert row.direction == ("up" if row.price_after > row.price_before else "down")
        assert row.explanation.endswith(".")
        assert "nan" not in row.explanation and "inf" not in row.explanation


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(any_prices())
def test_the_two_point_rule_is_the_rule(quotes) -> None:
    rows = detect_columns(score_columns(quotes))
    flagged = {(row.symbol, row.timestamp) for row in rows if row.kind == "user_threshold"}
    expected = set()
    values = quotes["price"].tolist()
    times = [time.replace(tzinfo=timezone.utc) for time in quotes["timestamp"].tolist()]
    for index in range(1, len(quotes)):
        same = quotes["symbol"][index] == quotes["symbol"][index - 1]
        if same and abs(values[index] / values[index - 1] - 1) >= 0.05:
            expected.add((quotes["symbol"][index], times[index]))
    assert flagged == expected
    assert all(time - FIRST.item().replace(tzinfo=timezone.utc) >= timedelta(0) for _, time in flagged)
