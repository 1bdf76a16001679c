"""What came lately, counted by index ranges: it costs what came, not what is stored."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_, select

from market_pipeline.core.clock import DAY
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices


def quotes_by_symbol(
    database: Database, symbols: Sequence[str], since: datetime, now: datetime
) -> dict[str, int]:
    """How many stored quotes of each of `symbols` were true at `since` (aware) or later; none is from the future."""
    columns = raw_prices.c
    between = columns.timestamp.between(since, now + FUTURE_TOLERANCE)
    with database.reading() as connection:
        return {
            symbol: connection.execute(
                select(func.count()).where(of_symbol(database, raw_prices, symbol), between)
            ).scalar_one()
            for symbol in symbols
        }


def alarms_by_severity(
    database: Database, symbols: Sequence[str], since: datetime
) -> Counter[tuple[str, str]]:
    """How many anomalies that stand for themselves there are from `since` (aware) on, by symbol, severity."""
    columns = price_anomalies.c
    alarm = or_(columns.event_id.is_(None), columns.event_id == columns.id)
    counted = select(columns.severity, func.count()).where(alarm).group_by(columns.severity)
    found: Counter[tuple[str, str]] = Counter()
    with database.reading() as connection:
        for symbol in symbols:
            recent = counted.where(of_symbol(database, price_anomalies, symbol), columns.timestamp >= since)
            for severity, count in connection.execute(recent):
                found[symbol, severity] = count
    return found


def recently_refused(database: Database, symbols: Sequence[str], since: datetime) -> set[str]:
    """Those of `symbols` of which a current price was refused at `since` (aware) or later."""
    columns = rejected_prices.c
    recent = select(columns.symbol).where(
        # A current price is filed under the day on which it was asked for.
        or_(*(of_symbol(database, rejected_prices, symbol) for symbol in symbols)), columns.day >= (since - DAY).date(),
        columns.refused_at >= since, columns.source == Source.LIVE.value,
    )
    with database.reading() as connection:
        return set(connection.execute(recent.distinct()).scalars())


def refusals_by_reason(database: Database, since: datetime) -> dict[str, int]:
    """How many rows were last refused at or after `since` (aware), by reason, the most frequent first."""
    columns = rejected_prices.c
    counted = (
        select(columns.reason, func.count())
        .where(columns.refused_at >= since)
        .group_by(columns.reason)
        .order_by(func.count().desc(), columns.reason)
    )
    with database.reading() as connection:
        return {reason: count for reason, count in connection.execute(counted)}
