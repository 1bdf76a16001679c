"""How rare a move is, in words that the data can carry.

Within the history that it rests on, a return period is stated (`about once in 12 days`). Beyond, a fitted tail is an
extrapolation, and the words say what was seen instead: `rarer than anything since 5 Aug 2024`.
"""

import math
from dataclasses import dataclass
from datetime import date

from market_pipeline.anomalies.words.formatting import format_day, format_frequency

OWN, POOLED, PRIOR = "own", "pooled", "prior"
# A prior is an average of other coins and years: it cannot tell a move of a year from one of ten.
_PRIOR_DAYS = 365.0
_LEAST_DAYS = 2.0
# Of fewer days it is no news that nothing in them was as rare.
_MEMORABLE_DAYS = 30.0


@dataclass(frozen=True)
class Rarity:
    """A return period in days (NaN if unknown), and what it rests on.

    `basis` is own, pooled or prior. `days` and `excesses` are the length of that history and how many high scores it
    has, `cadence` the usual interval of its quotes (5-minute, hourly or daily); None if unknown. `memory_days` is for
    how long the highest score of each day is remembered, 0 where none is, and `last_day` the last of those days with a
    score at least as high, None if there is none. `day` is that of the move.
    """

    every_days: float
    basis: str = OWN
    days: float | None = None
    excesses: int | None = None
    cadence: str | None = None
    memory_days: float = 0.0
    last_day: date | None = None
    day: date | None = None

    def __str__(self) -> str:
        known_days = _PRIOR_DAYS if self.basis == PRIOR or self.days is None else self.days
        return rarity_words(self.every_days, known_days, self.memory_days, self.last_day, self.day)

    @property
    def foundation(self) -> str:
        """The sentence on the history that it rests on; empty if it is unknown."""
        if math.isnan(self.every_days):
            return ""
        if self.basis == PRIOR:
            return "Its rarity rests mostly on public prices of other years: too little history here."
        whose = "all coins'" if self.basis == POOLED else "its own"
        quotes = f"{self.cadence} quotes" if self.cadence else "quotes"
        days = f"{self.days:,.0f} days of " if self.days else ""
        high = f" ({self.excesses:,} high scores)" if self.excesses else ""
        return f"Its rarity rests on {days}{whose} {quotes}{high}."


def rarity_words(
    period_days: float,
    known_days: float,
    memory_days: float = 0.0,
    last_day: date | None = None,
    day: date | None = None,
) -> str:
    """Say how rare a move is that is expected once in `period_days`; empty if that is NaN or nothing can be said.

    The period rests on `known_days` of history, and the highest score of each of the last `memory_days` is remembered:
    `last_day` is the last one on which it was as high, None if there is none; `day` is that of the move.
    """
    known_days = max(known_days, memory_days)
    if math.isnan(period_days) or known_days < _LEAST_DAYS:
        return ""
    if period_days < 0.5:
        return "several times a day"
    if period_days <= known_days:
        return f"about {format_frequency(period_days)}"
    if last_day is not None and last_day == day:
        return "after a rarer one on that day"
    if last_day is not None:
        return f"rarer than anything since {format_day(last_day)}"
    if memory_days >= _MEMORABLE_DAYS:
        return f"rarer than anything in the last {memory_days:,.0f} days"
    return f"rarer than {format_frequency(known_days)}"
