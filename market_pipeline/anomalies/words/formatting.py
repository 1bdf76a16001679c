"""Format prices, percentages, durations and times for people."""

import math
from datetime import date, datetime, timezone

# As typeset, in sentences, charts and tables alike.
MINUS = "\N{MINUS SIGN}"

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365
# `strftime` would follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_price(price: float) -> str:
    """Format a price above zero in US dollars: cents, or four significant digits below a dollar."""
    if 1 <= price < 1e15:
        return f"${price:,.2f}"
    if 1e-9 <= price < 1:
        return f"${price:.{3 - math.floor(math.log10(price))}f}"
    return f"${price:.4g}"


def format_percent(fraction: float) -> str:
    """Format the size of a simple return, without its sign, to two significant digits: 0.05 is `5.0%`."""
    percent = abs(fraction) * 100
    if percent >= 1e6:
        return f"{percent:.1e}%"
    if 99.5 <= percent < 100:
        # Nothing falls by 100%.
        return f"{math.floor(percent * 10) / 10:.1f}%"
    if percent >= 9.95:
        return f"{percent:,.0f}%"
    if percent >= 0.995:
        return f"{percent:.1f}%"
    return f"{percent:#.2g}%" if percent >= 1e-4 else "less than 0.0001%"


def format_signed(fraction: float) -> str:
    """Format a simple return with its sign, also `+`."""
    return (MINUS if fraction < 0 else "+") + format_percent(fraction)


def format_ratio(ratio: float) -> str:
    """Format a multiple: `8.3`, `1,250`."""
    if ratio >= 1e6:
        return f"{ratio:.1e}"
    return f"{ratio:,.0f}" if ratio >= 9.95 else f"{ratio:.1f}"


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


def format_end(start: datetime, end: datetime) -> str:
    """Format the end of an interval of aware times as `04:15 UTC`, or `11 Jun 04:15 UTC` if it began the day before."""
    start, end = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
    day = "" if start.date() == end.date() else f"{end.day} {_MONTHS[end.month - 1]} "
    return f"{day}{end:%H:%M} UTC"


def format_day(day: date) -> str:
    """Format a day: `5 Aug 2024`."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def format_frequency(days: float) -> str:
    """Format once in how many days: `once a day`, `once in 12 days`, `once in 4 years`."""
    if days < 1.5:
        return "once a day"
    if days < 60:
        return f"once in {days:.0f} days"
    if days < 0.95 * _YEAR:
        return f"once in {days / _YEAR * 12:.0f} months"
    years = days / _YEAR
    return "once a year" if years < 1.5 else f"once in {years:.0f} years"
