"""When quotes are collected, and how old the newest one may be because of that. Pure."""

from datetime import datetime, timedelta

from cronsim import CronSim

# CoinGecko serves prices up to 60 s old from its cache and a run takes some seconds to start.
_SLACK = timedelta(minutes=3)


def oldest_fresh(collect_cron: str, now: datetime) -> datetime:
    """The time before which a newest quote is stale at `now`: the last tick but one, less some slack."""
    ticks = CronSim(collect_cron, now, reverse=True)
    next(ticks)
    return next(ticks) - _SLACK


def next_tick(collect_cron: str, after: datetime) -> datetime:
    """The first tick after the time `after` (aware UTC)."""
    return next(CronSim(collect_cron, after))
