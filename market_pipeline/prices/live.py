"""The current prices of many symbols by as few requests as there can be."""

from collections.abc import Collection, Mapping
from datetime import date

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.outage import Outage
from market_pipeline.logs import get_logger
from market_pipeline.prices.clock_skew import behind, complaint
from market_pipeline.prices.collected import Progress
from market_pipeline.prices.quotes import Source
from market_pipeline.prices.validate import examine
from market_pipeline.symbols import Catalogue

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
