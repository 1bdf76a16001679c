"""What the simulator says about a coin besides its price: symbol, name, supply and traded volume."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.simulator.noise import uniform

Label = Callable[[str], str]

_SYMBOLS = {coin_id: symbol.lower() for symbol, coin_id in KNOWN_COINS.items()}


def symbol_of(coin_id: str) -> str:
    """The lower-case ticker; a coin that is not well known is called by its id."""
    return _SYMBOLS.get(coin_id, coin_id)


def name_of(coin_id: str) -> str:
    """The display name."""
    return coin_id.replace("-", " ").title()


def market_cap(coin_id: str, price: float) -> float:
    """`price` times a supply that depends on the coin alone, in US dollars."""
    return price * _supply(coin_id)


@lru_cache(maxsize=1024)
def _supply(coin_id: str) -> int:
    return round(10 ** (7 + 3 * uniform(f"supply:{coin_id}", 0)))


def traded_volume(coin_id: str, price: float, at: datetime) -> float:
    """The volume of the past 24 hours in US dollars: a few percent of the market cap, by the hour."""
    share = 0.01 + 0.04 * uniform(f"volume:{coin_id}", int(at.timestamp() // 3600))
    return market_cap(coin_id, price) * share
