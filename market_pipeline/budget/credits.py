"""The credits of a month: what is left of them, and for whom. Pure functions."""

from dataclasses import dataclass
from datetime import datetime

from market_pipeline.budget.clock import next_month
from market_pipeline.budget.limits import Limits
from market_pipeline.budget.rules import State
from market_pipeline.clock import start_of_day
from market_pipeline.coingecko.budget import NO_ANSWER

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
