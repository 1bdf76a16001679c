"""Volatility in clock time: how far a price usually moves over a given time, from its own past.

Returns are taken between changed quotes only. An unchanged quote says that the source had nothing
new, not that the price stood still: counted as a return of zero it would make the next real move
look enormous. Its time is therefore carried to the next changed quote.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.series import PriceSeries

# J.P. Morgan/Reuters, RiskMetrics Technical Document (1996): the decay for daily returns, which on
# this project's 5-minute returns is a memory of about 17 quotes.
DECAY = 0.94

# With fewer returns the estimate itself is so uncertain that ordinary moves would be flagged.
WARM_UP_RETURNS = 30

# Sources refresh about once a minute. Below that, the difference of two quotes is rounding and
# averaging rather than diffusion and no longer shrinks with the square root of time.
SHORTEST_INTERVAL_SECONDS = 60.0

# expm1 of anything above 709 overflows.
_LARGEST_LOG_RETURN = 700.0


@dataclass(frozen=True)
class Returns:
    """Log returns between changed quotes, in time order.

    `before` and `after` are positions in the series: where the old price was first quoted and where
    the new one was. `seconds` is the time between them, at least `SHORTEST_INTERVAL_SECONDS`.
    """

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    log_return: NDArray[np.float64]
    seconds: NDArray[np.float64]


def changed_returns(series: PriceSeries) -> Returns:
    """The returns of `series`, unchanged quotes skipped."""
    log_price = np.log(series.prices)
    is_new = np.ones(len(series), dtype=np.bool_)
    is_new[1:] = log_price[1:] != log_price[:-1]
    new = np.flatnonzero(is_new)
    before, after = new[:-1], new[1:]
    seconds = np.maximum(series.seconds_between(before, after), SHORTEST_INTERVAL_SECONDS)
    return Returns(before, after, log_price[after] - log_price[before], seconds)


def volatility_before(returns: Returns) -> NDArray[np.float64]:
    """For each return the volatility (log return per square root of a second) known before it.

    The square root of the exponentially weighted mean of r^2 / seconds over earlier returns, because
    variance grows in proportion to time. NaN until `WARM_UP_RETURNS` returns are known.
    """
    variances = _weighted_means_before((returns.log_return**2 / returns.seconds).tolist())
    volatility = np.sqrt(np.array(variances, dtype=np.float64))
    volatility[:WARM_UP_RETURNS] = np.nan
    return volatility


def expected_moves(volatility: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """One standard deviation over `seconds` as a simple return; NaN where `volatility` is."""
    deviation = volatility * np.sqrt(np.maximum(seconds, SHORTEST_INTERVAL_SECONDS))
    moves: NDArray[np.float64] = np.expm1(np.minimum(deviation, _LARGEST_LOG_RETURN))
    return moves


def _weighted_means_before(values: Iterable[float]) -> list[float]:
    """For each value the exponentially weighted mean of those before it; NaN for the first.

    Divided by the sum of the weights, so that no starting value has to be invented.
    """
    means: list[float] = []
    total = weight = 0.0
    for value in values:
        means.append(total / weight if weight else math.nan)
        total = DECAY * total + value
        weight = DECAY * weight + 1.0
    return means
