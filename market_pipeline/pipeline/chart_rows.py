"""The rows behind a chart: stored prices scored as detection scores them, and the flagged rows of its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

import numpy as np

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibrations_for
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices


def lead_start(start: datetime) -> datetime:
    """Return from when on prices are needed to score from `start` (aware) on."""
    return start_of_day(start.date()) - timedelta(days=LEAD_DAYS)


def scored_span(
    prices: Columns, start: datetime, end: datetime, calibration_of: Callable[[date], Calibration | None]
) -> Columns:
    """Score the quotes from `start` up to but not including `end` (aware UTC), by day.

    `prices` has symbol, timestamp and price from `lead_start(start)` on, in time order per symbol. `calibration_of`
    returns the calibration that was known on a day. The result has symbol, timestamp, price, price_before,
    expected_move (one standard deviation of the return from price_before) and annual volatility; NaN where unknown.
    """
    parts = [_scores(prices.where(np.zeros(len(prices), dtype=np.bool_)), None)]
    times = prices.between(start, end)["timestamp"]
    for day in np.unique(times.astype("datetime64[D]")).tolist():
        midnight = start_of_day(day)
        scores = _scores(prices.between(lead_start(midnight), midnight + DAY), calibration_of(day))
        parts.append(scores.between(max(start, midnight), min(end, midnight + DAY)))
    return Columns({name: np.concatenate([part[name] for part in parts]) for name in parts[0].arrays})


def _scores(window: Columns, calibration: Calibration | None) -> Columns:
    scores = score_columns(window, calibration)
    before = scores["before"]
    price_before = np.full(len(scores), np.nan)
    price_before[before >= 0] = scores["price"][before[before >= 0]]
    names = ("symbol", "timestamp", "price", "expected_move", "volatility")
    return Columns({**{name: scores[name] for name in names}, "price_before": price_before})


def stored_scores(database: Database, symbols: Sequence[str], start: datetime, end: datetime) -> Columns:
    """Return the `scored_span` of `symbols` from stored prices and calibrations.

    Raises ValueError if a stored calibration cannot be read.
    """
    slices = [Slice(symbol, lead_start(start).date(), end.date()) for symbol in symbols]
    prices = read_columns(database, raw_prices, slices, ["symbol", "timestamp", "price"])
    known = calibrations_for(database, Slice("", start.date(), end.date()).days, DETECTOR_VERSION)
    return scored_span(prices, start, end, known.get)


def stored_anomalies(
    database: Database, symbol: str, symbols: Sequence[str], start: datetime, end: datetime
) -> Columns:
    """Return the flagged rows of `symbol` from `start` up to but not including `end` (aware UTC).

    And the market moves of all `symbols` that reach into that time: they may have begun on the day before.
    """
    slices = [Slice(each, (start - DAY).date(), end.date()) for each in symbols]
    rows = read_columns(database, price_anomalies, slices)
    event = rows["kind"] == Kind.MARKET_MOVE.value
    reach = np.where(event, rows["episode_last"], rows["timestamp"])
    inside = (reach >= to_datetime64(start)) & (rows["timestamp"] < to_datetime64(end))
    return rows.where(inside & (event | (rows["symbol"] == symbol)))
