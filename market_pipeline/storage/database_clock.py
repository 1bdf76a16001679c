"""The database's clock: the one clock that all processes which share a database agree on."""

from collections.abc import Callable

from sqlalchemy import Connection, text

DatabaseClock = Callable[[Connection], int]

# By dialect, independent of the time zone. PostgreSQL's now() would be the beginning of the transaction, before it
# got its lock.
NOW = {
    "sqlite": "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
}


def database_clock(connection: Connection) -> int:
    """Return microseconds since 1970 UTC by the clock of the database's machine; whole milliseconds on SQLite."""
    return int(connection.execute(text(f"SELECT {NOW[connection.dialect.name]}")).scalar_one())
