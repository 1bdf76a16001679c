"""How many requests a plan may send, and where that is known from."""

from dataclasses import dataclass
from datetime import datetime

from market_pipeline.settings import Plan

# Whatever a plan allows, more than this is sent only if somebody set it.
MOST_PER_MINUTE = 100

_PER_MINUTE: dict[Plan, int] = {"keyless": 5, "demo": 30, "pro": MOST_PER_MINUTE}
_MONTHLY: dict[Plan, int | None] = {"keyless": None, "demo": 10_000, "pro": None}


@dataclass(frozen=True)
class Limits:
    """Requests in any minute, and credits in a UTC month (None where the plan has no cap)."""

    requests_per_minute: int
    monthly_credits: int | None


@dataclass(frozen=True)
class PlanTold:
    """What /key said of a plan, None where it said nothing, and when (aware, UTC)."""

    requests_per_minute: int | None
    monthly_credits: int | None
    told_at: datetime


def limits_of(
    plan: Plan, per_minute_override: int | None, monthly_override: int | None, told: PlanTold | None
) -> Limits:
    """The limits of `plan`: what was set, else what /key told, else what the plan is known to allow."""
    per_minute = (told.requests_per_minute if told else None) or _PER_MINUTE[plan]
    monthly = (told.monthly_credits if told else None) or _MONTHLY[plan]
    return Limits(
        requests_per_minute=per_minute_override or min(per_minute, MOST_PER_MINUTE),
        monthly_credits=monthly_override or monthly,
    )
