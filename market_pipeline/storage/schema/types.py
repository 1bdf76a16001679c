"""Column types that behave alike on SQLite and PostgreSQL."""

from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC; ValueError if `moment` has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"timestamp {moment.isoformat()} has no time zone; give an aware UTC datetime")
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The aware UTC time `microseconds` after 1970-01-01 UTC."""
    return _EPOCH + microseconds * _MICROSECOND


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, integer microseconds since 1970 on SQLite.

    SQLite has no time type. Integers sort, compare and travel through Arrow without parsing;
    `datetime(timestamp / 1e6, 'unixepoch')` reads them in its shell.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        microseconds = to_microseconds(value)
        return microseconds if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return from_microseconds(value) if dialect.name == "sqlite" else value.astimezone(timezone.utc)


def Name(length: int) -> String:  # noqa: N802  (reads as a type where it is used)
    """Short text that is compared byte by byte, so that both databases sort it alike and PostgreSQL fast."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")
