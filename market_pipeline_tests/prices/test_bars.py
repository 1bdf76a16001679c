"""Bars of days: realised volatility by its formula, completeness by the hours that have a quote."""

import math

import numpy as np
import pytest

from market_pipeline.core.columns import Columns
from market_pipeline.prices.bars import bars_of

MINUTES = 24 * 60


def bars(*quotes: tuple[float, float]) -> Columns:
    """Bars of (minute after 2024-03-01, price)."""
    times = np.datetime64("2024-03-01", "us") + np.array([round(60e6 * minute) for minute, _ in quotes], "m8[us]")
    return bars_of(times, np.array([price for _, price in quotes], dtype=float))


def test_a_bar_has_the_prices_hours_and_returns_of_its_day_alone() -> None:
    """The return over midnight belongs to no day; of quotes within the same five minutes the last counts."""
    found = bars((0, 100), (600, 110), (602, 104), (1200, 102), (1439, 101), (MINUTES, 50), (2 * MINUTES - 1, 55))
    assert [(str(day), *rest) for day, *rest in zip(*(found[name].tolist() for name in (
        "day", "open", "high", "low", "close", "quotes", "completeness"
    )), strict=True)] == [
        ("2024-03-01", 100, 110, 100, 101, 5, 4 / 24), ("2024-03-02", 50, 55, 50, 55, 2, 2 / 24),
    ]
    covered = 1435 / MINUTES
    first = sum(math.log(later / price) ** 2 for price, later in ((100, 104), (104, 102), (102, 101)))
    expected = [math.sqrt(first / covered), math.sqrt(math.log(55 / 50) ** 2 / covered)]
    assert found["realised_volatility"] == pytest.approx(expected)


def test_hourly_and_five_minute_quotes_of_the_same_path_measure_the_same_volatility() -> None:
    """Of many days; one of twelve times as many returns is more precise."""
    step, days = 0.002, 400
    moves = np.random.default_rng(3).normal(0, step, days * 288)
    path = [(5.0 * number, price) for number, price in enumerate(100 * np.exp(np.cumsum(moves)))]
    fine, hourly = (bars(*quotes)["realised_volatility"] for quotes in (path, path[::12]))
    expected = step * math.sqrt(288)
    assert np.sqrt(np.mean(fine**2)) == pytest.approx(expected, rel=0.01)
    assert np.sqrt(np.mean(hourly**2)) == pytest.approx(expected, rel=0.03)


def test_less_than_half_a_day_has_no_volatility_and_no_quotes_have_no_bar() -> None:
    assert np.isnan(bars((0, 100), (700, 101))["realised_volatility"]).tolist() == [True]
    assert np.isnan(bars((300, 100))["realised_volatility"]).tolist() == [True]
    assert len(bars()) == 0
