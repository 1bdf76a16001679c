"""Does the schedule fit the plan, and what is left of the plan?"""

from collections.abc import Iterator
from datetime import date, timedelta

from cronsim import CronSim

from market_pipeline.budget.credits import ticks_left
from market_pipeline.budget.plan_limits import current_limits, limits_of
from market_pipeline.budget.status import budget_status, status_numbers, status_sentence
from market_pipeline.coingecko.batching import id_batches
from market_pipeline.core.clock import next_month, start_of_day
from market_pipeline.doctor.context import Finding, Subject, fail, not_examined, ok, warn

_COST = "schedule cost"

_LONGEST_MONTH = 31
_MINUTES_OF_A_DAY = 1440
_EVERY_MINUTES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)


def examine_schedule_cost(subject: Subject) -> Iterator[Finding]:
    """Ticks of this month and nightly completions against the month's credits, a tick against the minute."""
    settings = subject.settings
    if settings is None:
        yield not_examined(_COST, "settings")
        return
    limits = current_limits(settings, subject.database) if subject.database else limits_of(settings, None)
    requests = len(list(id_batches((coin.source_id for coin in settings.catalogue), settings.base_url)))
    month = subject.clock().date().replace(day=1)
    days = (next_month(month) - month).days
    live, nightly = requests * _ticks_of(settings.collect_cron, month), days * len(settings.catalogue.symbols)
    cap = limits.monthly_credits
    numbers = {
        "requests_per_tick": requests, "live_this_month": live, "nightly_this_month": nightly,
        "monthly_credits": cap,
    }
    cost = f"'{settings.collect_cron}' takes {live:,} requests this month and completing its days {nightly:,}"
    remedy = f"{_gentler(requests, nightly, cap or 0)}, or get a plan with more credits."
    if cap is not None and live > cap:
        yield fail(_COST, f"{cost}; the plan has {cap:,} credits", remedy, **numbers)
    elif cap is not None and live + nightly > cap:
        detail = f"{cost}; the plan has {cap:,} credits, so nights will be left out"
        yield warn(_COST, detail, remedy, **numbers)
    elif requests > limits.requests_per_minute:
        detail = f"a tick is {requests} requests; {limits.requests_per_minute} a minute are the limit"
        remedy = "Collect fewer coins in MARKET_SYMBOLS, or get a plan with more requests a minute."
        yield warn(_COST, detail, remedy, **numbers)
    else:
        yield ok(_COST, f"{cost}; {'no monthly cap' if cap is None else f'of {cap:,} credits'}", **numbers)


def examine_budget(subject: Subject) -> Iterator[Finding]:
    """What is left of the minute and of the month, and whether everybody pauses."""
    if subject.settings is None or subject.database is None:
        yield not_examined("budget", "database")
        return
    status = budget_status(subject.settings, subject.database)
    detail, numbers = status_sentence(status), status_numbers(status)
    if status.credits_left == 0:
        yield fail("budget", detail, "Wait for the renewal, or get a plan with more credits.", **numbers)
    elif status.credits_left is not None and status.credits_left <= status.reserve:
        remedy = "History waits for the renewal; collect less often for it to go on."
        yield warn("budget", detail, remedy, **numbers)
    elif status.cool_down_until is not None:
        yield warn("budget", detail, "Nothing: every process waits by itself and goes on then.", **numbers)
    else:
        yield ok("budget", detail, **numbers)


def _ticks_of(cron: str, month: date) -> int:
    """How many times `cron` comes in `month`, its first midnight included."""
    begin = start_of_day(month)
    first = next(CronSim(cron, begin - timedelta(seconds=1)))
    return ticks_left(cron, begin) + (first == begin)


def _gentler(requests: int, nightly: int, cap: int) -> str:
    """The most frequent COLLECT_CRON whose month fits in `cap`."""
    for minutes in _EVERY_MINUTES:
        if requests * _LONGEST_MONTH * _MINUTES_OF_A_DAY // minutes + nightly <= cap:
            cron = f"*/{minutes} * * * *" if minutes < 60 else "0 * * * *"
            return f"Set COLLECT_CRON='{cron}' or rarer"
    return "Collect less often with COLLECT_CRON"
