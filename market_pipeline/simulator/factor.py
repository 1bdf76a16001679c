"""One random driver of prices, day by day: what moves the whole market, or what moves one coin.

A driver is a log price that starts each day where it ended the day before, yet any day can be
computed without the days before it but a bounded number. How coins are made of drivers is in
`market`.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from market_pipeline.simulator.noise import generator

MINUTES = 1440
Array = npt.NDArray[np.float64]

# A quiet night in America and Asia's morning against the hours when Europe and America overlap.
_MINUTE = np.arange(MINUTES)
_ACTIVITY = np.exp(
    0.35 * np.cos(2 * np.pi * (_MINUTE - 15 * 60) / MINUTES)
    + 0.15 * np.cos(4 * np.pi * (_MINUTE - 14 * 60) / MINUTES)
)
_ACTIVITY = _ACTIVITY / math.sqrt(float(np.mean(_ACTIVITY**2)))

# Log volatility remembers shocks for hours and, more weakly, for days: volatility clusters.
_VOLATILITY_DAYS = 12
_LAGS = np.arange(24 * _VOLATILITY_DAYS)
_VOLATILITY_MEMORY = 0.16 * 0.80**_LAGS + 0.035 * 0.985**_LAGS
_VOLATILITY_MEAN = float(np.sum(_VOLATILITY_MEMORY**2))

_SMALLEST_JUMP = 0.04
_MEAN_EXCESS = 0.02


def volatility_regime(name: str) -> Callable[[int], Array]:
    """A function from a day's ordinal to the volatility of each of its minutes, 1 on average in the
    square: stochastic, persistent, with busy and quiet hours of the day."""

    @lru_cache(maxsize=256)
    def shocks(day: int) -> Array:
        return generator(f"{name}:volatility", day).standard_normal(24)

    @lru_cache(maxsize=256)
    def of_day(day: int) -> Array:
        hours = np.concatenate([shocks(day + offset) for offset in range(-_VOLATILITY_DAYS, 2)])
        anchors = np.convolve(hours, _VOLATILITY_MEMORY, mode="valid")[:25]
        logs = np.interp(_MINUTE / 60, np.arange(25), anchors)
        return np.asarray(np.exp(logs - _VOLATILITY_MEAN) * _ACTIVITY)

    return of_day


class Factor:
    """A log price with stochastic volatility and jumps that is drawn softly back to zero.

    The level at the start of a day is the sum of the past days' changes, each weighted by
    `memory` to the power of its age, cut off at `days` (where the weight is negligible): the
    exponential mean reversion of an AR(1), as a finite sum. `daily` is the standard deviation of
    a day's change without jumps, `jumps` the expected number of jumps in a week.
    """

    def __init__(
        self,
        name: str,
        regime: Callable[[int], Array],
        *,
        daily: float,
        jumps: float,
        memory: float,
        days: int,
    ) -> None:
        self._name = name
        self._regime = regime
        self._per_minute = daily / math.sqrt(MINUTES)
        self._jumps_per_day = jumps / 7
        self._weights = [memory**age for age in range(days)]
        self._changes: dict[int, float] = {}
        self._moves = lru_cache(maxsize=8)(self._compute_moves)
        self._level = lru_cache(maxsize=512)(self._compute_level)
        self.path = lru_cache(maxsize=128)(self._compute_path)

    def _compute_path(self, day: int) -> Array:
        """The log price at each of the 1441 minute marks of the day with ordinal `day`, midnight
        to midnight."""
        start, end = self._level(day), self._level(day + 1)
        pull = end - start - self._change(day)
        return start + self._moves(day) + pull * np.arange(MINUTES + 1) / MINUTES

    def _compute_level(self, day: int) -> float:
        # fsum is exact, so that the level does not depend on which days were asked for first.
        return math.fsum(
            weight * self._change(day - 1 - age) for age, weight in enumerate(self._weights)
        )

    def _change(self, day: int) -> float:
        if day not in self._changes:
            self._changes[day] = float(self._moves(day)[-1])
        return self._changes[day]

    def _compute_moves(self, day: int) -> Array:
        """The log price at the minute marks of `day`, from zero, before the pull."""
        random = generator(self._name, day)
        returns = random.standard_normal(MINUTES) * self._regime(day) * self._per_minute
        for _ in range(random.poisson(self._jumps_per_day)):
            size = _SMALLEST_JUMP + random.exponential(_MEAN_EXCESS)
            returns[random.integers(MINUTES)] += size if random.random() < 0.5 else -size
        return np.concatenate([[0.0], np.cumsum(returns)])
