"""The database's clock: the one clock that every process of a budget reads alike."""

from collections.abc import Callable
from datetime import date, datetime

from sqlalchemy import Connection, text

from market_pipeline.storage.schema.types import from_microseconds

DatabaseClock = Callable[[Connection], int]

# Neither depends on a time zone. PostgreSQL's now() would be when the transaction began, which is
# before it got the lock.
_NOW = {
    "sqlite": text("SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"),
    "postgresql": text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"),
}


def database_clock(connection: Connection) -> int:
    """Microseconds since 1970 UTC by the clock of the database's machine; whole milliseconds on SQLite."""
    return int(connection.execute(_NOW[connection.dialect.name]).scalar_one())


def month_of(moment: int) -> date:
    """The first day of the UTC month of `moment`, microseconds since 1970 UTC."""
    return from_microseconds(moment).date().replace(day=1)


def next_month(month: date) -> date:
    """The first day of the month after that of `month`."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def start_of_hour(moment: datetime) -> datetime:
    """The hour that `moment` is in."""
    return moment.replace(minute=0, second=0, microsecond=0)
