"""The rules that accept a point as a quote or refuse it. Pure: no requests, no database.

Every point becomes exactly one quote or one refusal, except that points of the same time become one quote and that
many refusals of a kind are counted instead of stored. No value that a server can send raises here.
"""

import math
import reprlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone

from market_pipeline.coingecko.models import PAYLOAD_LIMIT, RawPoint
from market_pipeline.core.clock import from_microseconds, iso
from market_pipeline.core.symbols import Coin
from market_pipeline.core.wording import counted, span
from market_pipeline.logs import get_logger
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, LARGEST_PRICE, Quote, Reason, Refusal, Source

logger = get_logger(__name__)

# The first Bitcoin block; an earlier time is a wrong unit or a default.
EARLIEST = datetime(2009, 1, 3, tzinfo=timezone.utc)

# How many refusals of one answer are stored. More say nothing new and would fill the disk.
MOST_OF_A_KIND = 10
MOST_OF_AN_ANSWER = 1_000


@dataclass(frozen=True)
class Problem:
    """Why a value is not accepted, and a sentence that quotes it."""

    reason: Reason
    detail: str


def read_price(value: object) -> float | Problem:
    """Read a price in US dollars, greater than zero."""
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
    """Read UNIX seconds as an aware UTC time, to the microsecond."""
    if value is None:
        return Problem(Reason.MISSING_TIMESTAMP, "CoinGecko sent a price without its time.")
    seconds = _number(value)
    if seconds is None or not math.isfinite(seconds):
        return Problem(Reason.BAD_TIMESTAMP, f"The time {_shown(value)} is not a number of seconds.")
    try:
        moment = from_microseconds(round(seconds * 1_000_000))
    except (OverflowError, ValueError):
        return Problem(Reason.BAD_TIMESTAMP, f"The time {_shown(value)} is outside the calendar.")
    if moment < EARLIEST:
        return Problem(Reason.BAD_TIMESTAMP, f"The time {iso(moment)} is before the first coin existed.")
    return moment


def _number(value: object) -> float | None:
    """Return `value` as a float, infinite if it is too large for one; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _shown(value: object) -> str:
    """Return `value` as bounded ASCII text."""
    if isinstance(value, int) and abs(value) >= LARGEST_PRICE:
        return "of more than 300 digits"
    return ascii(value)[:80] if isinstance(value, (int, float)) else ascii(reprlib.repr(value))[1:-1][:80]


@dataclass(frozen=True)
class Examined:
    """The quotes in time order, one per time, and the refusals.

    Of a day's refusals for one reason only the first are kept, and the last of those says how many more there were.
    `merged` counts the points that were replaced by another of the same time, `dropped` the refusals left out.
    """

    quotes: tuple[Quote, ...]
    refusals: tuple[Refusal, ...]
    merged: int
    dropped: int = 0


def examine(
    points: Iterable[RawPoint],
    *,
    coin: Coin,
    days: Collection[date],
    now: datetime,
    source: Source,
    window: tuple[datetime, datetime] | None = None,
    behind: timedelta = timedelta(0),
) -> Examined:
    """Judge the points of an answer about `coin`.

    `days` are the requested days (at least one), `now` is when the answer arrived (aware UTC). `window` is the closed
    interval that was requested; current prices have none, so an old one is accepted and belongs to its own day.
    `behind` is how far our clock is behind the source's: a point that is in the future for that alone is refused with
    the clock as the reason. Of two points of the same time the later in the answer wins.
    """
    quotes: dict[datetime, Quote] = {}
    refusals = _Refusals()
    replaced: list[tuple[Quote, float]] = []
    merged = 0
    for point in points:
        verdict = _judge(point, now, window, behind)
        if isinstance(verdict, Problem):
            refusals.add(_refusal(point, verdict, coin, days, source, now))
            continue
        price, moment = verdict
        if moment in quotes:
            merged += 1
            if quotes[moment].price != price:
                replaced.append((quotes[moment], price))
        quotes[moment] = Quote(coin.symbol, coin.coin_id, moment, price, source, now)
    _log_differences(replaced)
    return Examined(tuple(quotes[moment] for moment in sorted(quotes)), refusals.stored(), merged, refusals.dropped)


def _judge(
    point: RawPoint, now: datetime, window: tuple[datetime, datetime] | None, behind: timedelta
) -> tuple[float, datetime] | Problem:
    """Return the price and the time of an acceptable point, else the first problem with it."""
    price = read_price(point.price)
    if isinstance(price, Problem):
        return price
    moment = read_time(point.timestamp)
    if isinstance(moment, Problem):
        return moment
    ahead = moment - now
    if ahead > FUTURE_TOLERANCE:
        detail = f"The time {iso(moment)} is {ahead.total_seconds():.0f} s in the future"
        if ahead - behind > FUTURE_TOLERANCE:
            return Problem(Reason.FUTURE_TIMESTAMP, f"{detail}.")
        clock = f"by this machine's clock, which is {span(behind)} behind the source's"
        return Problem(Reason.CLOCK_BEHIND, f"{detail} {clock}.")
    if window and not window[0] <= moment <= window[1]:
        asked = f"{iso(window[0])} to {iso(window[1])}"
        return Problem(Reason.OUTSIDE_WINDOW, f"The time {iso(moment)} is outside {asked} as asked for.")
    return price, moment


def _refusal(
    point: RawPoint, problem: Problem, coin: Coin, days: Collection[date], source: Source, now: datetime
) -> Refusal:
    moment = read_time(point.timestamp)
    claimed = moment if isinstance(moment, datetime) else None
    day = claimed.date() if claimed and claimed.date() in days else max(days)
    payload = point.payload[:PAYLOAD_LIMIT]
    return Refusal(coin.symbol, coin.coin_id, day, problem.reason, problem.detail, claimed, payload, source, now)


class _Refusals:
    """The first refusals of each day and reason, and how many more there were."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[date, Reason], list[Refusal]] = {}
        self._more: Counter[tuple[date, Reason]] = Counter()
        self._count = 0

    def add(self, refusal: Refusal) -> None:
        kind = (refusal.day, refusal.reason)
        same = self._kinds.setdefault(kind, [])
        # Every kind has at least one, which carries the count.
        if not same or (len(same) < MOST_OF_A_KIND and self._count < MOST_OF_AN_ANSWER):
            same.append(refusal)
            self._count += 1
        else:
            self._more[kind] += 1

    @property
    def dropped(self) -> int:
        return self._more.total()

    def stored(self) -> tuple[Refusal, ...]:
        for kind, more in self._more.items():
            last = self._kinds[kind][-1]
            words = f"{last.detail} The answer held {more:,} more of the same kind."
            self._kinds[kind][-1] = replace(last, detail=words)
        return tuple(refusal for same in self._kinds.values() for refusal in same)


def _log_differences(replaced: Sequence[tuple[Quote, float]]) -> None:
    if replaced:
        first, price = replaced[0]
        more = f", as at {counted(len(replaced) - 1, 'other time')}" if len(replaced) > 1 else ""
        logger.warning(
            "%s has two prices at %s, %s and %s; using the later in the answer%s",
            first.symbol, iso(first.timestamp), first.price, price, more, extra={"symbol": first.symbol},
        )
