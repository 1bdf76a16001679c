"""The rules that tell a quote from a refusal, and nothing else: no I/O, no requests.

Every point becomes exactly one quote or one refusal, except that points of the same time become one
quote. No value that a server can send raises here.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from market_pipeline.clock import iso
from market_pipeline.coingecko.models import PAYLOAD_LIMIT, RawPoint
from market_pipeline.logs import get_logger
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Quote, Reason, Refusal, Source
from market_pipeline.prices.values import Problem, read_price, read_time
from market_pipeline.symbols import Coin

logger = get_logger(__name__)


@dataclass(frozen=True)
class Examined:
    """The quotes in the order of time, each time once, and the refusals in the order of arrival.

    `merged` counts the points that gave way to another one of the same time.
    """

    quotes: tuple[Quote, ...]
    refusals: tuple[Refusal, ...]
    merged: int


def examine(
    points: Iterable[RawPoint],
    *,
    coin: Coin,
    days: Collection[date],
    now: datetime,
    source: Source,
    window: tuple[datetime, datetime] | None = None,
) -> Examined:
    """Judge the points that CoinGecko sent for `coin`.

    `days` are the days asked for (at least one), `now` is when the answer came (aware UTC). `window`
    is the closed interval of time that was asked for; live prices have none, so an old one is
    accepted and belongs to its own day. Of two points of the same time the later in the answer wins.
    """
    quotes: dict[datetime, Quote] = {}
    refusals = []
    merged = 0
    for point in points:
        verdict = _judge(point, now, window)
        if isinstance(verdict, Problem):
            refusals.append(_refusal(point, verdict, coin, days, source, now))
            continue
        price, moment = verdict
        if moment in quotes:
            merged += 1
            _report_difference(quotes[moment], price)
        quotes[moment] = Quote(coin.symbol, coin.coin_id, moment, price, source, now)
    return Examined(tuple(quotes[moment] for moment in sorted(quotes)), tuple(refusals), merged)


def _judge(
    point: RawPoint, now: datetime, window: tuple[datetime, datetime] | None
) -> tuple[float, datetime] | Problem:
    """The price and the time of an acceptable point, else the first thing that is wrong with it."""
    price = read_price(point.price)
    if isinstance(price, Problem):
        return price
    moment = read_time(point.timestamp)
    if isinstance(moment, Problem):
        return moment
    if moment - now > FUTURE_TOLERANCE:
        ahead = (moment - now).total_seconds()
        return Problem(Reason.FUTURE_TIMESTAMP, f"The time {iso(moment)} is {ahead:.0f} s in the future.")
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
    return Refusal(
        coin.symbol, coin.coin_id, day, problem.reason, problem.detail, claimed, point.payload[:PAYLOAD_LIMIT],
        source, now,
    )


def _report_difference(first: Quote, price: float) -> None:
    if first.price != price:
        logger.warning(
            "%s has two prices at %s, %s and %s; the later in the answer is kept",
            first.symbol, iso(first.timestamp), first.price, price, extra={"symbol": first.symbol},
        )
