"""The rules that tell a quote from a refusal, and nothing else: no I/O, no requests.

Every point becomes exactly one quote or one refusal, except that points of the same time become one
quote. No value that a server can send raises here.
"""

import logging
import math
import reprlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from market_pipeline.clock import iso
from market_pipeline.coingecko.models import PAYLOAD_LIMIT, RawPoint
from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source

logger = logging.getLogger(__name__)

# How far ahead of our clock a source may be.
FUTURE_TOLERANCE = timedelta(seconds=60)

# The first Bitcoin block; a time before it is a unit or a default, not a time.
EARLIEST = datetime(2009, 1, 3, tzinfo=timezone.utc)

# The table accepts prices below this one only.
LARGEST_PRICE = 1e300

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Examined:
    """The quotes in the order of time, each time once, and the refusals in the order of arrival.

    `merged` counts the points that gave way to another one of the same time.
    """

    quotes: tuple[Quote, ...]
    refusals: tuple[Refusal, ...]
    merged: int


@dataclass(frozen=True)
class _Problem:
    reason: Reason
    detail: str


def examine(
    points: Iterable[RawPoint],
    *,
    symbol: str,
    days: Collection[date],
    now: datetime,
    source: Source,
    window: tuple[datetime, datetime] | None = None,
) -> Examined:
    """Judge the points that CoinGecko sent for `symbol`.

    `days` are the days asked for (at least one), `now` is when the answer came (aware UTC). `window`
    is the closed interval of time that was asked for; live prices have none, so an old one is
    accepted and belongs to its own day. Of two points of the same time the later in the answer wins.
    """
    quotes: dict[datetime, Quote] = {}
    refusals = []
    merged = 0
    for point in points:
        verdict = _judge(point, now, window)
        if isinstance(verdict, _Problem):
            refusals.append(_refusal(point, verdict, symbol, days, source, now))
            continue
        price, moment = verdict
        if moment in quotes:
            merged += 1
            _report_difference(quotes[moment], price)
        quotes[moment] = Quote(symbol, moment, price, source, now)
    return Examined(tuple(quotes[moment] for moment in sorted(quotes)), tuple(refusals), merged)


def _judge(
    point: RawPoint, now: datetime, window: tuple[datetime, datetime] | None
) -> tuple[float, datetime] | _Problem:
    """The price and the time of an acceptable point, else the first thing that is wrong with it."""
    price = _read_price(point.price)
    if isinstance(price, _Problem):
        return price
    moment = _read_time(point.timestamp)
    if isinstance(moment, _Problem):
        return moment
    if moment > now + FUTURE_TOLERANCE:
        ahead = (moment - now).total_seconds()
        return _Problem(Reason.FUTURE_TIMESTAMP, f"The time {iso(moment)} is {ahead:.0f} s in the future.")
    if window and not window[0] <= moment <= window[1]:
        asked = f"{iso(window[0])} to {iso(window[1])}"
        return _Problem(Reason.OUTSIDE_WINDOW, f"The time {iso(moment)} is outside {asked}, which was asked for.")
    return price, moment


def _read_price(value: object) -> float | _Problem:
    if value is None:
        return _Problem(Reason.MISSING_PRICE, "There is no price.")
    price = _number(value)
    if price is None:
        return _Problem(Reason.NOT_A_NUMBER, f"The price {_shown(value)} is not a number.")
    if math.isnan(price) or abs(price) >= LARGEST_PRICE:
        return _Problem(Reason.NOT_A_NUMBER, f"The price {_shown(value)} is not a finite amount of money.")
    if price < 0:
        return _Problem(Reason.NEGATIVE_PRICE, f"The price {_shown(value)} is negative.")
    if price == 0:
        return _Problem(Reason.ZERO_PRICE, f"The price {_shown(value)} is zero.")
    return price


def _read_time(value: object) -> datetime | _Problem:
    """The aware UTC time, to the microsecond, that `value` UNIX seconds stand for."""
    if value is None:
        return _Problem(Reason.MISSING_TIMESTAMP, "There is no time.")
    seconds = _number(value)
    if seconds is None or not math.isfinite(seconds):
        return _Problem(Reason.BAD_TIMESTAMP, f"The time {_shown(value)} is not a number of seconds.")
    try:
        moment = _EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
    except (OverflowError, ValueError):
        return _Problem(Reason.BAD_TIMESTAMP, f"The time {_shown(value)} lies beyond the calendar.")
    if moment < EARLIEST:
        return _Problem(Reason.BAD_TIMESTAMP, f"The time {iso(moment)} lies before there were coins.")
    return moment


def _number(value: object) -> float | None:
    """`value` as a float, infinite if it is too large for one; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _refusal(
    point: RawPoint, problem: _Problem, symbol: str, days: Collection[date], source: Source, now: datetime
) -> Refusal:
    moment = _read_time(point.timestamp)
    claimed = moment if isinstance(moment, datetime) else None
    day = claimed.date() if claimed and claimed.date() in days else max(days)
    return Refusal(
        symbol, day, problem.reason, problem.detail, claimed, point.payload[:PAYLOAD_LIMIT], source, now
    )


def _report_difference(first: Quote, price: float) -> None:
    if first.price != price:
        logger.warning(
            "%s has two prices at %s, %s and %s; the later in the answer is kept",
            first.symbol, iso(first.timestamp), first.price, price, extra={"symbol": first.symbol},
        )


def _shown(value: object) -> str:
    """`value` as bounded ASCII text for one sentence."""
    if isinstance(value, int) and abs(value) >= LARGEST_PRICE:
        return "of more than 300 digits"
    return ascii(value)[:80] if isinstance(value, (int, float)) else ascii(reprlib.repr(value))[1:-1][:80]
