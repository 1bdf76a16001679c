"""The long memory of calibrations: each day is scored for it once, on both databases."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS
from market_pipeline.core.columns import to_datetime64
from market_pipeline.pipeline import peaks
from market_pipeline.pipeline.calibrate import calibrate_due
from market_pipeline.pipeline.peaks import peaks_before
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.daily_peaks import stored_peaks
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import price_row, store

NOW = datetime(2023, 6, 1, 12, tzinfo=timezone.utc)
COINS = ("BTC", "ETH", "SOL")


def fill(database: Database, days: int, until: datetime, crash: int | None = None) -> None:
    """Store a walk of `days` days with a quote every four hours; `crash` days before its end everything falls."""
    rng = np.random.default_rng(5)
    start = until - timedelta(days=days)
    for symbol in COINS:
        path = np.cumsum(rng.standard_normal(days * 6) * 0.01)
        if crash is not None:
            path[(days - crash) * 6 :] -= 0.5
        rows = [
            price_row(symbol, 0, float(100 * np.exp(x)), timestamp=start + timedelta(hours=4 * number))
            for number, x in enumerate(path)
        ]
        store(database, raw_prices, *rows)


def test_a_calibration_remembers_days_whose_quotes_it_no_longer_reads(database: Database) -> None:
    fill(database, 300, NOW, crash=200)
    made = calibrate_due(database, COINS, NOW).calibration
    assert made is not None
    crash = (NOW - timedelta(days=200)).date()
    assert made.largest["BTC"].days[0][0] == crash
    assert made.largest["*"].last_at_least(made.largest["*"].days[0][1]) == crash
    assert made.tails["* large_move hourly"].days > 280
    stored = stored_peaks(database, COINS, NOW.date() - timedelta(days=400), NOW.date(), DETECTOR_VERSION)
    # The present day is not over.
    assert stored["day"].max() == np.datetime64(NOW.date() - timedelta(days=1))
    assert not len(stored_peaks(database, COINS, crash, NOW.date(), "other detectors"))
    assert len(stored) == 3 * 300 and (stored["cadence"] == 1).sum() > 3 * 290


def test_a_day_is_scored_for_it_once_and_history_that_comes_later_is_added(database: Database) -> None:
    fill(database, 60, NOW - timedelta(days=100))
    end = NOW.date() - timedelta(days=90)
    first = peaks_before(database, COINS, end)
    with database.writing(raw_prices) as connection:
        connection.execute(raw_prices.update().values(price=raw_prices.c.price * 2))
    again = peaks_before(database, COINS, end)
    assert sorted(again["large_move"].tolist()) == sorted(first["large_move"].tolist())
    fill(database, 200, NOW - timedelta(days=160))
    whole = peaks_before(database, COINS, end)
    assert len(first) == 3 * 61 and len(whole) == 3 * 261
    assert whole["day"].min() < to_datetime64(NOW - timedelta(days=350))


def test_the_memory_reaches_back_as_far_as_the_quotes_of_a_calibration_may(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks, "PARAMETERS", replace(PARAMETERS, memory_days=PARAMETERS.calibration_days + 5))
    fill(sqlite_database, 20, NOW)
    found = peaks_before(sqlite_database, COINS, NOW.date())
    assert found["day"].min() == np.datetime64(NOW.date() - timedelta(days=5))
