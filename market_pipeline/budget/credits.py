"""The credits of a month: what a request costs, what is left, and the reserve for live requests."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim

from market_pipeline.budget.plan_limits import Limits
from market_pipeline.budget.rules import State
from market_pipeline.coingecko.batching import id_batches
from market_pipeline.coingecko.request_budget import NO_ANSWER
from market_pipeline.core.clock import DAY, next_month, start_of_day
from market_pipeline.settings import Settings

# All other endpoints (current prices, /key, /ping) serve live collection.
_HISTORY = "/coins/"
# One in so many live requests is expected to fail and to be repeated.
_REPEATED = 50


def is_history(endpoint: str) -> bool:
    """Return whether requests to `endpoint` must leave the reserve for live requests."""
    return endpoint.startswith(_HISTORY)


def is_charged(outcome: str) -> bool:
    """Return whether a request with `outcome` costs a credit: CoinGecko charges for status 200.

    A request without an answer may have been charged.
    """
    return outcome in ("200", NO_ANSWER)


@dataclass(frozen=True)
class Shortage:
    """Why no credit is available: `reserved` of the `left` ones are for live requests."""

    used: int
    cap: int
    left: int
    reserved: int
    renews_at: datetime


def shortage(state: State, limits: Limits, reserved: int) -> Shortage | None:
    """Return why a request that must leave `reserved` credits cannot be granted, None if it can.

    `state` must be of the current month.
    """
    if limits.monthly_credits is None:
        return None
    left = max(0, limits.monthly_credits - state.credits_used)
    if left > reserved:
        return None
    renews_at = start_of_day(next_month(state.month))
    return Shortage(state.credits_used, limits.monthly_credits, left, reserved, renews_at)


def live_reserve(settings: Settings) -> Callable[[datetime], int]:
    """Return a function from a time (aware, UTC) to the live requests that the rest of its month needs.

    It includes 2% for repeats, and the tick before that time, which may be running and not have sent its
    requests yet.
    """
    requests = len(list(id_batches((coin.source_id for coin in settings.catalogue), settings.base_url)))

    def reserve(now: datetime) -> int:
        sent = requests * (1 + ticks_left(settings.collect_cron, now))
        return sent + sent // _REPEATED

    return reserve


def ticks_left(cron: str, now: datetime) -> int:
    """Count the ticks of `cron` (five fields, UTC) after `now` (aware, UTC) in the month of `now`."""
    today = _ticks_of(cron, now.date())
    return len(today) - bisect_right(today, now) + _ticks_of_later_days(cron, now.date())


@lru_cache(maxsize=4)
def _ticks_of_later_days(cron: str, day: date) -> int:
    """Count the ticks after `day` in its month. In UTC all days that have any have the same number."""
    end = next_month(day)
    days: list[date] = []
    following = day + DAY
    while following < end:
        # A tick at midnight is the first of its day.
        coming = next(CronSim(cron, start_of_day(following) - timedelta(seconds=1))).date()
        if coming < end:
            days.append(coming)
        following = coming + DAY
    return len(days) * len(_ticks_of(cron, days[0])) if days else 0


@lru_cache(maxsize=4)
def _ticks_of(cron: str, day: date) -> tuple[datetime, ...]:
    ticks = []
    for moment in CronSim(cron, start_of_day(day) - timedelta(seconds=1)):
        if moment.date() != day:
            break
        ticks.append(moment)
    return tuple(ticks)
