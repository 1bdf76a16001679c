"""What a backfill would do and cost, before anything is asked. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from market_pipeline.budget.status import BudgetStatus
from market_pipeline.core.clock import DAY
from market_pipeline.commands.start import StartError
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.prices.windows import Repair

_SHOWN = 5


class InputError(StartError):
    """What was asked for cannot be done; the message says why and what to write."""


@dataclass(frozen=True)
class Span:
    """The days `first`..`last` (UTC, both included) that can be filled, and what was left out and why."""

    first: date
    last: date
    notes: tuple[str, ...]


def reachable_span(
    first: date, last: date, *, history_start: date, reach: timedelta | None, now: datetime
) -> Span:
    """The part of `first`..`last` that CoinGecko can complete at `now` (aware, UTC).

    `reach` is how old the history of the plan may be, None where no limit is known. Raises InputError
    for days in the wrong order, in the future or without partitions.
    """
    today = now.date()
    if first > last:
        raise InputError(f"{first} comes after {last}; write the earlier day first (--from)")
    if last > today:
        raise InputError(f"{last} has not begun: it is {today} in UTC, and the future has no prices")
    oldest = oldest_day(reach, now)
    if first < history_start:
        raise InputError(_before_partitions(first, history_start, oldest))
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
    """Why days before `history_start` cannot be filled, and the setting that helps with this plan."""
    problem = f"{first} is before HISTORY_START={history_start}, where partitions begin"
    setting = "set HISTORY_START={} (environment or .env), restart `market-pipeline run` and try again"
    if oldest is None or oldest <= first:
        return f"{problem}; {setting.format(first)}"
    begin = f"try again from {oldest} on"
    if oldest < history_start:
        begin = setting.format(oldest) + f" from {oldest} on"
    return f"{problem}, and CoinGecko serves this plan no prices from before {oldest}; {begin}, or use a paid plan"


def oldest_day(reach: timedelta | None, now: datetime) -> date | None:
    """The oldest day of which a plan with this `reach` still sees the first minute, None without a limit."""
    return None if reach is None else (now - reach).date() + DAY


def counted(number: int, one: str, many: str = "") -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


@dataclass(frozen=True)
class Plan:
    """How many partitions lack prices, the runs that mend it, newest days first, and the budget for them."""

    missing: int
    repairs: Sequence[Repair]
    budget: BudgetStatus

    @property
    def partitions(self) -> int:
        return sum(repair.partitions for repair in self.repairs)

    @property
    def requests(self) -> int:
        return sum(repair.requests for repair in self.repairs)

    def lines(self) -> Iterator[str]:
        """The plan in words, a line at a time."""
        per_minute = self.budget.requests_per_minute
        minutes = math.ceil(self.requests / per_minute)
        yield f"{counted(self.missing, 'partition')} (a day of a symbol each) without all prices."
        yield (
            f"{counted(self.requests, 'request')} in {counted(len(self.repairs), 'run')}, "
            f"about {minutes:,} min at {per_minute:,} requests a minute, newest days first:"
        )
        for repair in self.repairs[:_SHOWN]:
            yield f"  {repair}"
        if len(self.repairs) > _SHOWN:
            yield f"  and {len(self.repairs) - _SHOWN:,} more"
        yield from self._credit_lines()

    def _credit_lines(self) -> Iterator[str]:
        budget = self.budget
        if budget.cool_down_until is not None:
            until = f"{budget.cool_down_until:%H:%M:%S} UTC"
            yield f"Nobody may ask before {until} ({budget.cool_down_reason}); the first request waits."
        if budget.monthly_credits is None or budget.credits_left is None:
            return
        renewal = f"{budget.renews_at:%Y-%m-%d} 00:00 UTC"
        free = max(0, budget.credits_left - budget.reserve)
        yield (
            f"{counted(self.requests, 'credit')}; {budget.credits_left:,} of the month's "
            f"{budget.monthly_credits:,} are left, {budget.reserve:,} of these are kept for live prices "
            f"until {renewal}."
        )
        if self.requests > free:
            enough = counted(free, "request")
            yield f"That suffices for {enough}; the same command does the rest after {renewal}."
