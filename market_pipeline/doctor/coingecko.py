"""CoinGecko: whether it answers with this key and plan, the clock is right, and the budget covers the schedule."""

import time
from collections.abc import Iterator
from datetime import date, timedelta

from cronsim import CronSim

from market_pipeline.budget.credits import ticks_left
from market_pipeline.budget.plan_limits import current_limits, limits_of
from market_pipeline.budget.status import budget_status, status_numbers, status_sentence
from market_pipeline.coingecko.batching import id_batches
from market_pipeline.coingecko.errors import BudgetExhausted, CoinGeckoError, RateLimited
from market_pipeline.coingecko.request_budget import Grant, RequestBudget
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import next_month, start_of_day, utc_now
from market_pipeline.doctor.context import Diagnosis, DoctorContext, fail, ok, skew_diagnosis, warn
from market_pipeline.pipeline.client_factory import client_of, shared_budget

_LONGEST_WAIT_SECONDS = 1.0
_LONGEST_MONTH_MINUTES = 31 * 1440
_EVERY_MINUTES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)


class _Unlimited:
    """Grants every request: without a usable database no other process collects."""

    def acquire(self, endpoint: str) -> Grant:
        return Grant(endpoint, utc_now(), 0.0)

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        pass


def examine_api(context: DoctorContext) -> Iterator[Diagnosis]:
    """Send one request, counted in the budget: /key on the plan pro, otherwise /ping. Sets `context.skew`."""
    settings = context.settings
    budget: RequestBudget = _Unlimited()
    if database := context.database_if_ready:
        budget = shared_budget(settings, database, _LONGEST_WAIT_SECONDS)
    where = f"{settings.base_url} (plan {settings.coingecko_plan})"
    with client_of(settings, budget, RetryPolicy(retries=0)) as client:
        started = time.monotonic()
        try:
            if settings.coingecko_plan == "pro":
                plan = f", the key's plan is {client.key_info().plan}"
            else:
                plan = ""
                client.ping()
        except CoinGeckoError as error:
            yield _trouble(where, error)
        else:
            latency = round((time.monotonic() - started) * 1000)
            yield ok("api", f"{where} answers in {latency} ms{plan}", latency_ms=latency)
        finally:
            if client.clock_skew is not None:
                context.skew = client.clock_skew


def _trouble(where: str, error: CoinGeckoError) -> Diagnosis:
    numbers = {"http_status": error.status, "error_code": error.error_code}
    if isinstance(error, BudgetExhausted):
        detail = f"no request was sent to {where}: {error.verdict}"
        return warn("api", detail, "Run doctor again when the budget allows it.", **numbers)
    outcome = "got no answer" if error.status is None else f"answered {error.status}"
    code = "" if error.error_code is None else f" (error code {error.error_code})"
    judge = warn if isinstance(error, RateLimited) else fail
    remedy = error.verdict[:1].upper() + error.verdict[1:]
    return judge("api", f"{where}: GET {error.endpoint} {outcome}{code}", remedy, **numbers)


def examine_server_clock(context: DoctorContext) -> Iterator[Diagnosis]:
    """Compare this machine's clock with the Date header of CoinGecko's answer."""
    yield skew_diagnosis("server clock", "CoinGecko's", context.skew)


def examine_budget(context: DoctorContext) -> Iterator[Diagnosis]:
    """Show what is left of this minute and this month, and whether requests are paused."""
    status = budget_status(context.settings, context.database)
    detail, numbers = status_sentence(status), status_numbers(status)
    if status.credits_left == 0:
        yield fail("budget", detail, "Wait for the renewal, or get a plan with more credits.", **numbers)
    elif status.credits_left is not None and status.credits_left <= status.reserve:
        remedy = "History waits for the renewal; to make room for it, collect less often."
        yield warn("budget", detail, remedy, **numbers)
    elif status.cool_down_until is not None:
        yield warn("budget", detail, "Nothing to do: every process waits and then continues.", **numbers)
    else:
        yield ok("budget", detail, **numbers)


def examine_schedule_cost(context: DoctorContext) -> Iterator[Diagnosis]:
    """Compare a month of ticks and nightly completions with the credits, and one tick with the minute limit."""
    name, settings, database = "schedule cost", context.settings, context.database_if_ready
    limits = current_limits(settings, database) if database else limits_of(settings, None)
    requests = len(list(id_batches((coin.source_id for coin in settings.catalogue), settings.base_url)))
    month = context.clock().date().replace(day=1)
    days = (next_month(month) - month).days
    live, nightly = requests * _ticks_of(settings.collect_cron, month), days * len(settings.catalogue.symbols)
    cap = limits.monthly_credits
    numbers = {
        "requests_per_tick": requests, "live_this_month": live, "nightly_this_month": nightly,
        "monthly_credits": cap,
    }
    cost = f"'{settings.collect_cron}' takes {live:,} requests this month, and completing its days {nightly:,}"
    remedy = f"{_affordable(requests, nightly, cap or 0)}, or get a plan with more credits."
    if cap is not None and live > cap:
        yield fail(name, f"{cost}; the plan has {cap:,} credits", remedy, **numbers)
    elif cap is not None and live + nightly > cap:
        detail = f"{cost}; the plan has {cap:,} credits, so some nights will be skipped"
        yield warn(name, detail, remedy, **numbers)
    elif requests > limits.requests_per_minute:
        detail = f"a tick takes {requests} requests, but the limit is {limits.requests_per_minute} a minute"
        remedy = "Collect fewer coins in MARKET_SYMBOLS, or get a plan with more requests a minute."
        yield warn(name, detail, remedy, **numbers)
    else:
        yield ok(name, f"{cost}; {'no monthly cap' if cap is None else f'the plan has {cap:,} credits'}", **numbers)


def _ticks_of(cron: str, month: date) -> int:
    """Count the times of `cron` in `month`, including its first midnight."""
    begin = start_of_day(month)
    first = next(CronSim(cron, begin - timedelta(seconds=1)))
    return ticks_left(cron, begin) + (first == begin)


def _affordable(requests: int, nightly: int, cap: int) -> str:
    """Propose the most frequent COLLECT_CRON whose month fits in `cap` credits."""
    for minutes in _EVERY_MINUTES:
        if requests * _LONGEST_MONTH_MINUTES // minutes + nightly <= cap:
            cron = f"*/{minutes} * * * *" if minutes < 60 else "0 * * * *"
            return f"Set COLLECT_CRON='{cron}' or less often"
    return "Collect less often with COLLECT_CRON"
