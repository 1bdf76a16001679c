"""The latest quotes and anomalies, and the names of the coins, by index look-ups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, literal, select

from market_pipeline.core.clock import from_microseconds
from market_pipeline.core.columns import Columns
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.price_pages import latest_points
from market_pipeline.storage.rows.filters import of_configured_coins, of_symbol, united
from market_pipeline.storage.rows.read import columns_from_rows, readable
from market_pipeline.storage.schema.operations_tables import coin_identities
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices


@dataclass(frozen=True)
class StoredQuote:
    """A stored price in US dollars and when it was true, UTC."""

    timestamp: datetime
    price: float


def latest_quotes(database: Database, symbols: Sequence[str], now: datetime) -> dict[str, StoredQuote]:
    """Return the latest quote at `now` of each symbol that has one: neither in the future nor a bad tick."""
    return quotes_at(database, symbols, now + FUTURE_TOLERANCE)


def quotes_at(database: Database, symbols: Sequence[str], at: datetime) -> dict[str, StoredQuote]:
    """Return the newest quote at or before `at`, and no bad tick, of each symbol that has one."""
    points = latest_points(database, symbols, at)
    return {symbol: StoredQuote(from_microseconds(when), price) for symbol, (when, price, *_) in points.items()}


def newest_quote_times(database: Database, symbols: Sequence[str], now: datetime) -> dict[str, datetime | None]:
    """Return the time of the newest stored quote of each symbol that is not in the future, None if it has none."""
    time = raw_prices.c.timestamp
    newest = [
        select(literal(symbol), func.max(time))
        .where(of_symbol(database, raw_prices, symbol), time <= now + FUTURE_TOLERANCE)
        for symbol in symbols
    ]
    with database.reading() as connection:
        return {symbol: at for statement in united(newest) for symbol, at in connection.execute(statement)}


def anomalies_since(database: Database, symbols: Sequence[str], since: datetime) -> Columns:
    """Return all columns of the anomalies from `since` on, newest first."""
    table = price_anomalies
    names = [column.name for column in table.columns]
    recent = select(*(readable(column, database.dialect) for column in table.columns)).where(table.c.timestamp >= since)
    rows = []
    with database.reading() as connection:
        for statement in united([recent.where(of_symbol(database, table, symbol)) for symbol in symbols]):
            rows += [tuple(row) for row in connection.execute(statement)]
    when, symbol, kind = (names.index(name) for name in ("timestamp", "symbol", "kind"))
    rows.sort(key=lambda row: (-row[when], row[symbol], row[kind]))
    return columns_from_rows(table, names, rows)


def coin_names(database: Database) -> dict[str, str]:
    """Return CoinGecko's name of each symbol's coin, where /coins/list is known to have it."""
    columns = coin_identities.c
    named = select(columns.symbol, columns.listed_name).where(
        of_configured_coins(database, coin_identities), columns.listed_name.is_not(None)
    )
    with database.reading() as connection:
        return {symbol: name for symbol, name in connection.execute(named)}
