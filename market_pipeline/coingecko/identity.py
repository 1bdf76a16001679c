"""Whether CoinGecko still knows the configured coins by their ids. Pure functions.

An id can vanish, be renamed or be merged into another; all three look the same in a list of coins:
the id is not there. Tickers are shared by many coins and may be chosen freely here, so a ticker that
differs from ours is no problem; one that changed may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import TYPE_CHECKING

from market_pipeline.core.symbols import KNOWN_COINS, Coin, as_setting

if TYPE_CHECKING:
    from market_pipeline.coingecko.models import ListedCoin


# From here on two names look alike to a person: solana and solana-2, not solana and solend.
_ALIKE = 0.7


@dataclass(frozen=True)
class Identity:
    """A configured coin as CoinGecko lists it.

    `listed_symbol` and `listed_name` are CoinGecko's, the last known ones if it is not `listed`.
    `problem` is a sentence or None; `likely_id` is the id that probably took the place of `coin_id`.
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
    """Each of `coins` against the `listed` ones; `before` is what was known of them earlier."""
    by_id = {entry.coin_id: entry for entry in listed}
    symbol_of = {coin.source_id: coin.symbol for coin in coins}
    return [
        _found(coin, by_id[coin.source_id], (before or {}).get(coin))
        if coin.source_id in by_id
        else _missing(coin, listed, (before or {}).get(coin), symbol_of)
        for coin in coins
    ]


def suggested_symbols(coins: Sequence[Coin], identities: Iterable[Identity]) -> str:
    """The value for MARKET_SYMBOLS with every likely id in its place.

    A coin that was merged into another collected one is left out; one without a likely id stays.
    """
    likely = {identity.symbol: identity.likely_id for identity in identities}
    taken = {coin.source_id for coin in coins}
    kept = []
    for coin in coins:
        coin_id = likely.get(coin.symbol) or coin.source_id
        if coin_id != coin.source_id and coin_id in taken:
            continue
        taken.add(coin_id)
        kept.append(Coin(coin.symbol, coin_id))
    return as_setting(kept)


def _found(coin: Coin, entry: ListedCoin, earlier: Identity | None) -> Identity:
    ticker = entry.symbol.upper()
    known = coin.symbol if KNOWN_COINS.get(coin.symbol) == coin.source_id else None
    was = known or (earlier.listed_symbol if earlier else None)
    problem = None
    if was and ticker != was:
        problem = (
            f"CoinGecko now calls {coin.source_id} {ticker} ({entry.name}); it was {was} before. See on its "
            "page that it is still the coin you mean."
        )
    return Identity(coin.symbol, coin.coin_id, True, ticker, entry.name, problem, None)


def _missing(
    coin: Coin, listed: Sequence[ListedCoin], earlier: Identity | None, symbol_of: Mapping[str, str]
) -> Identity:
    ticker = (earlier.listed_symbol if earlier else None) or coin.symbol
    name = earlier.listed_name if earlier else None
    likely = _likely(coin.source_id, ticker, name, listed)
    gone = "no longer lists" if earlier and earlier.listed else "does not list"
    problem = f"CoinGecko {gone} the id {coin.source_id} among its active coins; "
    if likely is None:
        problem += "none that it lists is alike, so it probably vanished. Take it out or find its new id."
    elif likely.coin_id in symbol_of:
        problem += (
            f"it was probably merged into {likely.coin_id} ({likely.name}), which is collected as "
            f"{symbol_of[likely.coin_id]}."
        )
    else:
        same = "with the same ticker" if likely.symbol.upper() == ticker else "by its name"
        problem += f"probably it is now {likely.coin_id} ({likely.name}), {same}."
    return Identity(
        coin.symbol, coin.coin_id, False, earlier.listed_symbol if earlier else None, name, problem,
        likely.coin_id if likely else None,
    )


def _likely(
    coin_id: str, ticker: str, name: str | None, listed: Sequence[ListedCoin]
) -> ListedCoin | None:
    """The listed coin that took the place of `coin_id`: of those with its ticker the one whose id or
    name is most alike, else one whose id or name is much alike."""
    same = [entry for entry in listed if entry.symbol.upper() == ticker]
    if same:
        return max(same, key=lambda entry: _likeness(entry, coin_id, name))
    ids = {entry.coin_id: entry for entry in listed}
    names = {entry.name.lower(): entry for entry in listed}
    found = [ids[match] for match in get_close_matches(coin_id, ids, 1, _ALIKE)]
    found += [names[match] for match in get_close_matches((name or "").lower(), names, 1, _ALIKE)]
    return max(found, key=lambda entry: _likeness(entry, coin_id, name), default=None)


def _likeness(entry: ListedCoin, coin_id: str, name: str | None) -> float:
    by_id = SequenceMatcher(None, entry.coin_id, coin_id).ratio()
    return max(by_id, SequenceMatcher(None, entry.name.lower(), name.lower()).ratio() if name else 0.0)
