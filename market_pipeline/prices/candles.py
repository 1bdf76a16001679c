"""Candles: open, high, low, close and number of the quotes of equal intervals, which begin at multiples since 1970.

An interval without a quote has no candle.
"""

from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from market_pipeline.core.clock import DAY, EPOCH, MICROSECOND
from market_pipeline.core.columns import Columns

INTERVALS = {
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": DAY,
}

CANDLE_COLUMNS = ("opened_at", "open", "high", "low", "close", "quotes")
# When the first and the last quote of a candle were true: the times of its `open` and its `close`.
QUOTE_TIMES = ("first_at", "last_at")


def candles_of(times: NDArray[np.datetime64], prices: NDArray[np.float64], interval: timedelta) -> Columns:
    """Return the candles of quotes, which are ordered by time, as `CANDLE_COLUMNS` and `QUOTE_TIMES`, in order."""
    times = times.astype("datetime64[us]", copy=False)
    if not len(times):
        moments = dict.fromkeys(("opened_at", *QUOTE_TIMES), "datetime64[us]")
        kinds = dict.fromkeys(CANDLE_COLUMNS, "f8") | {"quotes": "i8"} | moments
        return Columns({name: np.array([], kind) for name, kind in kinds.items()})
    width = interval // MICROSECOND
    numbers = times.view(np.int64) // width
    first = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
    ends = np.append(first[1:], len(numbers))
    return Columns({
        "opened_at": (numbers[first] * width).view("datetime64[us]"),
        "open": prices[first],
        "high": np.maximum.reduceat(prices, first),
        "low": np.minimum.reduceat(prices, first),
        "close": prices[ends - 1],
        "quotes": ends - first,
        "first_at": times[first],
        "last_at": times[ends - 1],
    })


def opening(moment: datetime, interval: timedelta) -> datetime:
    """Return when the interval that contains `moment` begins."""
    return EPOCH + (moment - EPOCH) // interval * interval


def next_opening(moment: datetime, interval: timedelta) -> datetime:
    """Return when the first interval begins that does not begin before `moment`."""
    return EPOCH - (EPOCH - moment) // interval * interval
