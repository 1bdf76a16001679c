"""Column types that behave alike on SQLite and PostgreSQL."""

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine

from market_pipeline.core.clock import from_microseconds, to_microseconds


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, integer microseconds since 1970 on SQLite.

    SQLite has no time type. Integers sort, compare and travel through Arrow without parsing;
    `datetime(timestamp / 1e6, 'unixepoch')` reads them in its shell.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column in this kind of database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert an aware time to what is stored."""
        if value is None:
            return None
        microseconds = to_microseconds(value)
        return microseconds if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert what is stored to a time in UTC."""
        if value is None:
            return None
        return from_microseconds(value) if dialect.name == "sqlite" else value.astimezone(timezone.utc)


def Name(length: int) -> String:  # capital: it reads as a type where it is used
    """Return a type for short text compared byte by byte: both databases sort it alike, and PostgreSQL fast."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")
