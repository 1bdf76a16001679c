"""Format prices, percentages, durations and time intervals for people."""

import math
from datetime import datetime, timezone

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365


def format_price(price: float) -> str:
    """Format a price above zero in US dollars: cents, or four significant digits below a dollar."""
    if 1 <= price < 1e15:
        return f"${price:,.2f}"
    if 1e-9 <= price < 1:
        return f"${price:.{3 - math.floor(math.log10(price))}f}"
    return f"${price:.4g}"


def format_percent(fraction: float) -> str:
    """Format the size of a simple return (0.05 is `5.0%`), without its sign."""
    percent = abs(fraction) * 100
    if percent >= 1e6:
        return f"{percent:.1e}%"
    if percent >= 100:
        return f"{percent:,.0f}%"
    if percent >= 1:
        return f"{percent:.1f}%"
    return f"{percent:#.2g}%" if percent >= 1e-4 else "less than 0.0001%"


def format_signed(fraction: float) -> str:
    """Format a simple return with its sign: `-1.5%`."""
    return ("-" if fraction < 0 else "+") + format_percent(fraction)


def format_ratio(ratio: float) -> str:
    """Format a multiple: `8.3`, `1,250`."""
    if ratio >= 1e6:
        return f"{ratio:.1e}"
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}"


def format_duration(seconds: float) -> str:
    """Format a duration in its natural unit: `40 s`, `5 min`, `3.5 h`, `7 days`."""
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
    """Format two aware times as `2023-06-10 04:10-04:15 UTC`; the second date only if it is another day.

    Seconds are shown where the minutes alone would be equal.
    """
    start, end = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
    if start.date() != end.date():
        return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    clock = "%H:%M:%S" if (start.hour, start.minute) == (end.hour, end.minute) else "%H:%M"
    return f"{start:%Y-%m-%d} {start:{clock}}-{end:{clock}} UTC"


def format_frequency(days: float) -> str:
    """Format once in how many days: `once in 12 days`, `once in 4 years`, `several times a day`."""
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
