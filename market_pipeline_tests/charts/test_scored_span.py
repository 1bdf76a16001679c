"""The scores behind a picture: those with which detection scored each day, and nothing heavy to get them."""

import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest

from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns
from market_pipeline.pipeline.chart_rows import lead_start, scored_span
from market_pipeline_tests.charts.conftest import START, at


@pytest.fixture(scope="module")
def prices():
    """Ten days of two symbols from seven days before the start on, with a day without quotes."""
    rng = np.random.default_rng(3)
    minutes = np.arange(-7 * 1440, 3 * 1440, 15)
    minutes = minutes[(minutes < 1440) | (minutes >= 2880)]
    times = np.datetime64(START.replace(tzinfo=None), "us") + (minutes * 60_000_000).astype("timedelta64[us]")
    walks = [100 * np.exp(np.cumsum(0.002 * rng.standard_normal(len(minutes)))) for _ in range(2)]
    return Columns(
        {
            "symbol": np.repeat(np.array(["BTC", "ETH"], dtype=object), len(minutes)),
            "timestamp": np.concatenate([times, times]),
            "price": np.concatenate(walks),
        }
    )


def in_day(rows, first, last):
    times = rows["timestamp"]
    naive = [np.datetime64(moment.replace(tzinfo=None), "us") for moment in (first, last)]
    return rows.where((times >= naive[0]) & (times < naive[1]))


def test_each_day_is_scored_with_its_lead_and_the_calibration_known_then(prices):
    asked = []
    found = scored_span(prices, at(600), at(3600), lambda day: asked.append(day))
    assert asked == [START.date(), START.date() + timedelta(days=2)], "a day without quotes needs no calibration"
    for day, (first, last) in ((0, (at(600), at(1440))), (2, (at(2880), at(3600)))):
        midnight = START + timedelta(days=day)
        window = in_day(prices, midnight - timedelta(days=7), midnight + timedelta(days=1))
        scores = in_day(score_columns(window), first, last)
        mine = in_day(found, first, last)
        for name in ("symbol", "timestamp", "price"):
            assert (mine[name] == scores[name]).all()
        for name in ("expected_move", "volatility"):
            np.testing.assert_array_equal(mine[name], scores[name])
    assert len(found) == 2 * (14 * 4 + 12 * 4)


def test_the_price_before_is_that_from_which_the_move_is_counted(prices):
    found = scored_span(prices, at(0), at(720), lambda day: None)
    btc = found.where(found["symbol"] == "BTC")
    assert btc["price_before"][1:].tolist() == btc["price"][:-1].tolist()
    moves = np.abs(btc["price"] / btc["price_before"] - 1) / btc["expected_move"]
    assert 0.5 < np.mean(moves < 1) < 0.9 and np.mean(moves < 3) > 0.95


def test_no_quotes_are_no_scores(prices):
    found = scored_span(prices, at(100_000), at(110_000), lambda day: None)
    assert len(found) == 0 and found["price_before"].dtype == np.float64


def test_the_lead_begins_at_midnight_seven_days_before():
    assert lead_start(at(600)) == START - timedelta(days=7)


def test_deciding_and_scoring_import_nothing_heavy():
    """A tick that does not draw must not pay for Matplotlib, and one that does not for pandas."""
    code = (
        "import sys, market_pipeline.charts.overview_chart, market_pipeline.charts.symbol_chart;"
        "heavy = 'pandas', 'scipy', 'matplotlib', 'PIL', 'numba', 'dagster', 'sqlalchemy';"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
