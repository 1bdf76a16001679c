"""The clock: UTC, aware, and passed in where it matters so that a test can hold it still."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone

Clock = Callable[[], datetime]

DAY = timedelta(days=1)


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(timezone.utc)


def start_of_day(day: date) -> datetime:
    """Midnight UTC at which `day` begins."""
    return datetime.combine(day, time(), tzinfo=timezone.utc)


def iso(moment: datetime) -> str:
    """`moment` as ISO 8601 in UTC with a trailing Z, for messages and documents."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
