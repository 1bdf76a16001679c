"""How old the newest quote may be, given when quotes are collected. Pure."""

from datetime import datetime, timedelta

from cronsim import CronSim

# CoinGecko serves prices up to 60 s old from its cache and a run takes some seconds to start.
_SLACK = timedelta(minutes=3)


def oldest_fresh(collect_cron: str, now: datetime) -> datetime:
    """The time before which a newest quote is stale at `now`: the last tick but one, less some slack."""
    ticks = CronSim(collect_cron, now, reverse=True)
    next(ticks)
    return next(ticks) - _SLACK
