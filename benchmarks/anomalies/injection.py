"""Jumps put into real prices, and the hindsight volatility that gives them their size."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.anomalies.rivals import returns
from benchmarks.anomalies.volatility import Floats

_SIDE = 10  # quotes on either side from which hindsight takes its scale
_MEDIAN_TO_SD = 1.4826


def hindsight_sigma(minutes: Floats, prices: Floats) -> Floats:
    """Standard deviation of the return into each quote, from the 10 on either side of it.

    1.4826 times the median of |r| / sqrt(elapsed), times the square root of the quote's own elapsed time;
    what repeats the quote before is left out. The first and last 10 take the window nearest to them.
    """
    from numpy.lib.stride_tricks import sliding_window_view

    sigma = np.full(len(prices), np.nan)
    fresh = np.concatenate(([True], np.diff(prices) != 0))
    elapsed = np.diff(minutes[fresh], prepend=minutes[0] - 1)
    pace = np.abs(returns(prices[fresh])) / np.sqrt(elapsed)
    windows = sliding_window_view(pace, 2 * _SIDE + 1)
    without_own = np.delete(windows, _SIDE, axis=1)
    middle = _MEDIAN_TO_SD * np.median(without_own, axis=1)
    sigma[fresh] = np.pad(middle, _SIDE, mode="edge") * np.sqrt(elapsed)
    return sigma


def spaced(allowed: NDArray[np.bool_], apart: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Random positions where it is allowed, at least half of `apart` and on average `apart` from another."""
    count = 2 * len(allowed) // apart
    wanted = np.cumsum(apart // 2 + random.geometric(2 / apart, count))
    places = np.flatnonzero(allowed)
    wanted = wanted[wanted <= places[-1]]
    return np.unique(places[np.searchsorted(places, wanted)])


def with_jumps(prices: Floats, at: NDArray[np.int64], moves: Floats) -> Floats:
    """Prices with lasting moves, in log units, from the given quotes on."""
    steps = np.zeros(len(prices))
    np.add.at(steps, at, moves)
    moved: Floats = prices * np.exp(np.cumsum(steps))
    return moved
