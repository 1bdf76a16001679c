"""Up to which quote each symbol is scored, since when newer ones wait for their scores, and what is known of alarms."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from sqlalchemy import func, literal, select

from market_pipeline.core.clock import DAY, from_microseconds, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_symbol, united
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.operations_tables import scored_through
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices

# Bounds the search after a long outage: older quotes that wait are found by the age of the newest scored one.
_LOOKED_BACK = timedelta(days=8)


def newest_scored(
    prices: Columns, partitions: Collection[tuple[date, str]], now: datetime
) -> dict[str, datetime]:
    """Return the time of the newest quote in `prices` of each symbol in one of `partitions` and not in the future.

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
    """Record that each symbol is scored up to its quote in `newest`; a later one stays."""
    now = utc_now()
    rows = [
        {"symbol": symbol, "coin_id": database.coin_id(symbol), "timestamp": at, "scored_at": now}
        for symbol, at in newest.items()
    ]
    upsert(database, scored_through, columns_of(scored_through, rows))


def scored_until(database: Database, symbols: Sequence[str]) -> dict[str, datetime | None]:
    """Return the time of the newest scored quote of each symbol (aware UTC), or None if none is known."""
    columns = scored_through.c
    scored = select(columns.symbol, columns.coin_id, columns.timestamp).where(columns.symbol.in_(symbols))
    with database.reading() as connection:
        known = {(symbol, coin_id): at for symbol, coin_id, at in connection.execute(scored)}
    return {symbol: known.get((symbol, database.coin_id(symbol))) for symbol in symbols}


def unscored_since(
    database: Database, scored: Mapping[str, datetime | None], now: datetime
) -> dict[str, datetime]:
    """Return when the first quote newer than the newest `scored` of its symbol was stored, where there is one."""
    columns = raw_prices.c
    first = [
        select(literal(symbol), func.min(columns.ingested_at)).where(
            of_symbol(database, raw_prices, symbol),
            columns.timestamp > max(through or now - _LOOKED_BACK, now - _LOOKED_BACK),
            columns.timestamp <= now + FUTURE_TOLERANCE,
        )
        for symbol, through in scored.items()
    ]
    with database.reading() as connection:
        rows = [row for statement in united(first) for row in connection.execute(statement)]
    return {symbol: stored_at for symbol, stored_at in rows if stored_at is not None}


def stored_severities(database: Database, ids: Sequence[str]) -> dict[str, str]:
    """Return the severity of those anomalies that are stored, by id; no query without `ids`."""
    if not ids:
        return {}
    columns = price_anomalies.c
    with database.reading() as connection:
        found = connection.execute(select(columns.id, columns.severity).where(columns.id.in_(ids)))
        return {id_: severity for id_, severity in found}
