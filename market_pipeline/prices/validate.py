"""The rules that tell a quote from a refusal, and nothing else: no I/O, no requests.

Every point becomes exactly one quote or one refusal, except that points of the same time become one
quote and that many refusals of a kind are counted instead of kept. No value that a server can send
raises here.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from market_pipeline.clock import iso
from market_pipeline.coingecko.models import PAYLOAD_LIMIT, RawPoint
from market_pipeline.logs import get_logger
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Quote, Reason, Refusal, Source
from market_pipeline.prices.values import Problem, read_price, read_time
from market_pipeline.symbols import Coin
from market_pipeline.words import span

logger = get_logger(__name__)

# What is kept of the refusals of one answer. The rest says nothing new and would fill the disk.
KEPT_OF_A_KIND = 10
KEPT_OF_AN_ANSWER = 1_000


@dataclass(frozen=True)
class Examined:
    """The quotes in the order of time, each time once, and the refusals.

    Of the refusals of a day for the same reason the first are there, and the last of those says how many
    more there were. `merged` counts the points that gave way to another one of the same time, `dropped` the refusals
    that are not there.
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
    """Judge the points that CoinGecko sent for `coin`.

    `days` are the days asked for (at least one), `now` is when the answer came (aware UTC). `window`
    is the closed interval of time that was asked for; live prices have none, so an old one is
    accepted and belongs to its own day. `behind` is how far our clock is behind the source's: what is in the
    future for that alone is refused with the clock as the reason. Of two points of the same time the later in
    the answer wins.
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
    _report_differences(replaced)
    return Examined(tuple(quotes[moment] for moment in sorted(quotes)), refusals.kept(), merged, refusals.dropped)


class _Refusals:
    """Keeps the first refusals of each day and reason, and counts the rest."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[date, Reason], list[Refusal]] = {}
        self._more: Counter[tuple[date, Reason]] = Counter()
        self._kept = 0

    def add(self, refusal: Refusal) -> None:
        kind = (refusal.day, refusal.reason)
        same = self._kinds.setdefault(kind, [])
        # Of each kind there is one, to carry the count.
        if not same or (len(same) < KEPT_OF_A_KIND and self._kept < KEPT_OF_AN_ANSWER):
            same.append(refusal)
            self._kept += 1
        else:
            self._more[kind] += 1

    @property
    def dropped(self) -> int:
        return sum(self._more.values())

    def kept(self) -> tuple[Refusal, ...]:
        for kind, more in self._more.items():
            last = self._kinds[kind][-1]
            words = f"{last.detail} The answer held {more:,} more of the same kind."
            self._kinds[kind][-1] = replace(last, detail=words)
        return tuple(refusal for same in self._kinds.values() for refusal in same)


def _judge(
    point: RawPoint, now: datetime, window: tuple[datetime, datetime] | None, behind: timedelta
) -> tuple[float, datetime] | Problem:
    """The price and the time of an acceptable point, else the first thing that is wrong with it."""
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
    return Refusal(
        coin.symbol, coin.coin_id, day, problem.reason, problem.detail, claimed, point.payload[:PAYLOAD_LIMIT],
        source, now,
    )


def _report_differences(replaced: Sequence[tuple[Quote, float]]) -> None:
    if replaced:
        first, price = replaced[0]
        logger.warning(
            "%s has two prices at %s, %s and %s; the later in the answer is kept%s",
            first.symbol, iso(first.timestamp), first.price, price,
            f", and so at {len(replaced) - 1:,} other times" if len(replaced) > 1 else "",
            extra={"symbol": first.symbol},
        )
