"""Scores and rules together on quotes that do not come every five minutes, and on prices that hardly move."""

import math

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly, alarms
from market_pipeline.anomalies.calibration import Calibration, CoinCalibration
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.series import Floats, PriceSeries
from market_pipeline_tests.anomalies.quotes import START, as_columns, series

DAY = 86_400.0
FIVE_MINUTES = 300.0


def rows_of(*coins: PriceSeries, calibration: Calibration | None = None) -> list[Anomaly]:
    return detect_columns(score_columns(as_columns(*coins), calibration), calibration)


def walk(daily: float, seconds: Floats, seed: int) -> Floats:
    """Prices with this deviation a day."""
    steps = np.random.default_rng(seed).standard_normal(len(seconds) - 1) * np.sqrt(np.diff(seconds) / DAY)
    return 100 * np.exp(daily * np.concatenate([[0.0], np.cumsum(steps)]))


@pytest.mark.parametrize("coins", [1, 4])
def test_two_years_of_daily_quotes_of_an_ordinary_coin_are_hardly_news(coins: int) -> None:
    """A fifth of the days move by 5% or more, and many of those moves are reversed the day after."""
    seconds = np.arange(730, dtype=np.float64) * DAY
    rows = rows_of(*(series(walk(0.04, seconds, seed), seconds, f"C{seed}") for seed in range(coins)))
    assert not {"user_threshold", "bad_tick", "stale_feed"} & {row.kind for row in rows}
    assert len(alarms(rows)) < 20 * coins


def test_hourly_quotes_need_not_be_an_hour_apart() -> None:
    seconds = np.cumsum(np.random.default_rng(1).uniform(55, 75, 1_000)) * 60
    rows = rows_of(*(series(walk(0.04, seconds, seed), seconds + 60 * seed, f"C{seed}") for seed in range(4)))
    assert not {"stale_feed", "gap_move", "bad_tick"} & {row.kind for row in rows}


def pegged(depeg: bool) -> list[Anomaly]:
    """The rows of a stablecoin in thousandths: eight calm days and two more, in which it falls to 90 cents or not."""
    rng, calm = np.random.default_rng(4), 8 * 288
    seconds = np.arange(calm + 2 * 288) * FIVE_MINUTES
    prices = 1.0002 + 0.0003 * rng.standard_normal(len(seconds))
    if depeg:
        path = np.interp(np.arange(2 * 288), [0, 24, 96, 192, 576], [1, 0.99, 0.9, 0.93, 0.95])
        prices[calm:] = path * np.exp(np.cumsum(rng.standard_normal(2 * 288)) * 0.001)
    volatility = 0.02 / math.sqrt(MINUTES_PER_YEAR)
    known = CoinCalibration(math.log(volatility), (), 0, 0.0, volatility, volatility)
    calibration = Calibration(START, (1.0,) * 24, {"USDC": known})
    return rows_of(series(np.round(prices, 3), seconds, "USDC"), calibration=calibration)


def test_a_stablecoin_that_stands_still_is_no_news() -> None:
    assert pegged(depeg=False) == []


def test_a_stablecoin_that_loses_its_peg_is_news_but_not_with_every_quote() -> None:
    found = alarms(pegged(depeg=True))
    assert 1 <= len(found) <= 25
    assert {row.timestamp.day for row in found} <= {9, 10}
    assert any(row.severity in ("alert", "critical") and row.move < -0.01 for row in found)
    assert not {"stale_feed", "bad_tick"} & {row.kind for row in found}
