"""Reading a price and a time out of whatever a server sent. No value raises here."""

import math
import reprlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from market_pipeline.clock import iso
from market_pipeline.prices.quotes import Reason

# The first Bitcoin block; a time before it is a unit or a default, not a time.
EARLIEST = datetime(2009, 1, 3, tzinfo=timezone.utc)

# The table accepts prices below this one only.
LARGEST_PRICE = 1e300

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Problem:
    """Why a value is not accepted, and one sentence with the value in it."""

    reason: Reason
    detail: str


def read_price(value: object) -> float | Problem:
    """The price in US dollars, greater than zero, that `value` stands for."""
    if value is None:
        return Problem(Reason.MISSING_PRICE, "CoinGecko sent no price.")
    price = _number(value)
    if price is None:
        return Problem(Reason.NOT_A_NUMBER, f"The price {_shown(value)} is not a number.")
    if math.isnan(price) or abs(price) >= LARGEST_PRICE:
        return Problem(Reason.NOT_A_NUMBER, f"The price {_shown(value)} is not a finite amount of money.")
    if price < 0:
        return Problem(Reason.NEGATIVE_PRICE, f"The price {_shown(value)} is negative.")
    if price == 0:
        return Problem(Reason.ZERO_PRICE, f"The price {_shown(value)} is zero.")
    return price


def read_time(value: object) -> datetime | Problem:
    """The aware UTC time, to the microsecond, that `value` UNIX seconds stand for."""
    if value is None:
        return Problem(Reason.MISSING_TIMESTAMP, "CoinGecko sent a price without its time.")
    seconds = _number(value)
    if seconds is None or not math.isfinite(seconds):
        return Problem(Reason.BAD_TIMESTAMP, f"The time {_shown(value)} is not a number of seconds.")
    try:
        moment = _EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
    except (OverflowError, ValueError):
        return Problem(Reason.BAD_TIMESTAMP, f"The time {_shown(value)} lies beyond the calendar.")
    if moment < EARLIEST:
        return Problem(Reason.BAD_TIMESTAMP, f"The time {iso(moment)} lies before there were coins.")
    return moment


def _number(value: object) -> float | None:
    """`value` as a float, infinite if it is too large for one; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _shown(value: object) -> str:
    """`value` as bounded ASCII text for one sentence."""
    if isinstance(value, int) and abs(value) >= LARGEST_PRICE:
        return "of more than 300 digits"
    return ascii(value)[:80] if isinstance(value, (int, float)) else ascii(reprlib.repr(value))[1:-1][:80]
