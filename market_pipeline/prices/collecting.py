"""Collecting a set of days with the fewest requests: today's prices of all symbols by one request
for current prices, past days by windows of history.

What is asked and in what order stands here; what is a good price stands in `validate`.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timezone

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.outage import Outage
from market_pipeline.core.symbols import Catalogue
from market_pipeline.logs import get_logger
from market_pipeline.prices.collection import Collected, Progress
from market_pipeline.prices.freshness import behind, complaint
from market_pipeline.prices.history import collect_past
from market_pipeline.prices.quotes import Source
from market_pipeline.prices.validation import examine

logger = get_logger(__name__)


def collect_live(
    client: CoinGeckoClient,
    catalogue: Catalogue,
    symbols: list[str],
    asked: Mapping[str, Collection[date]],
    progress: Progress,
    outage: Outage,
) -> None:
    """Ask for the current prices and keep what comes."""
    coins = {coin.asked_id: coin for coin in map(catalogue.coin, symbols)}
    try:
        answer = client.simple_price(coins)
    except CoinGeckoError as error:
        logger.error("No current prices of %s: %s", ", ".join(symbols), error)
        progress.fail(symbols, error)
        outage.note(error)
        return
    outage.note(next((met for met in answer.failures.values() if met.affects_all), None))
    for failure in dict.fromkeys(answer.failures.values()):
        lacking = [coins[coin_id].symbol for coin_id, met in answer.failures.items() if met is failure]
        logger.error("No current prices of %s: %s", ", ".join(lacking), failure)
        progress.fail(lacking, failure)
    progress.unasked = answer.unasked
    # The request may have waited its turn, so the answer is judged by the time at which it came.
    came = client.clock()
    if wrong := complaint(client.clock_skew):
        logger.warning("%s", wrong)
    late = behind(client.clock_skew)
    for point in answer.points:
        coin = coins[point.coin_id]
        progress.keep(
            examine([point], coin=coin, days=asked[coin.symbol], now=came, source=Source.LIVE, behind=late)
        )


def collect(
    client: CoinGeckoClient, catalogue: Catalogue, days: Iterable[tuple[date, str]], now: datetime
) -> Collected:
    """Bring the (UTC day, symbol) pairs `days` up to date; the day of `now` (aware) is today.

    Today costs one request for all symbols, the past one for each 90 neighbouring days of a symbol.
    A failed request does not stop the others, unless every other one would fail the same way or
    CoinGecko is down: then all symbols that are still waiting fail with that error. Raises ValueError,
    before any request, for a day in the future and for a symbol that is not in `catalogue`.
    """
    today = now.astimezone(timezone.utc).date()
    asked = _by_symbol(days, catalogue, today)
    past = {symbol: chosen - {today} for symbol, chosen in asked.items()}
    live = [symbol for symbol, chosen in asked.items() if today in chosen]
    before = client.requests_sent
    progress, outage = Progress(), Outage()
    if live:
        collect_live(client, catalogue, live, asked, progress, outage)
    collect_past(client, catalogue, past, progress, outage)
    return progress.collected(client.requests_sent - before, client.clock_skew)


def _by_symbol(
    days: Iterable[tuple[date, str]], catalogue: Catalogue, today: date
) -> dict[str, set[date]]:
    """The days asked for of each symbol, in the order of the catalogue."""
    chosen: dict[str, set[date]] = {symbol: set() for symbol in catalogue.symbols}
    for day, symbol in days:
        if day > today:
            raise ValueError(f"{day} has not begun: it is {today} in UTC, and the future has no prices")
        chosen[catalogue.validate_symbol(symbol)].add(day)
    return {symbol: wanted for symbol, wanted in chosen.items() if wanted}
