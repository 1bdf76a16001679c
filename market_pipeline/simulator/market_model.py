"""The seeded market: coins that move together and on their own, in any order, in any process. A `Feed`.

The log price of a coin is its starting price plus `beta` times the market's driver plus a driver of its own (a
one-factor model), so coins are correlated and a market-wide jump reaches them all. A driver is a log price that starts
each day where it ended the day before, yet any day can be computed from a bounded number of days before it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from market_pipeline.core.clock import start_of_day
from market_pipeline.simulator.feed import generator, last_update, publication_moments, uniform

Array = npt.NDArray[np.float64]

START_PRICES = {
    "bitcoin": 90_000.0,
    "ethereum": 3_000.0,
    "solana": 140.0,
    "cardano": 0.45,
    "polkadot": 2.5,
}
# CoinGecko has 5-minute and hourly history from about here on.
FIRST_DAY = date(2018, 2, 9)

_MINUTES = 1440
# A quiet night in America and Asia's morning against the hours when Europe and America overlap.
_MINUTE = np.arange(_MINUTES)
_ACTIVITY = np.exp(
    0.35 * np.cos(2 * np.pi * (_MINUTE - 15 * 60) / _MINUTES)
    + 0.15 * np.cos(4 * np.pi * (_MINUTE - 14 * 60) / _MINUTES)
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
    """Return a function from a day's ordinal to the volatility of each of its minutes.

    It is stochastic and persistent, with busy and quiet hours of the day; its square is 1 on average.
    """

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
    """A log price with stochastic volatility, jumps and mean reversion to zero.

    The level at the start of a day is the sum of the past days' changes, each weighted by `memory` to the power of its
    age, cut off at `days` (where the weight is negligible): an AR(1) as a finite sum. `daily` is the standard
    deviation of a day's change without jumps, `jumps` the expected number of jumps in a week.
    """

    def __init__(
        self, name: str, regime: Callable[[int], Array], *, daily: float, jumps: float, memory: float, days: int
    ) -> None:
        self._name = name
        self._regime = regime
        self._per_minute = daily / math.sqrt(_MINUTES)
        self._jumps_per_day = jumps / 7
        self._weights = [memory**age for age in range(days)]
        self._changes: dict[int, float] = {}
        self._moves = lru_cache(maxsize=8)(self._compute_moves)
        self._level = lru_cache(maxsize=512)(self._compute_level)
        self.path = lru_cache(maxsize=128)(self._compute_path)

    def _compute_path(self, day: int) -> Array:
        """Return the log price at each of the 1441 minute marks of the day with ordinal `day`."""
        start, end = self._level(day), self._level(day + 1)
        pull = end - start - self._change(day)
        return start + self._moves(day) + pull * np.arange(_MINUTES + 1) / _MINUTES

    def _compute_level(self, day: int) -> float:
        # fsum is exact: the level must not depend on the order in which days are computed.
        return math.fsum(
            weight * self._change(day - 1 - age) for age, weight in enumerate(self._weights)
        )

    def _change(self, day: int) -> float:
        if day not in self._changes:
            self._changes[day] = float(self._moves(day)[-1])
        return self._changes[day]

    def _compute_moves(self, day: int) -> Array:
        """Return the log price at the minute marks of `day`, from zero, before the pull."""
        random = generator(self._name, day)
        returns = random.standard_normal(_MINUTES) * self._regime(day) * self._per_minute
        for _ in range(random.poisson(self._jumps_per_day)):
            size = _SMALLEST_JUMP + random.exponential(_MEAN_EXCESS)
            returns[random.integers(_MINUTES)] += size if random.random() < 0.5 else -size
        return np.concatenate([[0.0], np.cumsum(returns)])


class MarketModel:
    """A market of any number of coins; two models with the same `seed` agree at every moment.

    `start_prices` (US dollars) are the levels about which prices move; a coin without one gets a level between 0.001
    and 1,000 from its name.
    """

    def __init__(
        self,
        coin_ids: Iterable[str] = tuple(START_PRICES),
        *,
        seed: int = 7,
        start_prices: Mapping[str, float] | None = None,
    ) -> None:
        self._coin_ids = tuple(dict.fromkeys(coin_ids))
        if not self._coin_ids:
            raise ValueError("A market needs at least one coin id, e.g. bitcoin.")
        self._known = frozenset(self._coin_ids)
        self._seed = seed
        self._start_prices = {**START_PRICES, **(start_prices or {})}
        self._first = start_of_day(FIRST_DAY)
        self._regime = volatility_regime(f"{seed}:market")
        self._market = Factor(f"{seed}:market", self._regime, daily=0.020, jumps=0.8, memory=0.97, days=200)
        self._coin = lru_cache(maxsize=None)(self._make_coin)

    @property
    def coin_ids(self) -> tuple[str, ...]:
        """The CoinGecko ids that are served."""
        return self._coin_ids

    def quote(self, coin_id: str, at: datetime) -> tuple[float, datetime] | None:
        """Return the price at the last renewal before `at`, at most a minute ago, and when that was."""
        moment = last_update(coin_id, at)
        return None if moment < self._first else (self.price(coin_id, moment), moment)

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        """Return the price at each moment of publication in `start`..`end`."""
        moments = publication_moments(coin_id, max(start, self._first), end, step)
        return [(moment, self.price(coin_id, moment)) for moment in moments]

    def price(self, coin_id: str, at: datetime) -> float:
        """Return the price in US dollars at `at`, to ten significant digits; raise KeyError for an unknown coin."""
        if coin_id not in self._known:
            raise KeyError(coin_id)
        level, beta, own = self._coin(coin_id)
        utc = at.astimezone(timezone.utc)
        since_midnight = utc - start_of_day(utc.date())
        day, minutes = utc.toordinal(), since_midnight / timedelta(minutes=1)
        log = beta * _interpolate(self._market, day, minutes) + _interpolate(own, day, minutes)
        return float(f"{level * math.exp(log):.10g}")

    def _make_coin(self, coin_id: str) -> tuple[float, float, Factor]:
        """Derive the level, the beta and the own driver of a coin from its name."""
        beta = 0.8 + 0.5 * uniform(f"beta:{coin_id}", 0)
        daily = 0.012 + 0.014 * uniform(f"daily:{coin_id}", 0)
        level = self._start_prices.get(coin_id) or 10 ** (6 * uniform(f"level:{coin_id}", 0) - 3)
        name = f"{self._seed}:coin:{coin_id}"
        return level, beta, Factor(name, self._regime, daily=daily, jumps=0.7, memory=0.9, days=60)


def _interpolate(factor: Factor, day: int, minutes: float) -> float:
    path = factor.path(day)
    mark = min(int(minutes), _MINUTES - 1)
    before, after = float(path[mark]), float(path[mark + 1])
    return before + (after - before) * (minutes - mark)
