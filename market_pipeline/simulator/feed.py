"""What prices are served from, the moments at which CoinGecko publishes them, and the random numbers behind both.

A feed is a pure function of time: a question has the same answer in every process and after every restart, and a live
quote agrees with the history fetched later. So random numbers are looked up by name and index, not drawn.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

import numpy as np

from market_pipeline.core.clock import DAY

FIVE_MINUTES = timedelta(minutes=5)
HOUR = timedelta(hours=1)

# The edge answers from a cache of a minute; no quote of a live coin is older than that.
_UPDATE_SECONDS = 40
_UPDATE_SPREAD = 19

# How late after the round moment a point is dated, at most, in seconds: the recorded answers date hourly points
# mostly within the first ten minutes of the hour.
_LATEST = {FIVE_MINUTES: 90.0, HOUR: 840.0, DAY: 0.0}


class Feed(Protocol):
    """Prices of some coins in US dollars at any moment. All moments are aware UTC."""

    @property
    def coin_ids(self) -> tuple[str, ...]:
        """The CoinGecko ids that are served."""
        ...

    def quote(self, coin_id: str, at: datetime) -> tuple[float, datetime] | None:
        """Return the newest (price, moment it was true) known at `at`; None before the coin's first price."""
        ...

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        """Return the published (moment, price) pairs of `start`..`end`, both included, ascending.

        There is about one per `step` (5 minutes, an hour or a day), and none where there are no prices.
        """
        ...


def last_update(coin_id: str, at: datetime) -> datetime:
    """Return the whole second, at most a minute before `at`, at which the quote of `coin_id` was renewed."""
    seconds = at.timestamp()
    slot = int(seconds // _UPDATE_SECONDS)
    renewed = _renewal(coin_id, slot)
    if renewed > seconds:
        renewed = _renewal(coin_id, slot - 1)
    return datetime.fromtimestamp(renewed, at.tzinfo)


def _renewal(coin_id: str, slot: int) -> int:
    return slot * _UPDATE_SECONDS + int(_UPDATE_SPREAD * uniform(f"update:{coin_id}", slot))


def publication_moments(
    coin_id: str, start: datetime, end: datetime, step: timedelta
) -> Iterator[datetime]:
    """Yield the moments of `start`..`end` at which history has a point, in whole milliseconds.

    There is one per `step`, irregularly a little after the round moment; daily points are exact.
    """
    seconds = int(step.total_seconds())
    for index in range(int(start.timestamp() // seconds) - 1, int(end.timestamp() // seconds) + 1):
        # Squared, so that most points come soon after the round moment and a few come late.
        late = _LATEST[step] * uniform(f"point:{coin_id}:{seconds}", index) ** 2
        moment = datetime.fromtimestamp(index * seconds + round(late, 3), start.tzinfo)
        if start <= moment <= end:
            yield moment


_MASK = (1 << 64) - 1


@lru_cache(maxsize=4096)
def name_key(name: str) -> int:
    """Return 64 bits that depend on every character of `name`."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def uniform(name: str, index: int) -> float:
    """Return a number in [0, 1) for `index` of the sequence `name`.

    The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    bits = (name_key(name) + index * 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((bits ^ (bits >> 31)) >> 11) / (1 << 53)


def generator(name: str, index: int) -> np.random.Generator:
    """Return the generator of block `index` of the sequence `name`; blocks are independent."""
    return np.random.Generator(np.random.Philox(key=[name_key(name), index & _MASK]))
