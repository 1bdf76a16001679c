"""What becomes of a point in an answer: a quote or a refusal. Models only; `validation` decides which."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

# How far ahead of our clock a source may be; a quote beyond that is in the future.
FUTURE_TOLERANCE = timedelta(seconds=60)
# Every price is less, in US dollars: the table accepts no other.
LARGEST_PRICE = 1e300


class Source(str, Enum):
    """The endpoint that a point came from, as stored in the column `source`."""

    LIVE = "simple_price"
    HISTORY = "market_chart"


class Quality(str, Enum):
    """What later quotes have shown of a stored price."""

    OK = "ok"
    BAD_TICK = "bad_tick"


class Reason(str, Enum):
    """Why a point was refused, as stored in the column `reason`."""

    MISSING_PRICE = "missing_price"
    NOT_A_NUMBER = "not_a_number"
    NEGATIVE_PRICE = "negative_price"
    ZERO_PRICE = "zero_price"
    MISSING_TIMESTAMP = "missing_timestamp"
    BAD_TIMESTAMP = "bad_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    OUTSIDE_WINDOW = "outside_window"
    # In the future by our clock alone; the point itself is good.
    CLOCK_BEHIND = "clock_behind"


@dataclass(frozen=True)
class Quote:
    """A price in US dollars that was true at the source at `timestamp`.

    `coin_id` is the id under which it was requested. `timestamp` and `ingested_at` (when this installation received
    the price) are aware UTC.
    """

    symbol: str
    coin_id: str
    timestamp: datetime
    price: float
    source: Source
    ingested_at: datetime


@dataclass(frozen=True)
class Refusal:
    """A point that was not accepted, with everything needed to judge the refusal later.

    `day` is its partition: the day that the point claims if that was requested, else the last requested day.
    `timestamp` is the claimed time where it was readable. `payload` is the offending part of the answer as JSON text.
    """

    symbol: str
    coin_id: str
    day: date
    reason: Reason
    detail: str
    timestamp: datetime | None
    payload: str
    source: Source
    refused_at: datetime

    @property
    def id(self) -> str:
        """A digest of what was refused and why, so that the same refusal is one row."""
        return refusal_id(self.symbol, self.day, self.reason.value, self.payload)


def refusal_id(symbol: str, day: date, reason: str, payload: str) -> str:
    """Return the id of a refusal: a digest of what was refused and why."""
    text = "\n".join((symbol, day.isoformat(), reason, payload))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
