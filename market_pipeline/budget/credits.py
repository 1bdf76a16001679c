"""The credits of a month: what is left of them, and for whom. Pure functions."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim

from market_pipeline.budget.rules import Limits, State
from market_pipeline.coingecko.request_budget import NO_ANSWER
from market_pipeline.core.clock import DAY, next_month, start_of_day

# Everything else (current prices, the key, ping) is what live collection needs.
_HISTORY = "/coins/"


def is_history(endpoint: str) -> bool:
    """Whether requests to `endpoint` stop at the reserve that is kept for live ones."""
    return endpoint.startswith(_HISTORY)


def is_charged(outcome: str) -> bool:
    """Whether a request with `outcome` costs its credit: CoinGecko charges answers with status 200.

    A request without an answer may have been one.
    """
    return outcome in ("200", NO_ANSWER)


@dataclass(frozen=True)
class Shortage:
    """Why no credit is left for a request: `reserved` of the `left` ones are kept for live requests."""

    used: int
    cap: int
    left: int
    reserved: int
    renews_at: datetime


def shortage(state: State, limits: Limits, reserved: int) -> Shortage | None:
    """Why the budget has no credit for a request that must leave `reserved` ones, None if it has.

    `state` must be of the current month.
    """
    if limits.monthly_credits is None:
        return None
    left = max(0, limits.monthly_credits - state.credits_used)
    if left > reserved:
        return None
    renews_at = start_of_day(next_month(state.month))
    return Shortage(state.credits_used, limits.monthly_credits, left, reserved, renews_at)


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
