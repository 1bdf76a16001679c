"""Whether CoinGecko still lists the configured coins by their ids. Pure functions.

An id can vanish, be renamed or be merged into another; in the list of coins all three look the same: the
id is missing. Many coins share a ticker, and tickers may be chosen freely here, so a ticker that differs
from ours is no problem; one that changed may be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from market_pipeline.coingecko.models import ListedCoin
from market_pipeline.core.symbols import KNOWN_COINS, Coin, as_setting


@dataclass(frozen=True)
class Identity:
    """A configured coin as CoinGecko lists it.

    `listed_symbol` and `listed_name` are CoinGecko's, the last known ones if it is not `listed`.
    `problem` is a sentence or None; `likely_id` is the id that probably replaced `coin_id`.
    """

    symbol: str
    coin_id: str
    listed: bool
    listed_symbol: str | None
    listed_name: str | None
    problem: str | None
    likely_id: str | None


def compare(
    coins: Sequence[Coin], listed: Sequence[ListedCoin], before: Mapping[Coin, Identity] | None = None
) -> list[Identity]:
    """Compare each of `coins` with the `listed` ones; `before` is what was known of them earlier."""
    by_id = {entry.coin_id: entry for entry in listed}
    symbol_of = {coin.source_id: coin.symbol for coin in coins}
    earlier = before or {}
    return [
        _present(coin, by_id[coin.source_id], earlier.get(coin))
        if coin.source_id in by_id
        else _missing(coin, listed, earlier.get(coin), symbol_of)
        for coin in coins
    ]


def suggested_symbols(coins: Sequence[Coin], identities: Iterable[Identity]) -> str:
    """Return the value for MARKET_SYMBOLS with every likely id in its place.

    A coin that was merged into another collected one is dropped; one without a likely id remains.
    """
    likely = {identity.symbol: identity.likely_id for identity in identities}
    taken = {coin.source_id for coin in coins}
    remaining = []
    for coin in coins:
        coin_id = likely.get(coin.symbol) or coin.source_id
        if coin_id != coin.source_id and coin_id in taken:
            continue
        taken.add(coin_id)
        remaining.append(Coin(coin.symbol, coin_id))
    return as_setting(remaining)


def _present(coin: Coin, entry: ListedCoin, earlier: Identity | None) -> Identity:
    ticker = entry.symbol.upper()
    known = coin.symbol if KNOWN_COINS.get(coin.symbol) == coin.source_id else None
    former = known or (earlier.listed_symbol if earlier else None)
    problem = None
    if former and ticker != former:
        problem = (
            f"CoinGecko now calls {coin.source_id} {ticker} ({entry.name}); it was {former} before. Check on its "
            "page that it is still the coin you mean."
        )
    return Identity(coin.symbol, coin.coin_id, True, ticker, entry.name, problem, None)


def _missing(
    coin: Coin, listed: Sequence[ListedCoin], earlier: Identity | None, symbol_of: Mapping[str, str]
) -> Identity:
    ticker = (earlier.listed_symbol if earlier else None) or coin.symbol
    likely = _successor(coin.source_id, ticker, listed)
    gone = "no longer lists" if earlier and earlier.listed else "does not list"
    problem = f"CoinGecko {gone} the id {coin.source_id} among its active coins; "
    if likely is None:
        problem += f"no other coin has clearly replaced it as {ticker}. Remove it or find its new id."
    elif likely.coin_id in symbol_of:
        problem += (
            f"it was probably merged into {likely.coin_id} ({likely.name}), which is collected as "
            f"{symbol_of[likely.coin_id]}."
        )
    else:
        problem += f"it is probably {likely.coin_id} ({likely.name}) now, with the same ticker."
    return Identity(
        coin.symbol,
        coin.coin_id,
        listed=False,
        listed_symbol=earlier.listed_symbol if earlier else None,
        listed_name=earlier.listed_name if earlier else None,
        problem=problem,
        likely_id=likely.coin_id if likely else None,
    )


def _successor(coin_id: str, ticker: str, listed: Sequence[ListedCoin]) -> ListedCoin | None:
    """Return the only coin with `ticker`; of several, the only one whose id contains `coin_id` or is part of it."""
    same = [entry for entry in listed if entry.symbol.upper() == ticker]
    related = [entry for entry in same if coin_id in entry.coin_id or (entry.coin_id and entry.coin_id in coin_id)]
    found = related if len(same) > 1 else same
    return found[0] if len(found) == 1 else None
