"""The scores behind a picture: those with which detection scored each day, and nothing heavy to get them."""

import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pytest

from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.pipeline.chart_rows import lead_start, scored_span, stored_anomalies
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.builders import START, anomaly_row, at, store


@pytest.fixture(scope="module")
def prices() -> Columns:
    """Ten days of two symbols from seven days before the start on, with a day without quotes."""
    rng = np.random.default_rng(3)
    every = np.arange(-7 * 1440, 3 * 1440, 15)
    minutes = every[(every < 1440) | (every >= 2880)]
    times = to_datetime64(START) + (minutes * 60_000_000).astype("timedelta64[us]")
    walks = [100 * np.exp(np.cumsum(0.002 * rng.standard_normal(len(minutes)))) for _ in range(2)]
    return Columns(
        {
            "symbol": np.repeat(np.array(["BTC", "ETH"], dtype=object), len(minutes)),
            "timestamp": np.concatenate([times, times]),
            "price": np.concatenate(walks),
        }
    )


def test_each_day_is_scored_with_its_lead_and_the_calibration_known_then(prices: Columns) -> None:
    days: list[date] = []
    found = scored_span(prices, at(600), at(3600), days.append)
    assert days == [START.date(), START.date() + timedelta(days=2)], "a day without quotes needs no calibration"
    for day, first, last in ((0, at(600), at(1440)), (2, at(2880), at(3600))):
        midnight = START + timedelta(days=day)
        window = prices.between(midnight - timedelta(days=7), midnight + timedelta(days=1))
        scores, mine = score_columns(window).between(first, last), found.between(first, last)
        for name in ("symbol", "timestamp", "price", "expected_move", "volatility"):
            assert (mine[name] == scores[name]).all(), name
    assert len(found) == 2 * (14 * 4 + 12 * 4)


def test_the_price_before_is_that_from_which_the_move_is_counted(prices: Columns) -> None:
    found = scored_span(prices, at(0), at(720), lambda day: None)
    btc = found.where(found["symbol"] == "BTC")
    assert btc["price_before"][1:].tolist() == btc["price"][:-1].tolist()
    moves = np.abs(btc["price"] / btc["price_before"] - 1) / btc["expected_move"]
    assert 0.5 < np.mean(moves < 1) < 0.9 and np.mean(moves < 3) > 0.95
    assert lead_start(at(600)) == START - timedelta(days=7)


def test_no_quotes_are_no_scores(prices: Columns) -> None:
    found = scored_span(prices, at(100_000), at(110_000), lambda day: None)
    assert len(found) == 0 and found["price_before"].dtype == np.float64


def test_detecting_deciding_and_drawing_import_nothing_heavy_at_the_top() -> None:
    """A tick that does not draw must not pay for Matplotlib, and one that does not for pandas."""
    code = (
        "import sys, market_pipeline.anomalies.detect, market_pipeline.charts.overview_chart;"
        "import market_pipeline.charts.symbol_chart;"
        "heavy = 'pandas', 'scipy', 'matplotlib', 'PIL', 'numba', 'dagster', 'sqlalchemy';"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_market_event_of_the_day_before_is_drawn_while_it_lasts(sqlite_database: Database) -> None:
    """Of other coins and of what was over before nothing is drawn."""
    rows = [
        anomaly_row("ETH", -5, "market_move", episode_last=at(30)),
        anomaly_row("ETH", -600, "market_move", episode_last=at(-500)),
        anomaly_row("ETH", 10), anomaly_row("BTC", -5), anomaly_row("BTC", 10), anomaly_row("BTC", 60),
    ]
    store(sqlite_database, price_anomalies, *rows)
    drawn = stored_anomalies(sqlite_database, "BTC", ["BTC", "ETH"], at(0), at(60))
    assert set(drawn["id"]) == {rows[0]["id"], rows[4]["id"]}
