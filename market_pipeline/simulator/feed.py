"""What the simulator serves prices from, and the moments at which CoinGecko publishes them.

A feed is a pure function of time: the same question gets the same answer in every process and
after every restart, and a live quote agrees with the history fetched later.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Protocol

from market_pipeline.core.clock import DAY
from market_pipeline.simulator.noise import uniform

FIVE_MINUTES = timedelta(minutes=5)
HOUR = timedelta(hours=1)

# The edge answers from a cache of a minute; no quote of a live coin is older than that.
_UPDATE_SECONDS = 40
_UPDATE_SPREAD = 19

# How late after the round moment a point is dated, at most: the recorded answers date 5-minute
# points up to some minutes off and hourly points mostly within the first ten minutes of the hour.
_LATEST = {FIVE_MINUTES: 90.0, HOUR: 840.0, DAY: 0.0}


class Feed(Protocol):
    """Prices of some coins in US dollars at any moment. All moments are aware UTC."""

    @property
    def coin_ids(self) -> tuple[str, ...]:
        """The CoinGecko ids that are served."""
        ...

    def quote(self, coin_id: str, at: datetime) -> tuple[float, datetime] | None:
        """The newest (price, moment it was true) known at `at`; None before the coin's first price."""
        ...

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        """The published (moment, price) pairs of `start`..`end`, both included, ascending, about one
        per `step` (5 minutes, an hour or a day); empty where there are no prices."""
        ...


def last_update(coin_id: str, at: datetime) -> datetime:
    """The whole second, at most a minute before `at`, at which the quote of `coin_id` was renewed."""
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
    """The moments of `start`..`end` at which history has a point: one per `step`, a little after
    the round moment and irregular (daily points are exact), in whole milliseconds."""
    seconds = int(step.total_seconds())
    for index in range(int(start.timestamp() // seconds) - 1, int(end.timestamp() // seconds) + 1):
        # Squared, so that most points come soon after the round moment and a few come late.
        late = _LATEST[step] * uniform(f"point:{coin_id}:{seconds}", index) ** 2
        moment = datetime.fromtimestamp(index * seconds + round(late, 3), start.tzinfo)
        if start <= moment <= end:
            yield moment
