"""Counts of recent rows by index ranges: the cost follows the recent rows, not the rows stored."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, literal, select

from market_pipeline.core.clock import DAY
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import is_alarm, of_symbol, of_symbols, united
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices


def quotes_by_symbol(database: Database, symbols: Sequence[str], since: datetime, now: datetime) -> dict[str, int]:
    """Count the stored quotes of each of `symbols` from `since` (aware) on; quotes in the future do not count."""
    between = raw_prices.c.timestamp.between(since, now + FUTURE_TOLERANCE)
    counted = [
        select(literal(symbol), func.count()).where(of_symbol(database, raw_prices, symbol), between)
        for symbol in symbols
    ]
    with database.reading() as connection:
        return {symbol: count for part in united(counted) for symbol, count in connection.execute(part)}


def alarms_by_severity(database: Database, symbols: Sequence[str], since: datetime) -> Counter[tuple[str, str]]:
    """Count the alarms from `since` (aware) on, by symbol and severity."""
    columns = price_anomalies.c
    counted = (
        select(columns.symbol, columns.coin_id, columns.severity, func.count())
        .where(columns.symbol.in_(symbols), columns.timestamp >= since, is_alarm())
        .group_by(columns.symbol, columns.coin_id, columns.severity)
    )
    found: Counter[tuple[str, str]] = Counter()
    with database.reading() as connection:
        for symbol, coin_id, severity, count in connection.execute(counted):
            if coin_id == database.coin_id(symbol):
                found[symbol, severity] = count
    return found


def recently_refused(database: Database, symbols: Sequence[str], since: datetime) -> set[str]:
    """Return those of `symbols` of which a current price was refused at `since` (aware) or later."""
    columns = rejected_prices.c
    recent = select(columns.symbol).where(
        # A current price is filed under the day of its request.
        of_symbols(database, rejected_prices, symbols), columns.day >= (since - DAY).date(),
        columns.refused_at >= since, columns.source == Source.LIVE.value,
    )
    with database.reading() as connection:
        return set(connection.execute(recent.distinct()).scalars())


def refusals_by_reason(database: Database, since: datetime) -> dict[str, int]:
    """Count the rows last refused at or after `since` (aware), by reason, the most frequent first."""
    columns = rejected_prices.c
    counted = (
        select(columns.reason, func.count())
        .where(columns.refused_at >= since)
        .group_by(columns.reason)
        .order_by(func.count().desc(), columns.reason)
    )
    with database.reading() as connection:
        return {reason: count for reason, count in connection.execute(counted)}
