"""The candles of a chart: as many as can be drawn, each in a band that holds at its interval."""

from datetime import timedelta

import numpy as np
import pytest

from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.pipeline.candle_scores import MOST_CANDLES, chart_interval, scored_candles
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import START, at, price_row

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(("days", "interval"), [
    (0.01, MINUTE), (1, MINUTE), (7, 10 * MINUTE), (30, 30 * MINUTE), (90, 2 * HOUR), (365, 6 * HOUR),
    (5 * 365, DAY), (80 * 365, 30 * DAY),
])
def test_the_shortest_interval_with_which_few_candles_reach(days: float, interval: timedelta) -> None:
    assert chart_interval(START, START + days * DAY) == interval
    assert days * DAY / interval <= MOST_CANDLES


def store_walk(database: Database, days: int) -> None:
    """Quotes each 15 minutes until the start plus 2 days, with a day without any before it."""
    minutes = np.arange(-days * 1440, 2 * 1440, 15)
    minutes = minutes[(minutes < -2 * 1440) | (minutes >= -1440)]
    rng = np.random.default_rng(4)
    prices = 100 * np.exp(np.cumsum(0.002 * rng.standard_normal(len(minutes))))
    count = len(minutes)
    row = price_row()
    columns = {name: np.full(count, row[name], dtype=object) for name in ("symbol", "coin_id", "source")}
    times = to_datetime64(START) + (minutes * 60_000_000).astype("timedelta64[us]")
    upsert(database, raw_prices, Columns({**columns, "timestamp": times, "ingested_at": times, "price": prices}))


@pytest.mark.parametrize("interval", [5 * MINUTE, 4 * HOUR])
def test_a_band_is_for_the_interval_of_the_candles(sqlite_database: Database, interval: timedelta) -> None:
    """Two thirds of the closes lie within one standard deviation of it, whatever the interval."""
    store_walk(sqlite_database, 40)
    end = START + 2 * DAY
    found = scored_candles(sqlite_database, "BTC", START - 35 * DAY, end, interval, end)
    found = found.between(START - 35 * DAY, end)
    assert found["price_before"][1:].tolist() == found["price"][:-1].tolist()
    assert len(found) == pytest.approx(36 * DAY / max(interval, 15 * MINUTE), abs=1)
    moves = np.abs(found["price"] / found["price_before"] - 1) / found["expected_move"]
    assert 0.6 < np.mean(moves < 1) < 0.85 and np.mean(moves < 3) > 0.95


def test_a_band_hardly_depends_on_what_else_is_shown(sqlite_database: Database) -> None:
    """What comes before the chart is read to warm up."""
    store_walk(sqlite_database, 12)
    span = START, START + DAY / 2
    whole = scored_candles(sqlite_database, "BTC", START - DAY, START + DAY, HOUR, at(5000))
    part = scored_candles(sqlite_database, "BTC", *span, HOUR, at(5000)).between(*span)
    same = whole.between(*span)
    assert part["timestamp"].tolist() == same["timestamp"].tolist() and len(part) == 12
    assert np.allclose(part["expected_move"], same["expected_move"], rtol=0.1)


def test_no_quotes_are_no_candles(sqlite_database: Database) -> None:
    assert len(scored_candles(sqlite_database, "BTC", START, START + DAY, HOUR, at(5000))) == 0
