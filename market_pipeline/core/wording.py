"""Durations, lists and counts in messages."""

from collections.abc import Iterable
from datetime import timedelta

_UNITS = (("day", 86_400), ("h", 3_600), ("min", 60))


def span(duration: timedelta | float) -> str:
    """Format a duration (a timedelta or seconds) in its largest unit: `3 days`, `5 min`, `12 s`."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    for unit, size in _UNITS:
        if abs(seconds) >= 2 * size:
            number = round(seconds / size)
            return f"{number} {unit}s" if unit == "day" else f"{number} {unit}"
    return f"{seconds:.0f} s" if abs(seconds) >= 10 else f"{seconds:.1f} s"


def some(items: Iterable[str], most: int = 5) -> str:
    """Join the first `most` of `items` by commas, and count the rest."""
    every = list(items)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def first_line(text: str) -> str:
    """Return the first line of a message that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")


def counted(number: int, one: str, many: str = "") -> str:
    """Return e.g. `1 run` or `2 runs`; `many` is the plural where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
