"""How long a server asks to be left alone, read from the headers of its answer. Pure functions."""

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeGuard

# The budget keeps no pause for longer; then one request finds out whether it still holds.
LONGEST_SECONDS = 3_600.0
# Longer numbers mean nothing that could be waited for.
_SECONDS = re.compile(r"\d{1,12}(\.\d+)?", re.ASCII)


def asked_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the server asks to wait from its answer on, or None where it says nothing that can be read.

    `Retry-After` holds seconds or an HTTP date; `x-ratelimit-reset` holds the time at which the
    limit starts anew as `2025-07-25 14:54:00 +0000`, an HTTP date or UNIX seconds. The longer wait
    counts when both are there. Times are measured against the server's own `Date`, or against `now`,
    our clock, where the answer has none. `headers` must look names up in any case.
    """
    sent = server_time(headers) or now
    waits = [
        wait
        for wait in (
            _retry_after(headers.get("Retry-After", "").strip(), sent),
            _until_reset(headers.get("x-ratelimit-reset", "").strip(), sent),
        )
        if wait is not None
    ]
    return max(waits, default=None)


def is_sane(wait: float | None) -> TypeGuard[float]:
    """Whether `wait` is one that can be kept instead of a rule of our own."""
    return wait is not None and 0 < wait <= LONGEST_SECONDS


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """When the server says it sent the answer, to the second; None where it does not say."""
    return _read_date(headers.get("Date", "").strip())


def _retry_after(text: str, now: datetime) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    return _seconds_until(_read_date(text), now)


def _until_reset(text: str, now: datetime) -> float | None:
    if _SECONDS.fullmatch(text):
        try:
            return _seconds_until(datetime.fromtimestamp(float(text), timezone.utc), now)
        except (OverflowError, ValueError, OSError):
            return None
    try:
        return _seconds_until(datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z"), now)
    except ValueError:
        return _seconds_until(_read_date(text), now)


def _read_date(text: str) -> datetime | None:
    """`Fri, 25 Jul 2025 14:54:00 GMT` as an aware time, None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (moment - now).total_seconds())
