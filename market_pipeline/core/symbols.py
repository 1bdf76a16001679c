"""The symbol catalogue: which coins are collected and what CoinGecko calls them.

A symbol is upper case (`BTC`); a coin id is CoinGecko's name for it (`bitcoin`). A coin whose prices come from a
simulator has another id than the real one (`simulated:bitcoin`), so that its prices never pass for CoinGecko's.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

KNOWN_COINS = {
    "BTC": "bitcoin",
    "ETH": "ethereum",
    "SOL": "solana",
    "ADA": "cardano",
    "DOT": "polkadot",
}

# The id of stored prices whose coin is not known.
UNKNOWN_COIN = "unknown"

# No id of CoinGecko's contains a colon.
_SIMULATED = "simulated:"

LONGEST_SYMBOL = 20
_SYMBOL = re.compile(rf"[A-Z0-9][A-Z0-9._\-]{{0,{LONGEST_SYMBOL - 1}}}")
_COIN_ID = re.compile(r"[a-z0-9_][a-z0-9._\-]{0,99}")


@dataclass(frozen=True)
class Coin:
    """One collected coin: our symbol, and the id under which its prices are stored."""

    symbol: str
    coin_id: str

    def __str__(self) -> str:
        return f"{self.symbol} ({self.coin_id})"

    @property
    def source_id(self) -> str:
        """The id by which the source knows it."""
        return self.coin_id.removeprefix(_SIMULATED)

    @property
    def is_simulated(self) -> bool:
        """Whether its prices are those of a simulator."""
        return self.coin_id.startswith(_SIMULATED)

    @property
    def simulated(self) -> "Coin":
        """The same coin with prices from a simulator."""
        return Coin(self.symbol, _SIMULATED + self.source_id)

    def with_source_id(self, source_id: str) -> "Coin":
        """Return the same coin, known to the source by another id."""
        return Coin(self.symbol, self.coin_id.removesuffix(self.source_id) + source_id)


class Catalogue:
    """The coins of this installation, in configured order."""

    def __init__(self, coins: Iterable[Coin]) -> None:
        self._by_symbol = {coin.symbol: coin for coin in coins}

    def __iter__(self) -> Iterator[Coin]:
        return iter(self._by_symbol.values())

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of its coins, in configured order."""
        return tuple(self._by_symbol)

    @property
    def ids(self) -> dict[str, str]:
        """The coin id of each symbol."""
        return {coin.symbol: coin.coin_id for coin in self}

    @property
    def simulated(self) -> "Catalogue":
        """The same coins with prices from a simulator."""
        return Catalogue(coin.simulated for coin in self)

    def coin(self, symbol: str) -> Coin:
        """Return the coin of `symbol` in any case; raise ValueError if it is not collected here."""
        return self._by_symbol[self.validate_symbol(symbol)]

    def validate_symbol(self, symbol: str) -> str:
        """Return `symbol` trimmed and in upper case; raise ValueError if it is not collected here."""
        normalised = symbol.strip().upper()
        if normalised not in self._by_symbol:
            raise ValueError(
                f"Unsupported symbol: {symbol!r}. Supported are {', '.join(self.symbols)}; "
                "add others to MARKET_SYMBOLS, e.g. PEPE=pepe."
            )
        return normalised


def parse_catalogue(text: str) -> Catalogue:
    """Parse MARKET_SYMBOLS: `BTC,ETH,PEPE=pepe`.

    A bare symbol must be one of `KNOWN_COINS`; any other coin is written `SYMBOL=coingecko-id`. Raises ValueError
    naming the entry that cannot be used.
    """
    coins = [_parse_entry(entry) for entry in text.split(",") if entry.strip()]
    if not coins:
        raise ValueError("name at least one symbol, e.g. BTC,ETH")
    _require_distinct("symbol", [coin.symbol for coin in coins])
    _require_distinct("CoinGecko id", [coin.coin_id for coin in coins])
    return Catalogue(coins)


def as_setting(coins: Iterable[Coin]) -> str:
    """Return the value of MARKET_SYMBOLS that names `coins`."""
    return ",".join(
        coin.symbol if KNOWN_COINS.get(coin.symbol) == coin.source_id else f"{coin.symbol}={coin.source_id}"
        for coin in coins
    )


def parse_stored(text: str) -> tuple[str, str | None]:
    """Parse `BTC` or `BTC=bitcoin`, a coin as prices may be stored under; the id may be a simulated one.

    Raises ValueError if no prices can be stored under it.
    """
    symbol, coin_id = _parts(text)
    if coin_id is not None:
        _require_id(coin_id.removeprefix(_SIMULATED), text)
    return symbol, coin_id


def _parse_entry(entry: str) -> Coin:
    symbol, coin_id = _parts(entry)
    if coin_id is None:
        if symbol not in KNOWN_COINS:
            raise ValueError(
                f"Unsupported symbol: {symbol!r}. Known are {', '.join(KNOWN_COINS)}; "
                f"write any other with its CoinGecko id: {symbol}=<id>"
            )
        coin_id = KNOWN_COINS[symbol]
    _require_id(coin_id, entry)
    return Coin(symbol, coin_id)


def _parts(entry: str) -> tuple[str, str | None]:
    symbol, separator, coin_id = (part.strip() for part in entry.partition("="))
    if not _SYMBOL.fullmatch(symbol.upper()):
        raise ValueError(f"{entry.strip()!r} is not a symbol such as BTC or PEPE=pepe")
    return symbol.upper(), coin_id if separator else None


def _require_id(coin_id: str, entry: str) -> None:
    if not _COIN_ID.fullmatch(coin_id):
        raise ValueError(f"{coin_id!r} is not a CoinGecko id such as 'bitcoin' (in {entry.strip()!r})")


def _require_distinct(what: str, names: Iterable[str]) -> None:
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"{what} named twice: {', '.join(twice)}")
