"""Check once a day whether CoinGecko still lists the configured coins under their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from market_pipeline.coingecko.identity import Identity, compare
from market_pipeline.core.symbols import Coin
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.operations_tables import coin_identities

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient

# CoinGecko itself renews its list more often; coins are renamed a few times a year.
LIST_AGE = timedelta(hours=24)

_FIELDS = [field.name for field in fields(Identity)]


def verify_identities(
    client: CoinGeckoClient, database: Database, coins: Iterable[Coin], now: datetime
) -> list[Identity]:
    """Return `coins` as CoinGecko lists them, in their order; the list is requested at most once in 24 hours.

    An older result, or one for other coins, does not count. `now` is aware. Raises CoinGeckoError if the list cannot be
    fetched, and StorageError.
    """
    coins = list(coins)
    known = load_identities(database, coins)
    recent = [identity for identity, checked_at in known.values() if timedelta() <= now - checked_at < LIST_AGE]
    if len(recent) == len(coins):
        return recent
    identities = compare(coins, client.coins_list(), {coin: identity for coin, (identity, _) in known.items()})
    save_identities(database, identities, now)
    return identities


def load_identities(database: Database, coins: Iterable[Coin]) -> dict[Coin, tuple[Identity, datetime]]:
    """Return what is stored of `coins`, perhaps of some of them only, and when it was checked (UTC)."""
    with database.reading() as connection:
        rows = [row._mapping for row in connection.execute(select(coin_identities))]
    found = {
        Coin(row["symbol"], row["coin_id"]): (Identity(**{name: row[name] for name in _FIELDS}), row["checked_at"])
        for row in rows
    }
    return {coin: found[coin] for coin in coins if coin in found}


def save_identities(database: Database, identities: Sequence[Identity], checked_at: datetime) -> None:
    """Store `identities` as checked at `checked_at` (aware), in place of older ones of the same coins.

    Raises WriteFailed if the database refuses them.
    """
    rows = [{**asdict(identity), "checked_at": checked_at} for identity in identities]
    upsert(database, coin_identities, columns_of(coin_identities, rows))
