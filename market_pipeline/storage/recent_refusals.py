"""What was refused lately, counted by an index range: it costs what was refused lately, not what is kept."""

from datetime import datetime

from sqlalchemy import func, select

from market_pipeline.storage.engine import Database
from market_pipeline.storage.tables import rejected_prices


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
