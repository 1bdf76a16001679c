"""The seeded market: coins that move together and on their own. A `Feed`.

The log price of a coin is its starting price plus `beta` times the market's driver plus a driver
of its own (a one-factor model), so coins are correlated and a market-wide jump reaches them all.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

from market_pipeline.core.clock import start_of_day
from market_pipeline.simulator.factor import MINUTES, Factor, volatility_regime
from market_pipeline.simulator.feed import last_update, publication_moments
from market_pipeline.simulator.noise import uniform

START_PRICES = {
    "bitcoin": 90_000.0,
    "ethereum": 3_000.0,
    "solana": 140.0,
    "cardano": 0.45,
    "polkadot": 2.5,
}

# CoinGecko has 5-minute and hourly history from about here on.
FIRST_DAY = date(2018, 2, 9)


class MarketModel:
    """A market of any number of coins; two models with the same `seed` agree at every moment.

    `start_prices` (US dollars) are the levels that prices hover about; a coin without one gets a
    level between 0.001 and 1,000 from its name.
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
        self._market = Factor(
            f"{seed}:market", self._regime, daily=0.020, jumps=0.8, memory=0.97, days=200
        )
        self._coin = lru_cache(maxsize=None)(self._make_coin)

    @property
    def coin_ids(self) -> tuple[str, ...]:
        """The CoinGecko ids that are served."""
        return self._coin_ids

    def quote(self, coin_id: str, at: datetime) -> tuple[float, datetime] | None:
        """The price at the last renewal before `at`, at most a minute ago, and when that was."""
        moment = last_update(coin_id, at)
        return None if moment < self._first else (self.price(coin_id, moment), moment)

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        """The price at each moment of publication in `start`..`end`."""
        moments = publication_moments(coin_id, max(start, self._first), end, step)
        return [(moment, self.price(coin_id, moment)) for moment in moments]

    def price(self, coin_id: str, at: datetime) -> float:
        """The price in US dollars at `at`, to ten significant digits; KeyError for another market's coin."""
        if coin_id not in self._known:
            raise KeyError(coin_id)
        level, beta, own = self._coin(coin_id)
        utc = at.astimezone(timezone.utc)
        since_midnight = utc - start_of_day(utc.date())
        day, minutes = utc.toordinal(), since_midnight / timedelta(minutes=1)
        log = beta * _interpolate(self._market, day, minutes) + _interpolate(own, day, minutes)
        return float(f"{level * math.exp(log):.10g}")

    def _make_coin(self, coin_id: str) -> tuple[float, float, Factor]:
        """The level, the beta and the own driver of a coin, from its name."""
        beta = 0.8 + 0.5 * uniform(f"beta:{coin_id}", 0)
        daily = 0.012 + 0.014 * uniform(f"daily:{coin_id}", 0)
        level = self._start_prices.get(coin_id) or 10 ** (6 * uniform(f"level:{coin_id}", 0) - 3)
        name = f"{self._seed}:coin:{coin_id}"
        return level, beta, Factor(name, self._regime, daily=daily, jumps=0.7, memory=0.9, days=60)


def _interpolate(factor: Factor, day: int, minutes: float) -> float:
    path = factor.path(day)
    mark = min(int(minutes), MINUTES - 1)
    before, after = float(path[mark]), float(path[mark + 1])
    return before + (after - before) * (minutes - mark)
