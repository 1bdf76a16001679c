"""The numbers of the overview: newest and earlier quotes, the last day's anomalies. Index look-ups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.read import columns_from_rows, readable
from market_pipeline.storage.tables import price_anomalies, raw_prices
from market_pipeline.storage.where import of_symbol


@dataclass(frozen=True)
class StoredQuote:
    """A stored price in US dollars and when it was true, UTC."""

    timestamp: datetime
    price: float


def latest_quotes(database: Database, symbols: Sequence[str]) -> dict[str, StoredQuote]:
    """The newest quote of each symbol that has one."""
    return _newest(database, symbols, None)


def quotes_at(database: Database, symbols: Sequence[str], at: datetime) -> dict[str, StoredQuote]:
    """The newest quote at or before `at` of each symbol that has one."""
    return _newest(database, symbols, at)


def _newest(database: Database, symbols: Sequence[str], at: datetime | None) -> dict[str, StoredQuote]:
    columns = raw_prices.c
    found = {}
    with database.reading() as connection:
        for symbol in symbols:
            statement = select(columns.timestamp, columns.price).where(of_symbol(database, raw_prices, symbol))
            if at is not None:
                statement = statement.where(columns.timestamp <= at)
            row = connection.execute(statement.order_by(columns.timestamp.desc()).limit(1)).first()
            if row is not None:
                found[symbol] = StoredQuote(row.timestamp, row.price)
    return found


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


def quotes_since(database: Database, symbols: Sequence[str], since: datetime) -> int:
    """How many quotes there are from `since` on."""
    columns = raw_prices.c
    with database.reading() as connection:
        return sum(
            connection.execute(
                select(func.count()).where(of_symbol(database, raw_prices, symbol), columns.timestamp >= since)
            ).scalar_one()
            for symbol in symbols
        )
