"""The candles of an interactive chart, each with what was expected of its close.

The volatility filter of the detectors runs over the closes of the candles that are shown, and over some before them to
warm up: a close is expected from the close before it, at the interval of the candles. So a year costs what a day costs.
With candles of one quote each the band is that of detection, up to the seconds within the interval.
"""

from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, LARGEST_LOG_RETURN
from market_pipeline.anomalies.scores.coin_moves import coin_moves
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.clock import DAY
from market_pipeline.core.columns import Columns
from market_pipeline.prices.candles import opening
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibration_of
from market_pipeline.storage.queries.candles import read_candles

MOST_CANDLES = 2_000
_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_INTERVALS = (
    *(n * _MINUTE for n in (1, 5, 10, 15, 30)), *(n * _HOUR for n in (1, 2, 4, 6, 12)), *(n * DAY for n in (1, 7, 30)),
)
# For coarse candles, as many before the first one; for fine ones, the days that detection looks back.
_WARM_UP = 60


def chart_interval(start: datetime, end: datetime) -> timedelta:
    """Return the shortest interval of which `MOST_CANDLES` reach from `start` to `end` (aware)."""
    for interval in _INTERVALS:
        if (end - opening(start, interval)) / interval <= MOST_CANDLES:
            return interval
    # A hundred years.
    return _INTERVALS[-1]


def scored_candles(
    database: Database, symbol: str, start: datetime, end: datetime, interval: timedelta, now: datetime
) -> Columns:
    """Return the candles of `symbol` that end after `start` and open before `end` (aware UTC), with their scores.

    The columns are those of `read_candles`, `symbol`, `timestamp` (when the candle opened), `price` (its close),
    `price_before`, `expected_move` (one standard deviation of the return from `price_before`) and annual `volatility`;
    NaN where unknown. Raises ValueError if a stored calibration cannot be read.
    """
    first = opening(start, interval)
    lead = min(max(LEAD_DAYS * DAY, _WARM_UP * interval), MOST_CANDLES * interval)
    most = (end - first + lead) // interval + 2
    candles = read_candles(database, symbol, interval, first - lead, end, most, now)
    closed_at: NDArray[np.datetime64] = np.add(candles["opened_at"], np.timedelta64(interval))
    closes = PriceSeries(symbol, closed_at, candles["close"])
    moves = coin_moves(closes, calibration_of(database, symbol, end.date(), DETECTOR_VERSION))
    before = moves.returns.before
    price_before = np.where(before >= 0, closes.prices[before], np.nan)
    scored = {
        "symbol": np.full(len(closes), symbol, dtype=object),
        "timestamp": candles["opened_at"],
        "price": closes.prices,
        "price_before": price_before,
        "expected_move": np.expm1(np.minimum(moves.deviation, LARGEST_LOG_RETURN)),
        "volatility": moves.annual,
    }
    return Columns({**candles.arrays, **scored}).between(first, end)
