"""What a backfill would do and cost, before anything is requested. Pure functions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import click

from market_pipeline.budget.status import BudgetStatus
from market_pipeline.core.clock import DAY
from market_pipeline.core.program import command, is_demo
from market_pipeline.core.wording import counted
from market_pipeline.pipeline.missing_days import oldest_day
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.prices.windows import Repair

_SHOWN = 5


@dataclass(frozen=True)
class Span:
    """The days `first`..`last` (UTC, both included) that can be filled, and which were left out and why."""

    first: date
    last: date
    notes: tuple[str, ...]


def reachable_span(
    first: date, last: date, *, history_start: date, reach: timedelta | None, now: datetime
) -> Span:
    """Return the part of `first`..`last` that CoinGecko can complete at `now` (aware, UTC).

    `reach` is how old the history of the plan may be, None without a known limit. Raises UsageError for days in
    the wrong order, in the future or without partitions.
    """
    today = now.date()
    for day in (first, last):
        if day > today:
            raise click.UsageError(f"{day} has not begun: it is {today} in UTC")
    if first > last:
        raise click.UsageError(f"{first} comes after {last}; write the earlier day first (--from)")
    oldest = oldest_day(reach, now)
    if first < history_start:
        raise click.UsageError(_before_partitions(first, history_start, oldest))
    notes = []
    if last == today:
        last -= DAY
        notes.append(f"{today} is not over; the ticks collect it.")
    if last > last_settled_day(now):
        notes.append(f"CoinGecko is still publishing {last}, which is left out until 01:00 UTC.")
        last = last_settled_day(now)
    if oldest is not None and first < oldest:
        notes.append(f"CoinGecko serves this plan no prices from before {oldest}; days before it are left out.")
        first = oldest
    return Span(first, last, tuple(notes))


def _before_partitions(first: date, history_start: date, oldest: date | None) -> str:
    """Explain why days before `history_start` cannot be filled, and which setting helps with this plan."""
    problem = f"{first} is before HISTORY_START={history_start}, where partitions begin"
    if is_demo():
        return f"{problem} in the demo; begin there"
    setting = f"set HISTORY_START={{}} (environment or .env), restart `{command('run')}` and try again"
    if oldest is None or oldest <= first:
        return f"{problem}; {setting.format(first)}"
    begin = f"try again from {oldest} on"
    if oldest < history_start:
        begin = setting.format(oldest) + f" from {oldest} on"
    return f"{problem}, and CoinGecko serves this plan no prices from before {oldest}; {begin}, or use a paid plan"


@dataclass(frozen=True)
class Plan:
    """How many partitions lack prices, the runs that fill them, newest days first, and the budget for them."""

    missing: int
    repairs: Sequence[Repair]
    budget: BudgetStatus

    @property
    def partitions(self) -> int:
        """All partitions of the runs."""
        return sum(repair.partitions for repair in self.repairs)

    def lines(self) -> Iterator[str]:
        """Describe the plan, a line at a time."""
        requests = sum(repair.requests for repair in self.repairs)
        per_minute = self.budget.requests_per_minute
        yield f"{counted(self.missing, 'partition')} (a day of a symbol each) without all prices."
        yield (
            f"{counted(requests, 'request')} in {counted(len(self.repairs), 'run')}, "
            f"about {math.ceil(requests / per_minute):,} min at {per_minute:,} requests a minute, newest days first:"
        )
        for repair in self.repairs[:_SHOWN]:
            yield f"  {repair}"
        if len(self.repairs) > _SHOWN:
            yield f"  and {len(self.repairs) - _SHOWN:,} more"
        yield from _limits(self.budget, requests)


def _limits(budget: BudgetStatus, requests: int) -> Iterator[str]:
    """Describe what delays or ends so many requests."""
    if budget.cool_down_until is not None:
        until = f"{budget.cool_down_until:%H:%M:%S} UTC"
        yield f"Requests are paused until {until} ({budget.cool_down_reason}); the first request waits."
    if budget.monthly_credits is None or budget.credits_left is None:
        return
    renewal = f"{budget.renews_at:%Y-%m-%d} 00:00 UTC"
    yield (
        f"{counted(requests, 'credit')}; {budget.credits_left:,} of the month's {budget.monthly_credits:,} are left, "
        f"of which {budget.reserve:,} are reserved for live prices until {renewal}."
    )
    free = max(0, budget.credits_left - budget.reserve)
    if requests > free:
        yield f"That suffices for {counted(free, 'request')}; the same command does the rest after {renewal}."
