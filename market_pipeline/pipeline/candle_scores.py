"""The candles of an interactive chart, each with what was expected of its close.

The volatility filter of the detectors runs over the closes of the candles that are shown, and over some before them to
warm up: a close is expected from the close before it, at the interval of the candles. So a year costs what a day costs.
With candles of one quote each the band is that of detection.
"""

from datetime import datetime, timedelta

import numpy as np

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, LARGEST_LOG_RETURN
from market_pipeline.anomalies.scores.coin_moves import coin_moves
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.clock import DAY, from_microseconds
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.prices.candles import CANDLE_COLUMNS, QUOTE_TIMES, opening
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibration_of
from market_pipeline.storage.queries.candles import quotes_between, read_candles
from market_pipeline.storage.queries.latest import StoredQuote

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
    """Return the candles of `symbol` that open before `end`, from some before `start` (aware UTC) on, scored.

    Those before `start` tell how often there is a quote. The columns are those of `candles_of`, `symbol`, `timestamp`
    (that of the candle's last quote: a candle is drawn where its close belongs), `price` (its close),
    `price_before`, `expected_move` (one standard deviation of the return from `price_before`) and annual `volatility`;
    NaN where unknown. Raises ValueError if a stored calibration cannot be read.
    """
    first = opening(start, interval)
    lead = min(max(LEAD_DAYS * DAY, _WARM_UP * interval), MOST_CANDLES * interval)
    most = (end - first + lead) // interval + 2
    candles = read_candles(database, symbol, interval, first - lead, end, most, now, (*CANDLE_COLUMNS, *QUOTE_TIMES))
    closes = PriceSeries(symbol, candles["last_at"], candles["close"])
    moves = coin_moves(closes, calibration_of(database, symbol, end.date(), DETECTOR_VERSION))
    before = moves.returns.before
    price_before = np.where(before >= 0, closes.prices[before], np.nan)
    scored = {
        "symbol": np.full(len(closes), symbol, dtype=object),
        "timestamp": candles["last_at"],
        "price": closes.prices,
        "price_before": price_before,
        "expected_move": np.expm1(np.minimum(moves.deviation, LARGEST_LOG_RETURN)),
        "volatility": moves.annual,
    }
    return Columns({**candles.arrays, **scored})


def edge_quotes(
    database: Database, symbol: str, candles: Columns, start: datetime, end: datetime
) -> list[StoredQuote]:
    """Return the first and the last quote from `start` to `end` (aware UTC), of which `candles` are.

    Empty if there is none. A candle may reach over either edge, so the quotes of the first and the last one are read.
    """
    begin, stop = to_datetime64(start), to_datetime64(end)
    inside = candles.where((candles["last_at"] >= begin) & (candles["first_at"] <= stop))
    edges = []
    for place in (0, -1) if len(inside) else ():
        first, last = max(inside["first_at"][place], begin), min(inside["last_at"][place], stop)
        span = [from_microseconds(int(moment.astype(np.int64))) for moment in (first, last)]
        times, prices = quotes_between(database, symbol, *span)
        if len(times):
            edges.append(StoredQuote(from_microseconds(int(times[place].astype(np.int64))), float(prices[place])))
    return edges if len(edges) == 2 else []
