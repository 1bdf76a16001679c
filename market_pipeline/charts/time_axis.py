"""The time axis: ticks at round times of the UTC day, named as a person would."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np

_MINUTES = (1, 5, 10, 15, 30, 60, 120, 180, 360, 720)
_DAYS = (1, 2, 4, 7, 14, 30, 60, 90, 180, 365)
_STEPS = tuple(minutes / 60 for minutes in _MINUTES) + tuple(24.0 * days for days in _DAYS)
_MOST_TICKS = 9
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LONG = 24.0 * 300


def ticks(first: float, last: float) -> tuple[list[float], list[str]]:
    """Positions and names of at most about nine ticks between two times in hours since 1970, UTC."""
    step = next((step for step in _STEPS if (last - first) / step <= _MOST_TICKS), _STEPS[-1])
    places = np.arange(np.ceil(first / step), np.floor(last / step) + 1) * step
    return places.tolist(), [_name(place, last - first) for place in places]


def _name(hours: float, span: float) -> str:
    moment = _EPOCH + timedelta(hours=hours)
    if (moment.hour, moment.minute) != (0, 0):
        return f"{moment:%H:%M}"
    return f"{moment:%Y-%m-%d}" if span > _LONG else f"{moment.day} {moment:%b}"
