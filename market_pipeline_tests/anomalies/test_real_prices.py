"""The detectors on real prices: November 2022, when an exchange collapsed."""

from datetime import date, timedelta

import numpy as np
import pytest

from market_pipeline.anomalies.detect import detect_days
from market_pipeline.storage.columns import Columns

SYMBOLS = ("ADA", "BTC", "DOT", "ETH", "SOL")
COLLAPSE = (date(2022, 11, 8), date(2022, 11, 9), date(2022, 11, 10))
HOUR = timedelta(hours=1)


def symbols_flagged(rows, day):
    return {row.symbol for row in rows if row.timestamp.date() == day}


@pytest.fixture(scope="module")
def month(real_prices):
    """The anomalies of 2022-10-22 to 2022-11-24, every 5 minutes."""
    days = [date(2022, 10, 22) + timedelta(days=number) for number in range(34)]
    return detect_days(real_prices, [(day, symbol) for day in days for symbol in SYMBOLS])


def test_the_days_of_the_collapse_are_flagged_in_five_minute_quotes(month):
    """On the 9th volatility was already high: only SOL, which halved, moved by 5 % in 5 minutes."""
    assert len(symbols_flagged(month, COLLAPSE[0])) >= 3
    assert "SOL" in symbols_flagged(month, COLLAPSE[1])
    assert len(symbols_flagged(month, COLLAPSE[2])) >= 3


@pytest.mark.parametrize("day", COLLAPSE)
def test_the_days_of_the_collapse_are_flagged_in_hourly_quotes(real_prices, day):
    """Hourly quotes are what a completed past day holds."""
    on_the_hour = real_prices["timestamp"] == real_prices["timestamp"].astype("datetime64[h]")
    rows = detect_days(real_prices.where(on_the_hour), [(day, symbol) for symbol in SYMBOLS])
    assert len(symbols_flagged(rows, day)) >= 3


def test_ordinary_days_are_not_drowned_in_alarms(month):
    """Alarms within an hour are one episode; 0.1 to 1.0 of them per symbol and day can be read."""
    episodes = 0
    for symbol in SYMBOLS:
        times = sorted(row.timestamp for row in month if row.symbol == symbol and row.detector == "ewma")
        episodes += 1 + sum(
            later - earlier > HOUR for earlier, later in zip(times, times[1:], strict=False)
        )
    assert 0.1 <= episodes / (34 * len(SYMBOLS)) <= 1.0


def test_the_jump_at_the_inflation_report_is_told_in_a_sentence(real_prices: Columns):
    rows = detect_days(real_prices, [(date(2022, 11, 10), "ETH")])
    [row] = [row for row in rows if row.detector == "two_point"]
    assert row.explanation == (
        "ETH rose 8.1 % from $1,203.60 to $1,300.58 in 5 min (2022-11-10 13:30-13:35 UTC), "
        "more than the 5 % limit."
    )
    assert row.expected_move == pytest.approx(0.0052, abs=0.0005)


def test_multiplying_real_prices_changes_no_ewma_row(real_prices):
    """Prices in another currency are the same market."""
    partitions = [(day, symbol) for day in COLLAPSE for symbol in SYMBOLS]
    scaled = Columns({**real_prices.arrays, "price": real_prices["price"] * 1000})
    keys = [
        [(row.symbol, row.timestamp, round(row.score, 6)) for row in rows if row.detector == "ewma"]
        for rows in (detect_days(real_prices, partitions), detect_days(scaled, partitions))
    ]
    assert keys[0] == keys[1]
    assert len(np.unique([symbol for symbol, _, _ in keys[0]])) >= 3
