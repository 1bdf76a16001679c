"""The current prices of many symbols by one request."""

from collections.abc import Collection, Mapping
from datetime import date

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.logs import get_logger
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
) -> CoinGeckoError | None:
    """Ask for the current prices; returns the error if it would meet every other request too."""
    coins = {coin.coin_id: coin for coin in map(catalogue.coin, symbols)}
    try:
        answer = client.simple_price(coins)
    except CoinGeckoError as error:
        logger.error("No current prices of %s: %s", ", ".join(symbols), error)
        progress.fail(symbols, error)
        return error if error.affects_all else None
    progress.unasked = answer.unasked
    # The request may have waited its turn, so the answer is judged by the time at which it came.
    came = client.clock()
    for point in answer.points:
        coin = coins[point.coin_id]
        progress.keep(examine([point], coin=coin, days=asked[coin.symbol], now=came, source=Source.LIVE))
    return None
