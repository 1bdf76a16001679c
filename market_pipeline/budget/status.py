"""What is left of a budget, in numbers and in a sentence. Read only."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from market_pipeline.budget import ledger, records, rules
from market_pipeline.budget.credits import live_reserve
from market_pipeline.budget.plan_limits import Account, Limits, account_of, current_limits
from market_pipeline.core.clock import from_microseconds, month_of, next_month, start_of_day, utc_now
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database


@dataclass(frozen=True)
class BudgetStatus:
    """A budget at `now`; all times are aware UTC.

    `cool_down_until` is None without a pause. `monthly_credits` and `credits_left` are None where the
    plan has no monthly cap; `reserve` is how many of the credits left are kept for live requests.
    """

    now: datetime
    requests_per_minute: int
    left_this_minute: int
    waiting: int
    cool_down_until: datetime | None
    cool_down_reason: str
    monthly_credits: int | None
    credits_used: int
    credits_left: int | None
    reserve: int
    renews_at: datetime


def has_monthly_credits(settings: Settings) -> bool:
    """Return whether the plan of `settings` may have monthly credits."""
    return settings.coingecko_plan != "keyless" or settings.coingecko_monthly_credits is not None


def budget_status(settings: Settings, database: Database, now: datetime | None = None) -> BudgetStatus:
    """Return the budget of the account of `settings`, with the reserve for its live ticks after `now`.

    Raises a StorageError if the database cannot be read.
    """
    reserve = live_reserve(settings)(now or utc_now())
    return read_status(database, account_of(settings), current_limits(settings, database), reserve)


def read_status(
    database: Database,
    account: Account,
    limits: Limits,
    reserve: int,
    *,
    clock: Callable[[int], int] = lambda now: now,
) -> BudgetStatus:
    """Return the budget of `account`, with `reserve` credits kept for live requests."""
    with database.reading() as connection:
        stored, database_now = records.load(connection, account.name)
        now = clock(database_now)
        state = rules.advance(stored, now)
        if state.month != (month := month_of(now)):
            spent = ledger.credits_of(connection, account.name, month)
            state = replace(state, month=month, credits_used=spent)
    cap = limits.monthly_credits
    paused = state.cool_down_until > now
    return BudgetStatus(
        now=from_microseconds(now),
        requests_per_minute=limits.requests_per_minute,
        left_this_minute=max(0, limits.requests_per_minute - len(state.granted) - len(state.waiting)),
        waiting=len(state.waiting),
        cool_down_until=from_microseconds(state.cool_down_until) if paused else None,
        cool_down_reason=state.cool_down_reason if paused else "",
        monthly_credits=cap,
        credits_used=state.credits_used,
        credits_left=None if cap is None else max(0, cap - state.credits_used),
        reserve=0 if cap is None else reserve,
        renews_at=start_of_day(next_month(month)),
    )


def status_numbers(status: BudgetStatus) -> dict[str, int]:
    """Return the numbers of `status` by name, with credits only if the plan has a monthly cap."""
    numbers = {
        "requests_left_this_minute": status.left_this_minute,
        "requests_waiting": status.waiting,
        "credits_used": status.credits_used,
    }
    if status.credits_left is not None:
        numbers |= {"credits_left": status.credits_left, "credits_reserved": status.reserve}
    return numbers


def status_sentence(status: BudgetStatus) -> str:
    """Describe the minute, a pause and the month in a sentence."""
    minute = f"{status.left_this_minute} of {status.requests_per_minute} requests are left this minute"
    if status.waiting:
        minute += f", {status.waiting} are waiting"
    if status.cool_down_until is not None:
        minute += f"; no requests before {status.cool_down_until:%H:%M:%S} UTC ({status.cool_down_reason})"
    if status.credits_left is None:
        return f"{minute}; this plan has no monthly cap."
    return (
        f"{minute}; {status.credits_left:,} of {status.monthly_credits:,} credits are left until they renew "
        f"on {status.renews_at:%Y-%m-%d} 00:00 UTC; live ticks need {status.reserve:,} of them."
    )
