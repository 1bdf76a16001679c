"""The volatility of the synthetic worlds: three random factors and the hour of the day."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FACTOR_SDS = (0.41, 0.36, 0.28)
FACTOR_HALF_LIVES = (20 * 1440.0, 360.0, 20.0)  # minutes
MEDIAN_SIGMA = 0.60 / np.sqrt(365 * 1440.0)  # 60% a year, per square root of a minute
# The shape of Bitcoin's volatility over the hours of a day (UTC): quiet at 4, busy when New York opens.
_HOUR_SHAPE = (0.99, 0.95, 0.87, 0.79, 0.74, 0.76, 0.82, 0.88, 0.92, 0.88, 0.86, 0.87,
               0.98, 1.25, 1.49, 1.39, 1.25, 1.12, 1.04, 1.00, 0.97, 0.93, 0.90, 0.95)


def hour_factor(minutes: Floats) -> Floats:
    """The hour-of-day factor of volatility at each minute; its mean square over a day is 1."""
    shape = np.array(_HOUR_SHAPE)
    shape /= np.sqrt(np.mean(shape**2))
    factors: Floats = shape[(minutes // 60).astype(np.int64) % 24]
    return factors


def log_sigma(elapsed: Floats, random: np.random.Generator) -> Floats:
    """The logarithm of volatility per square root of a minute at each quote, without the hour's factor."""
    total = np.full(len(elapsed), np.log(MEDIAN_SIGMA))
    for sd, half_life in zip(FACTOR_SDS, FACTOR_HALF_LIVES, strict=True):
        keep = 0.5 ** (elapsed / half_life)
        shocks = sd * np.sqrt(1 - keep**2) * random.standard_normal(len(elapsed))
        shocks[0] = sd * random.standard_normal()
        total += _recursion(keep, shocks)
    return total


@njit(cache=True)
def _recursion(keep: Floats, shocks: Floats) -> Floats:
    """The first-order recursion x[i] = keep[i] x[i-1] + shocks[i]."""
    levels = np.empty(len(keep))
    level = 0.0
    for i in range(len(keep)):
        level = keep[i] * level + shocks[i]
        levels[i] = level
    return levels
