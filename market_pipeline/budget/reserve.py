"""The credits that live collection needs for the rest of the month. Pure, cached by the day."""

from bisect import bisect_right
from datetime import date, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim

from market_pipeline.budget.clock import next_month
from market_pipeline.clock import DAY, start_of_day


def ticks_left(cron: str, now: datetime) -> int:
    """How many times `cron` (five fields, UTC) comes after `now` (aware, UTC) in the month of `now`."""
    today = _ticks_of(cron, now.date())
    return len(today) - bisect_right(today, now) + _ticks_of_later_days(cron, now.date())


@lru_cache(maxsize=4)
def _ticks_of_later_days(cron: str, day: date) -> int:
    """Ticks in the rest of the month after `day`. In UTC all days that have any have the same number."""
    end = next_month(day)
    chosen: list[date] = []
    following = day + DAY
    while following < end:
        # The tick at midnight is the first of its day.
        coming = next(CronSim(cron, start_of_day(following) - timedelta(seconds=1))).date()
        if coming < end:
            chosen.append(coming)
        following = coming + DAY
    return len(chosen) * len(_ticks_of(cron, chosen[0])) if chosen else 0


@lru_cache(maxsize=4)
def _ticks_of(cron: str, day: date) -> tuple[datetime, ...]:
    found = []
    for moment in CronSim(cron, start_of_day(day) - timedelta(seconds=1)):
        if moment.date() != day:
            break
        found.append(moment)
    return tuple(found)
