"""Stretches of time without a price. Pure functions of aware UTC times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from market_pipeline.core.clock import DAY, start_of_day

# History has a point an hour, some of them most of an hour late: a longer silence is a gap.
LONGEST_GAP = timedelta(hours=2)
# Of a whole day's history; ticks add to them.
EXPECTED_POINTS = 24

# How long after its end a day is still being published: CoinGecko needs 35 minutes and its caches five more.
PUBLISHING = timedelta(hours=1)


@dataclass(frozen=True, order=True)
class Interval:
    """The time from `start` to `end` (aware UTC, `start` first)."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def overlaps(self, other: Interval) -> bool:
        """Return whether they have more than an end in common."""
        return self.start < other.end and other.start < self.end

    def within(self, other: Interval) -> Interval:
        """Return the part inside `other`, which it must overlap."""
        return Interval(max(self.start, other.start), min(self.end, other.end))

    def minus(self, other: Interval) -> list[Interval]:
        """Return the parts outside `other`."""
        if not self.overlaps(other):
            return [self]
        pieces = Interval(self.start, other.start), Interval(other.end, self.end)
        return [piece for piece in pieces if piece.start < piece.end]


def day_interval(day: date) -> Interval:
    """Return midnight to midnight."""
    return Interval(start_of_day(day), start_of_day(day) + DAY)


def last_settled_day(now: datetime) -> date:
    """Return the last UTC day whose history is complete at the source at `now`: it ended at least an hour ago."""
    return (now - PUBLISHING).date() - DAY


def gaps(times: Iterable[datetime], start: datetime, end: datetime, longest: timedelta) -> list[Interval]:
    """Return the stretches of `start`..`end` longer than `longest` without any of `times`.

    Those before the first and after the last time count too. `times` may be unordered; those outside are ignored.
    """
    edges = [start, *sorted(time for time in times if start <= time <= end), end]
    return [Interval(one, next_) for one, next_ in pairwise(edges) if next_ - one > longest]


def without(intervals: Iterable[Interval], cuts: Iterable[Interval]) -> list[Interval]:
    """Return what remains of `intervals`, in their order, outside all `cuts`."""
    rest = list(intervals)
    for cut in cuts:
        rest = [piece for interval in rest for piece in interval.minus(cut)]
    return rest


def merged(intervals: Sequence[Interval]) -> list[Interval]:
    """Return the same time in as few intervals as possible, in order."""
    joined: list[Interval] = []
    for interval in sorted(intervals):
        if joined and interval.start <= joined[-1].end:
            joined[-1] = Interval(joined[-1].start, max(joined[-1].end, interval.end))
        else:
            joined.append(interval)
    return joined
