"""What is known of the configured coins' ids, and asking for it anew once a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from market_pipeline.coingecko.identity import Identity, compare
from market_pipeline.core.symbols import Coin
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import coin_identities

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient


# CoinGecko itself renews its list more often; coins are renamed a few times a year.
LIST_AGE = timedelta(hours=24)

_FIELDS = [field.name for field in fields(Identity)]


def known_identities(database: Database, coins: Iterable[Coin]) -> dict[Coin, tuple[Identity, datetime]]:
    """What is stored of `coins`, of some of them perhaps nothing, and when it was found out (UTC)."""
    with database.reading() as connection:
        rows = [row._mapping for row in connection.execute(select(coin_identities))]
    found = {
        Coin(row["symbol"], row["coin_id"]): (
            Identity(**{name: row[name] for name in _FIELDS}), row["checked_at"]
        )
        for row in rows
    }
    return {coin: found[coin] for coin in coins if coin in found}


def store_identities(database: Database, identities: Sequence[Identity], checked_at: datetime) -> None:
    """Keep `identities` as found out at `checked_at` (aware), instead of what was stored of the same
    coins. Raises WriteFailed if the database refuses them."""
    rows = [{**asdict(identity), "checked_at": checked_at} for identity in identities]
    insert: Any = (postgresql if database.dialect == "postgresql" else sqlite).insert
    statement = insert(coin_identities)
    keys = [column.name for column in coin_identities.primary_key]
    statement = statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: value for name, value in statement.excluded.items() if name not in keys},
    )
    with database.writing(coin_identities) as connection:
        connection.execute(statement, rows)


def verify_identities(
    client: CoinGeckoClient, database: Database, coins: Iterable[Coin], now: datetime
) -> list[Identity]:
    """`coins` as CoinGecko lists them, in their order; the list is asked for at most once in 24 hours.

    What was found out earlier than that, or of other coins, is asked anew. `now` is aware. Raises
    CoinGeckoError if the list cannot be had, and StorageError.
    """
    coins = list(coins)
    known = known_identities(database, coins)
    recent = [identity for identity, at in known.values() if timedelta() <= now - at < LIST_AGE]
    if len(recent) == len(coins):
        return recent
    listed = client.coins_list()
    identities = compare(coins, listed, {coin: identity for coin, (identity, _) in known.items()})
    store_identities(database, identities, now)
    return identities
