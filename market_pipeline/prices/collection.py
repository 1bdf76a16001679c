"""A collection: what its answers bring together, and the request for current prices.

Requests for the past are in `history` and `holes`; which of them a collection makes is decided in
`pipeline.collect`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.outage import Outage
from market_pipeline.core.symbols import Catalogue, Coin
from market_pipeline.logs import get_logger
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.clock_skew import behind, complaint
from market_pipeline.prices.gaps import Interval
from market_pipeline.prices.quotes import Quote, Refusal, Source
from market_pipeline.prices.validation import Examined, examine

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient

logger = get_logger(__name__)


@dataclass(frozen=True)
class Collected:
    """Everything that came of one collection.

    `quotes` are sorted by symbol and time, each time of a symbol once; each refusal is there once. `unasked` are
    coin ids that an answer held without being requested, `requests` counts the HTTP requests sent, retries included,
    and `failures` holds the first error of each symbol with a failed request; its other quotes are here all the same.

    `answered` are the stretches of the past that CoinGecko answered for, `absences` those of them in which it has no
    prices itself. `filled` are the quotes that fill holes of the last day, `unfilled` says why the holes of a symbol
    are still there. `clock_skew` is how many seconds our clock was ahead of the source's at its last answer, None if
    it named no time.
    """

    quotes: tuple[Quote, ...]
    refusals: tuple[Refusal, ...]
    unasked: tuple[str, ...]
    requests: int
    failures: Mapping[str, CoinGeckoError]
    answered: tuple[tuple[Coin, Interval], ...] = ()
    absences: tuple[Absence, ...] = ()
    filled: tuple[Quote, ...] = ()
    unfilled: Mapping[str, str] = field(default_factory=dict)
    clock_skew: float | None = None

    def with_filled(self, fill: Collected) -> Collected:
        """Add the `fill` of holes, which shares no quote with this collection."""
        return replace(
            self,
            quotes=tuple(sorted([*self.quotes, *fill.quotes], key=lambda quote: (quote.symbol, quote.timestamp))),
            refusals=self.refusals + fill.refusals,
            requests=self.requests + fill.requests,
            answered=self.answered + fill.answered,
            absences=self.absences + fill.absences,
            filled=fill.filled,
            unfilled=fill.unfilled,
        )


@dataclass
class Progress:
    """What has come so far, each quote and each refusal once: neighbouring windows share a midnight."""

    quotes: dict[tuple[str, datetime], Quote] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()
    failures: dict[str, CoinGeckoError] = field(default_factory=dict)
    answered: list[tuple[Coin, Interval]] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)

    def add(self, examined: Examined) -> None:
        """Add the points of one answer."""
        self.quotes.update(((quote.symbol, quote.timestamp), quote) for quote in examined.quotes)
        self.refusals.update((refusal.id, refusal) for refusal in examined.refusals)

    def fail(self, symbols: Iterable[str], error: CoinGeckoError) -> None:
        """Record the first error of each symbol."""
        for symbol in symbols:
            self.failures.setdefault(symbol, error)

    def collected(self, requests: int, clock_skew: float | None = None) -> Collected:
        """Return the whole, after so many HTTP requests."""
        return Collected(
            quotes=tuple(self.quotes[key] for key in sorted(self.quotes)),
            refusals=tuple(self.refusals.values()),
            unasked=self.unasked,
            requests=requests,
            failures=self.failures,
            answered=tuple(self.answered),
            absences=tuple(self.absences),
            clock_skew=clock_skew,
        )


def fetch_current(
    client: CoinGeckoClient,
    catalogue: Catalogue,
    days: Mapping[str, Collection[date]],
    progress: Progress,
    outage: Outage,
) -> None:
    """Request the current prices of the symbols in `days`, which are the days asked for of each."""
    coins = {coin.source_id: coin for coin in map(catalogue.coin, days)}
    try:
        answer = client.simple_price(coins)
    except CoinGeckoError as error:
        logger.error("No current prices of %s: %s", ", ".join(days), error)
        progress.fail(days, error)
        outage.note(error)
        return
    outage.note(next((error for error in answer.failures.values() if error.affects_all), None))
    for failure in dict.fromkeys(answer.failures.values()):
        failed = [coins[coin_id].symbol for coin_id, error in answer.failures.items() if error is failure]
        logger.error("No current prices of %s: %s", ", ".join(failed), failure)
        progress.fail(failed, failure)
    progress.unasked = answer.unasked
    # The request may have waited for the budget: judge the answer by the time at which it arrived.
    received_at = client.clock()
    if wrong := complaint(client.clock_skew):
        logger.warning("%s", wrong)
    for point in answer.points:
        coin = coins[point.coin_id]
        progress.add(examine(
            [point], coin=coin, days=days[coin.symbol], now=received_at, source=Source.LIVE,
            behind=behind(client.clock_skew),
        ))
