"""Bars of whole UTC days: candles with realised volatility and completeness.

Realised volatility is the square root of the sum of the squared log returns of the day between the closes of its
5-minute candles, as in Andersen, Bollerslev, Diebold and Labys, "Modeling and Forecasting Realized Volatility",
Econometrica 71 (2003). Five minutes, as Liu, Patton and Sheppard, "Does anything beat 5-minute RV?", Journal of
Econometrics 187 (2015), find nothing more precise. A day of hourly history has fewer returns:
its figure is as unbiased, but less precise. The sum is scaled from the time between the openings of the first and last
of these candles to 24 hours, so that days that are not covered to their edges compare.
"""

import numpy as np
from numpy.typing import NDArray

from market_pipeline.core.clock import DAY, MICROSECONDS_PER_DAY
from market_pipeline.core.columns import Columns
from market_pipeline.prices.candles import CANDLE_COLUMNS, INTERVALS, candles_of
from market_pipeline.prices.gaps import EXPECTED_POINTS

BAR_COLUMNS = ("day", *CANDLE_COLUMNS[1:], "realised_volatility", "completeness")

# What quotes of less than half a day say of the whole day is no measure of it.
_LEAST_SHARE = 0.5


def bars_of(times: NDArray[np.datetime64], prices: NDArray[np.float64]) -> Columns:
    """Return the bars of quotes of one symbol, which are ordered by time, as `BAR_COLUMNS`, ordered by day."""
    days = candles_of(times, prices, DAY)
    hours = candles_of(times, prices, INTERVALS["1h"])["opened_at"]
    quoted_hours = np.bincount(np.searchsorted(days["opened_at"], hours, "right") - 1, minlength=len(days))
    return Columns({
        "day": days["opened_at"].astype("datetime64[D]").astype(object),
        **{name: days[name] for name in CANDLE_COLUMNS[1:]},
        "realised_volatility": _realised_volatility(times, prices, days["opened_at"]),
        "completeness": quoted_hours / EXPECTED_POINTS,
    })


def _realised_volatility(
    times: NDArray[np.datetime64], prices: NDArray[np.float64], days: NDArray[np.datetime64]
) -> NDArray[np.float64]:
    """Return that of each of `days`, NaN where its returns cover less than half of it."""
    sampled = candles_of(times, prices, INTERVALS["5m"])
    day = np.searchsorted(days, sampled["opened_at"], "right")[1:] - 1
    elapsed = np.diff(sampled["opened_at"]).astype(np.int64)
    squares = np.diff(np.log(sampled["close"])) ** 2
    inside = sampled["opened_at"][:-1] >= days[day]
    share = np.bincount(day[inside], elapsed[inside], len(days)) / MICROSECONDS_PER_DAY
    variance = np.bincount(day[inside], squares[inside], len(days))
    share[share < _LEAST_SHARE] = np.nan
    volatility: NDArray[np.float64] = np.sqrt(variance / share)
    return volatility
