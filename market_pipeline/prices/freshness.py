"""When quotes are collected, and how old the newest one may be because of that. Pure."""

from datetime import datetime, timedelta

from cronsim import CronSim

from market_pipeline.core.wording import span
from market_pipeline.prices.quotes import FUTURE_TOLERANCE

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


MEND_CLOCK = "Let this machine set its clock by NTP, e.g. `timedatectl set-ntp true`"


def differs(skew: float | None) -> bool:
    """Whether a clock that is `skew` seconds ahead (None: not known) is too wrong to judge quotes by."""
    return skew is not None and abs(skew) > FUTURE_TOLERANCE.total_seconds()


def words(skew: float, whose: str) -> str:
    """How far this machine's clock is from the clock of `whose`, e.g. "CoinGecko's"."""
    direction = "ahead of" if skew > 0 else "behind"
    return f"this machine's clock is {span(abs(skew))} {direction} {whose}"


def complaint(skew: float | None) -> str:
    """What is wrong with this machine's clock and how to mend it; empty if it is right or nothing is known."""
    if skew is None or not differs(skew):
        return ""
    said = words(skew, "the source's")
    after = "; then `market-pipeline replay` accepts what was refused for it" if skew < 0 else ""
    return f"{said[0].upper()}{said[1:]}. {MEND_CLOCK}{after}."


def behind(skew: float | None) -> timedelta:
    """How far our clock is behind the source's; zero where it is right, ahead or nothing is known."""
    return timedelta(seconds=-skew) if skew is not None and skew < 0 and differs(skew) else timedelta(0)
