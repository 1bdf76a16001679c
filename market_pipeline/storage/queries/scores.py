"""Up to which quote each symbol is scored, and since when newer quotes wait for their score."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from sqlalchemy import func, select

from market_pipeline.core.clock import DAY, from_microseconds, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.operations_tables import scored_through
from market_pipeline.storage.schema.tables import raw_prices

# What an outage left unscored for longer is found by its age, not by looking through all of it.
_LOOKED_BACK = timedelta(days=8)


def newest_scored(
    prices: Columns, partitions: Collection[tuple[date, str]], now: datetime
) -> dict[str, datetime]:
    """The newest quote in `prices` of each symbol that lies in one of `partitions` and not in the future.

    `prices` are ordered by time within each symbol.
    """
    days = {day for day, _ in partitions}
    moments = prices["timestamp"]
    end = min(np.datetime64(max(days) + DAY), np.datetime64((now + FUTURE_TOLERANCE).replace(tzinfo=None)))
    inside = prices.where((moments >= np.datetime64(min(days))) & (moments < end))
    newest = dict(zip(inside["symbol"].tolist(), inside["timestamp"].astype(np.int64).tolist(), strict=True))
    wanted = {symbol for _, symbol in partitions}
    return {symbol: from_microseconds(at) for symbol, at in newest.items() if symbol in wanted}


def record_scored(database: Database, newest: Mapping[str, datetime]) -> None:
    """Remember that each symbol is scored up to its quote in `newest`; a later one stays."""
    now = utc_now()
    rows = [
        {"symbol": symbol, "coin_id": database.coin_id(symbol), "timestamp": at, "scored_at": now}
        for symbol, at in newest.items()
    ]
    upsert(database, scored_through, columns_of(scored_through, rows))


def scored_until(database: Database, symbols: Sequence[str]) -> dict[str, datetime | None]:
    """The time of the newest scored quote of each symbol (aware UTC), or None if none is known."""
    columns = scored_through.c
    asked = select(columns.symbol, columns.coin_id, columns.timestamp).where(columns.symbol.in_(symbols))
    with database.reading() as connection:
        known = {(symbol, coin_id): at for symbol, coin_id, at in connection.execute(asked)}
    return {symbol: known.get((symbol, database.coin_id(symbol))) for symbol in symbols}


def unscored_since(
    database: Database, scored: Mapping[str, datetime | None], now: datetime
) -> dict[str, datetime]:
    """When the first quote came that is newer than the newest `scored` of its symbol, where there is one."""
    columns = raw_prices.c
    waiting: dict[str, datetime] = {}
    with database.reading() as connection:
        for symbol, through in scored.items():
            after = max(through or now - _LOOKED_BACK, now - _LOOKED_BACK)
            first = connection.execute(
                select(func.min(columns.ingested_at)).where(
                    of_symbol(database, raw_prices, symbol),
                    columns.timestamp > after, columns.timestamp <= now + FUTURE_TOLERANCE,
                )
            ).scalar()
            if first is not None:
                waiting[symbol] = first
    return waiting
