"""Numbers as a person reads them: prices, percents, durations, intervals of time."""

import math
from datetime import datetime, timezone

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365


def format_price(price: float) -> str:
    """A price above zero in US dollars, with the digits that matter at its size."""
    if 10_000 <= price < 1e15:
        return f"${price:,.0f}"
    if 1 <= price < 10_000:
        return f"${price:,.2f}"
    if 1e-9 <= price < 1:
        return f"${price:.{3 - math.floor(math.log10(price))}f}"
    return f"${price:.4g}"


def format_percent(fraction: float) -> str:
    """The size of a simple return (0.05 is `5.0 %`), without its sign."""
    percent = abs(fraction) * 100
    if percent >= 1e6:
        return f"{percent:.1e} %"
    if percent >= 100:
        return f"{percent:,.0f} %"
    if percent >= 1:
        return f"{percent:.1f} %"
    return f"{percent:#.2g} %" if percent >= 1e-4 else "less than 0.0001 %"


def format_signed(fraction: float) -> str:
    """A simple return with its sign: `-1.5 %`."""
    return ("-" if fraction < 0 else "+") + format_percent(fraction)


def format_ratio(ratio: float) -> str:
    """How many times one thing is another: `8.3`, `1,250`."""
    if ratio >= 1e6:
        return f"{ratio:.1e}"
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}"


def format_duration(seconds: float) -> str:
    """A length of time in its natural unit: `40 s`, `5 min`, `3.5 h`, `7 days`."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{round(seconds / _HOUR, 1):g} h"
    return f"{round(seconds / _DAY, 1):g} days"


def format_interval(start: datetime, end: datetime) -> str:
    """Two aware times as `2023-06-10 04:10-04:15 UTC`; the second date only if it is another day.

    Seconds are shown where the minutes alone would be the same.
    """
    start, end = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
    same_day = start.date() == end.date()
    same_minute = same_day and (start.hour, start.minute) == (end.hour, end.minute)
    clock = "%H:%M:%S" if same_minute else "%H:%M"
    if same_day:
        return f"{start:%Y-%m-%d} {start:{clock}}-{end:{clock}} UTC"
    return f"{start:%Y-%m-%d} {start:{clock}} to {end:%Y-%m-%d} {end:{clock}} UTC"


def format_wait(days: float) -> str:
    """How often something is expected: `once in 12 days`, `once in 4 years`, `several times a day`."""
    if days < 0.5:
        return "several times a day"
    if days < 1.5:
        return "once a day"
    if days < 60:
        return f"once in {days:.0f} days"
    if days < _YEAR:
        return f"once in {days / _YEAR * 12:.0f} months"
    years = days / _YEAR
    if years >= 1000:
        return "less than once in 1,000 years"
    return "once a year" if years < 1.5 else f"once in {years:.0f} years"
