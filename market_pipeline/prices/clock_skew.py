"""How far this machine's clock is from the source's, and when that is too far to judge quotes by.

A skew is in seconds, positive where this machine is ahead, and None where the source named no time.
"""

from datetime import timedelta

from market_pipeline.core.program import command
from market_pipeline.core.wording import span
from market_pipeline.prices.quotes import FUTURE_TOLERANCE

CLOCK_REMEDY = "Synchronise this machine's clock by NTP, e.g. `timedatectl set-ntp true`"


def is_wrong(skew: float | None) -> bool:
    """Return whether a clock with this skew is too wrong to judge quotes by."""
    return skew is not None and abs(skew) > FUTURE_TOLERANCE.total_seconds()


def skew_sentence(skew: float, whose: str) -> str:
    """Say how far this machine's clock is from that of `whose`, e.g. "CoinGecko's"."""
    direction = "ahead of" if skew > 0 else "behind"
    return f"this machine's clock is {span(abs(skew))} {direction} {whose}"


def complaint(skew: float | None) -> str:
    """Say what is wrong with this machine's clock and how to correct it; empty if nothing is."""
    if skew is None or not is_wrong(skew):
        return ""
    sentence = skew_sentence(skew, "the source's")
    replay = f"; then `{command('replay')}` accepts the prices refused for that reason" if skew < 0 else ""
    return f"{sentence[0].upper()}{sentence[1:]}. {CLOCK_REMEDY}{replay}."


def behind(skew: float | None) -> timedelta:
    """Return how far this machine's clock is behind the source's; zero unless it is too far behind."""
    return timedelta(seconds=-skew) if skew is not None and skew < 0 and is_wrong(skew) else timedelta(0)
