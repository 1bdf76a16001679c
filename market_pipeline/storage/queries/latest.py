"""The numbers of the overview: latest and earlier quotes, the last day's anomalies. Index look-ups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_

from market_pipeline.core.clock import from_microseconds
from market_pipeline.core.columns import Columns
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.price_pages import latest_points
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.rows.read import columns_from_rows, readable
from market_pipeline.storage.schema.operations_tables import coin_identities
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices


@dataclass(frozen=True)
class StoredQuote:
    """A stored price in US dollars and when it was true, UTC."""

    timestamp: datetime
    price: float


def latest_quotes(database: Database, symbols: Sequence[str], now: datetime) -> dict[str, StoredQuote]:
    """The latest quote at `now` of each symbol that has one: neither in the future nor a bad tick."""
    return quotes_at(database, symbols, now + FUTURE_TOLERANCE)


def quotes_at(database: Database, symbols: Sequence[str], at: datetime) -> dict[str, StoredQuote]:
    """The newest quote at or before `at`, and no bad tick, of each symbol that has one."""
    points = latest_points(database, symbols, at)
    return {symbol: StoredQuote(from_microseconds(when), price) for symbol, (when, price, *_) in points.items()}


def newest_quote_times(
    database: Database, symbols: Sequence[str], now: datetime
) -> dict[str, datetime | None]:
    """When the newest stored quote of each symbol was true, or None if there is none; the future does not count."""
    time = raw_prices.c.timestamp
    with database.reading() as connection:
        return {
            symbol: connection.execute(
                select(time)
                .where(of_symbol(database, raw_prices, symbol), time <= now + FUTURE_TOLERANCE)
                .order_by(time.desc())
                .limit(1)
            ).scalar()
            for symbol in symbols
        }


def anomalies_since(database: Database, symbols: Sequence[str], since: datetime) -> Columns:
    """All columns of the anomalies from `since` on, newest first."""
    table = price_anomalies
    names = [column.name for column in table.columns]
    chosen = [readable(column, database.dialect) for column in table.columns]
    with database.reading() as connection:
        rows = [
            tuple(row)
            for symbol in symbols
            for row in connection.execute(
                select(*chosen).where(of_symbol(database, table, symbol), table.c.timestamp >= since)
            )
        ]
    when, symbol, kind = (names.index(name) for name in ("timestamp", "symbol", "kind"))
    rows.sort(key=lambda row: (-row[when], row[symbol], row[kind]))
    return columns_from_rows(table, names, rows)


def coin_names(database: Database) -> dict[str, str]:
    """CoinGecko's name of each symbol's coin; a coin that was not asked about, or is not listed, is left out."""
    columns = coin_identities.c
    present = tuple_(columns.symbol, columns.coin_id).in_(list(database.coins.items()))
    asked = select(columns.symbol, columns.listed_name).where(present, columns.listed_name.is_not(None))
    with database.reading() as connection:
        return {symbol: name for symbol, name in connection.execute(asked)}
