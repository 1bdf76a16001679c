"""One collection: the results of its requests, and the request for current prices.

Requests for the past are in `history` and `holes`; which of them a collection makes is decided in
`pipeline.collect`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


class Collection:
    """What came of requests by `client` for coins of `catalogue`, each quote and each refusal once.

    `failures` holds the first error of each symbol with a failed request; its other quotes are included.
    `unasked` are coin ids that an answer held without being requested. `answered` are the stretches of the past that
    CoinGecko answered for, `absences` those of them in which it has no prices itself. `filled` are the quotes that
    fill holes of the last day, `unfilled` gives the reason why holes of a symbol remain. `outage` decides whether
    further requests make sense.
    """

    def __init__(self, client: CoinGeckoClient, catalogue: Catalogue) -> None:
        self.client = client
        self.catalogue = catalogue
        self.outage = Outage()
        self.failures: dict[str, CoinGeckoError] = {}
        self.unasked: tuple[str, ...] = ()
        self.answered: list[tuple[Coin, Interval]] = []
        self.absences: list[Absence] = []
        self.filled: list[Quote] = []
        self.unfilled: dict[str, str] = {}
        self._quotes: dict[tuple[str, datetime], Quote] = {}
        self._refusals: dict[str, Refusal] = {}
        self._sent_before = client.requests_sent

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """All quotes by symbol and time."""
        return tuple(self._quotes[key] for key in sorted(self._quotes))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """All refusals, in the order in which they were made."""
        return tuple(self._refusals.values())

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent, retries included."""
        return self.client.requests_sent - self._sent_before

    @property
    def clock_skew(self) -> float | None:
        """By how many seconds our clock was ahead of the source's at its last answer, None if it named no time."""
        return self.client.clock_skew

    def add(self, examined: Examined) -> None:
        """Add the points of one answer; neighbouring windows of history share a midnight."""
        self._quotes.update(((quote.symbol, quote.timestamp), quote) for quote in examined.quotes)
        self._refusals.update((refusal.id, refusal) for refusal in examined.refusals)

    def fail(self, symbols: Iterable[str], error: CoinGeckoError) -> None:
        """Record the first error of each symbol."""
        for symbol in symbols:
            self.failures.setdefault(symbol, error)


def fetch_current(collection: Collection, days: Mapping[str, set[date]]) -> None:
    """Request the current prices of the symbols in `days`, which holds the requested days of each."""
    client = collection.client
    coins = {coin.source_id: coin for coin in map(collection.catalogue.coin, days)}
    try:
        answer = client.simple_price(coins)
    except CoinGeckoError as error:
        logger.error("No current prices of %s: %s", ", ".join(days), error)
        collection.fail(days, error)
        collection.outage.note(error)
        return
    collection.outage.note(next((error for error in answer.failures.values() if error.affects_all), None))
    for failure in dict.fromkeys(answer.failures.values()):
        failed = [coins[coin_id].symbol for coin_id, error in answer.failures.items() if error is failure]
        logger.error("No current prices of %s: %s", ", ".join(failed), failure)
        collection.fail(failed, failure)
    collection.unasked = answer.unasked
    # The request may have waited for the budget: judge the answer by the time at which it arrived.
    received_at = client.clock()
    if wrong := complaint(client.clock_skew):
        logger.warning("%s", wrong)
    for point in answer.points:
        coin = coins[point.coin_id]
        collection.add(examine(
            [point], coin=coin, days=days[coin.symbol], now=received_at, source=Source.LIVE,
            behind=behind(client.clock_skew),
        ))
