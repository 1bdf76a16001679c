"""What a picture needs of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibrations_for
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices

if TYPE_CHECKING:
    from market_pipeline.anomalies.calibration import Calibration


def lead_start(start: datetime) -> datetime:
    """From when on prices are needed to score from `start` (aware) on."""
    return start_of_day(start.date()) - timedelta(days=LEAD_DAYS)


def scored_span(
    prices: Columns, start: datetime, end: datetime, calibration_of: Callable[[date], Calibration | None]
) -> Columns:
    """Symbol, timestamp, price, price_before, expected_move and volatility of the quotes from `start` to
    `end` (aware UTC, not included), by day.

    `prices` has symbol, timestamp and price from `lead_start(start)` on, in time order per symbol.
    `calibration_of` tells the calibration that was known on a day. `price_before` is the price from
    which `expected_move`, one standard deviation as a simple return, is counted; both are NaN where
    they are not known, and so is `volatility`, a year's.
    """
    inside = prices["timestamp"][_between(prices["timestamp"], start, end)]
    parts = [_scores(prices.where(np.zeros(len(prices), dtype=np.bool_)), None)]
    for day in np.unique(inside.astype("datetime64[D]")).tolist():
        midnight = start_of_day(day)
        window = prices.where(_between(prices["timestamp"], lead_start(midnight), midnight + DAY))
        scores = _scores(window, calibration_of(day))
        shown = _between(scores["timestamp"], max(start, midnight), min(end, midnight + DAY))
        parts.append(scores.where(shown))
    return Columns({name: np.concatenate([part[name] for part in parts]) for name in parts[0].arrays})


def _between(times: NDArray[Any], start: datetime, end: datetime) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (times >= to_datetime64(start)) & (times < to_datetime64(end))
    return inside


def _scores(window: Columns, calibration: Calibration | None) -> Columns:
    from market_pipeline.anomalies.scores.scoring import score_columns

    scores = score_columns(window, calibration)
    before = scores["before"]
    price_before = np.full(len(scores), np.nan)
    price_before[before >= 0] = scores["price"][before[before >= 0]]
    names = ("symbol", "timestamp", "price", "expected_move", "volatility")
    return Columns({**{name: scores[name] for name in names}, "price_before": price_before})


def stored_scores(database: Database, symbols: Sequence[str], start: datetime, end: datetime) -> Columns:
    """The scores of the quotes of `symbols` from `start` to `end` (aware UTC, not included), as
    `scores.scored_span` gives them.

    Raises ValueError if a stored calibration cannot be read.
    """
    slices = [Slice(symbol, lead_start(start).date(), end.date()) for symbol in symbols]
    prices = read_columns(database, raw_prices, slices, ["symbol", "timestamp", "price"])
    known = calibrations_for(database, Slice("", start.date(), end.date()).days, DETECTOR_VERSION)
    return scored_span(prices, start, end, known.get)


def stored_anomalies(
    database: Database, symbol: str, symbols: Sequence[str], start: datetime, end: datetime
) -> Columns:
    """The flagged rows of `symbol` from `start` to `end` (aware UTC, not included), and the market moves of
    all `symbols` that may reach into that time: an event ends on the day on which it began."""
    slices = [Slice(each, start.date(), end.date()) for each in symbols]
    rows = read_columns(database, price_anomalies, slices)
    inside = (rows["timestamp"] >= to_datetime64(start)) & (rows["timestamp"] < to_datetime64(end))
    return rows.where((inside & (rows["symbol"] == symbol)) | (rows["kind"] == Kind.MARKET_MOVE.value))
