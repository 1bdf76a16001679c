"""Time: aware UTC datetimes, and microseconds since 1970 UTC where a number is wanted.

Functions that depend on the current time take a `Clock`, so that a test can fix it.
"""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone

Clock = Callable[[], datetime]

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_PER_DAY = DAY // MICROSECOND
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(timezone.utc)


def is_due(at: datetime, now: datetime, longest: timedelta) -> bool:
    """Return whether the time `at`, set at most `longest` ahead, has come.

    One that lies further ahead was set by a clock that ran ahead, and counts as come.
    """
    return not now < at <= now + longest


def start_of_day(day: date) -> datetime:
    """Return midnight UTC at the beginning of `day`."""
    return datetime.combine(day, time(), tzinfo=timezone.utc)


def iso(moment: datetime) -> str:
    """Format `moment` as ISO 8601 in UTC with a trailing Z, for messages and documents."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def to_microseconds(moment: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC; raise ValueError if `moment` has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"timestamp {moment.isoformat()} has no time zone; give an aware UTC datetime")
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the aware UTC time `microseconds` after 1970-01-01 UTC."""
    return EPOCH + microseconds * MICROSECOND


def number_of_day(day: date) -> int:
    """Return the days from 1970-01-01 to `day`."""
    return (day - EPOCH.date()).days


def day_of_number(number: int) -> date:
    """Return the day that is `number` days after 1970-01-01."""
    return EPOCH.date() + timedelta(days=number)


def start_of_hour(moment: datetime) -> datetime:
    """Return the beginning of the hour of `moment`."""
    return moment.replace(minute=0, second=0, microsecond=0)


def month_of(microseconds: int) -> date:
    """Return the first day of the UTC month of a time in microseconds since 1970 UTC."""
    return from_microseconds(microseconds).date().replace(day=1)


def next_month(month: date) -> date:
    """Return the first day of the month after that of `month`."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
