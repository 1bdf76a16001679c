"""The budget of the settings at a glance: what is left, in numbers and in a sentence."""

from market_pipeline.budget.status import BudgetStatus, budget_status
from market_pipeline.core.clock import utc_now
from market_pipeline.pipeline.client_factory import account_of, limits_now, live_reserve
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database


def status_now(settings: Settings, database: Database) -> BudgetStatus:
    """What is left for the account of `settings`, with the reserve of its live ticks."""
    reserve = live_reserve(settings)(utc_now())
    return budget_status(database, account_of(settings), limits_now(settings, database), reserve)


def numbers_left(status: BudgetStatus) -> dict[str, int]:
    """The numbers of `status` by name; those of credits only where the plan has a monthly cap."""
    numbers = {
        "requests_left_this_minute": status.left_this_minute,
        "requests_waiting": status.waiting,
        "credits_used": status.credits_used,
    }
    if status.credits_left is not None:
        numbers |= {"credits_left": status.credits_left, "credits_reserved": status.reserve}
    return numbers


def left_in_words(status: BudgetStatus) -> str:
    """Minute, pause and month in a sentence or two."""
    minute = f"{status.left_this_minute} of {status.requests_per_minute} requests are left this minute"
    if status.waiting:
        minute += f", {status.waiting} wait"
    if status.cool_down_until is not None:
        minute += f"; nobody may ask before {status.cool_down_until:%H:%M:%S} UTC ({status.cool_down_reason})"
    if status.credits_left is None:
        return f"{minute}; this plan has no monthly cap."
    return (
        f"{minute}; {status.credits_left:,} of {status.monthly_credits:,} credits are left until they renew "
        f"on {status.renews_at:%Y-%m-%d} 00:00 UTC, live ticks need {status.reserve:,} of them."
    )
