"""The symbol catalogue: which coins are collected and what CoinGecko calls them.

A symbol is upper case (`BTC`); a coin id is CoinGecko's name for it (`bitcoin`). No I/O here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

KNOWN_COINS = {
    "BTC": "bitcoin",
    "ETH": "ethereum",
    "SOL": "solana",
    "ADA": "cardano",
    "DOT": "polkadot",
}

# The id of stored prices of which nobody knows the coin.
UNKNOWN_COIN = "unknown"

LONGEST_SYMBOL = 20
_SYMBOL = re.compile(rf"[A-Z0-9][A-Z0-9.\-]{{0,{LONGEST_SYMBOL - 1}}}")
_COIN_ID = re.compile(r"[a-z0-9_][a-z0-9._\-]{0,99}")


@dataclass(frozen=True)
class Coin:
    """One collected coin: our symbol and CoinGecko's id."""

    symbol: str
    coin_id: str


class Catalogue:
    """The coins of this installation, in the order in which they were configured."""

    def __init__(self, coins: list[Coin]) -> None:
        self._by_symbol = {coin.symbol: coin for coin in coins}

    def __iter__(self) -> Iterator[Coin]:
        return iter(self._by_symbol.values())

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._by_symbol)

    @property
    def ids(self) -> dict[str, str]:
        """The coin id of each symbol."""
        return {coin.symbol: coin.coin_id for coin in self}

    def coin(self, symbol: str) -> Coin:
        """The coin of `symbol` in any case; ValueError if it is not collected here."""
        return self._by_symbol[self.validate_symbol(symbol)]

    def validate_symbol(self, symbol: str) -> str:
        """`symbol` trimmed and upper-cased; ValueError if it is not collected here."""
        normalised = symbol.strip().upper()
        if normalised not in self._by_symbol:
            raise ValueError(
                f"Unsupported symbol: {symbol!r}. Supported are {', '.join(self.symbols)}; "
                "add others to MARKET_SYMBOLS, e.g. PEPE=pepe."
            )
        return normalised


def parse_catalogue(text: str) -> Catalogue:
    """The catalogue that MARKET_SYMBOLS describes: `BTC,ETH,PEPE=pepe`.

    A bare symbol must be one of `KNOWN_COINS`; any other coin is written `SYMBOL=coingecko-id`.
    Raises ValueError naming the entry that cannot be used.
    """
    coins = [_parse_entry(entry) for entry in text.split(",") if entry.strip()]
    if not coins:
        raise ValueError("name at least one symbol, e.g. BTC,ETH")
    for what, names in (
        ("symbol", [coin.symbol for coin in coins]),
        ("CoinGecko id", [coin.coin_id for coin in coins]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{what} named twice: {', '.join(twice)}")
    return Catalogue(coins)


def _parse_entry(entry: str) -> Coin:
    symbol, separator, coin_id = (part.strip() for part in entry.partition("="))
    symbol = symbol.upper()
    if not _SYMBOL.fullmatch(symbol):
        raise ValueError(f"{entry.strip()!r} is not a symbol such as BTC or PEPE=pepe")
    if not separator:
        if symbol not in KNOWN_COINS:
            raise ValueError(
                f"Unsupported symbol: {symbol!r}. Known are {', '.join(KNOWN_COINS)}; "
                f"write any other with its CoinGecko id: {symbol}=<id>"
            )
        coin_id = KNOWN_COINS[symbol]
    if not _COIN_ID.fullmatch(coin_id):
        raise ValueError(f"{coin_id!r} is not a CoinGecko id such as 'bitcoin' (in {entry.strip()!r})")
    return Coin(symbol, coin_id)
