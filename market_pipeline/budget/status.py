"""What is left of a budget, for people: reads, changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime

from market_pipeline.budget import ledger, records, rules
from market_pipeline.budget.rules import Account, Limits
from market_pipeline.core.clock import from_microseconds, month_of, next_month, start_of_day
from market_pipeline.storage.database_clock import DatabaseClock, database_clock
from market_pipeline.storage.engine import Database


@dataclass(frozen=True)
class BudgetStatus:
    """A budget as it is at `now`; all times are aware UTC.

    `cool_down_until` is None where nobody has to pause. `monthly_credits` and `credits_left` are None
    where the plan has no monthly cap; `reserve` are those of the left ones that history may not use.
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


def budget_status(
    database: Database,
    account: Account,
    limits: Limits,
    reserve: int,
    *,
    clock: DatabaseClock = database_clock,
) -> BudgetStatus:
    """The budget of `account`; one that never sent anything has everything left.

    `reserve` is how many credits are kept for live requests (see `wiring.live_reserve`). Raises a
    StorageError if the database cannot be read.
    """
    with database.reading() as connection:
        now = clock(connection)
        state = rules.brought_to(records.found(connection, account.name), now)
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
