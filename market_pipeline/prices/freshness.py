"""What follows from the schedule of collections: the next tick, a stale quote, a silence that is too long."""

from datetime import datetime, timedelta

from cronsim import CronSim

# Prices are up to a minute old when they arrive (CoinGecko's cache), and a run takes some seconds to start.
_SLACK = timedelta(minutes=3)
_SHORTEST_HOLE = timedelta(minutes=10)


def next_tick(collect_cron: str, after: datetime) -> datetime:
    """Return the first tick after the time `after` (aware UTC)."""
    return next(CronSim(collect_cron, after))


def oldest_fresh(collect_cron: str, now: datetime) -> datetime:
    """Return the time before which a newest quote is stale at `now`: the last tick but one, less some slack."""
    ticks = CronSim(collect_cron, now, reverse=True)
    next(ticks)
    return next(ticks) - _SLACK


def longest_silence(collect_cron: str, now: datetime) -> timedelta:
    """Return the longest time between two prices that is no hole at `now`: two ticks and some slack."""
    ticks = CronSim(collect_cron, now, reverse=True)
    last, _, last_but_two = next(ticks), next(ticks), next(ticks)
    return max(_SHORTEST_HOLE, last - last_but_two + _SLACK)
