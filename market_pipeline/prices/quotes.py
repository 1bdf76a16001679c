"""The two things that can become of a point in an answer: an accepted quote or a refusal.

Models only; the rules that tell them apart are in `validate`.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

# How far ahead of our clock a source may be; a quote beyond that lies in the future and is no price.
FUTURE_TOLERANCE = timedelta(seconds=60)


class Source(str, Enum):
    """The endpoint that a point came from, as stored in the `source` column."""

    LIVE = "simple_price"
    HISTORY = "market_chart"


class Quality(str, Enum):
    """What later quotes have shown of a stored price."""

    OK = "ok"
    BAD_TICK = "bad_tick"


class Reason(str, Enum):
    """Why a point was refused, as stored in the `reason` column."""

    MISSING_PRICE = "missing_price"
    NOT_A_NUMBER = "not_a_number"
    NEGATIVE_PRICE = "negative_price"
    ZERO_PRICE = "zero_price"
    MISSING_TIMESTAMP = "missing_timestamp"
    BAD_TIMESTAMP = "bad_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    OUTSIDE_WINDOW = "outside_window"
    # In the future by our clock alone; no fault of the point.
    CLOCK_BEHIND = "clock_behind"


@dataclass(frozen=True)
class Quote:
    """A price in US dollars that was true at the source at `timestamp`.

    `coin_id` is that under which it was asked for. `timestamp` and `ingested_at` (when this
    installation learned the price) are aware UTC.
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

    `day` is the partition it is filed under: the day that the point claims if that is one of the
    days asked for, else the last day asked for. `timestamp` is the claimed time where it could be
    read. `payload` is the offending part of the answer as JSON text.
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
        """A digest of what was refused and why, so that meeting it again is not a second row."""
        return refusal_id(self.symbol, self.day, self.reason.value, self.payload)


def refusal_id(symbol: str, day: date, reason: str, payload: str) -> str:
    """A digest of what was refused and why."""
    text = "\n".join((symbol, day.isoformat(), reason, payload))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
