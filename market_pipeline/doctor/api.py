"""Does CoinGecko answer with this key and plan, how fast, and what time does it have?"""

import time
from collections.abc import Iterator

from market_pipeline.coingecko.errors import BudgetExhausted, CoinGeckoError, RateLimited
from market_pipeline.coingecko.request_budget import Grant, RequestBudget
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import utc_now
from market_pipeline.doctor.context import Finding, Subject, fail, not_examined, ok, skew_finding, warn
from market_pipeline.pipeline.client_factory import client_of, shared_budget

# Somebody waits for the answer.
_LONGEST_WAIT = 1.0


class _Unshared:
    """Grants what is asked: without a database that can be used nobody collects."""

    def acquire(self, endpoint: str) -> Grant:
        return Grant(endpoint, utc_now(), 0.0)

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        pass


def examine_api(subject: Subject) -> Iterator[Finding]:
    """One request, counted in the budget: /ping, on the plan pro /key.

    What the answer says of the time is kept in `subject`.
    """
    if subject.settings is None:
        yield not_examined("api", "settings")
        return
    budget: RequestBudget = _Unshared()
    if subject.database is not None:
        budget = shared_budget(subject.settings, subject.database, _LONGEST_WAIT)
    where = f"{subject.settings.base_url} (plan {subject.settings.coingecko_plan})"
    with client_of(subject.settings, budget, RetryPolicy(retries=0)) as client:
        started = time.monotonic()
        try:
            if subject.settings.coingecko_plan == "pro":
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
            subject.skew = client.clock_skew


def examine_server_clock(subject: Subject) -> Iterator[Finding]:
    """This machine's clock against the Date that CoinGecko's answer carried."""
    if subject.skew is None:
        yield not_examined("server clock", "api")
        return
    yield skew_finding("server clock", "CoinGecko's", subject.skew)


def _trouble(where: str, error: CoinGeckoError) -> Finding:
    numbers = {"http_status": error.status, "error_code": error.error_code}
    if isinstance(error, BudgetExhausted):
        detail = f"{where} was not asked: {error.verdict}"
        return warn("api", detail, "Ask again when the budget allows it.", **numbers)
    answered = "brought no answer" if error.status is None else f"answered {error.status}"
    code = "" if error.error_code is None else f" (error code {error.error_code})"
    detail = f"{where}: GET {error.endpoint} {answered}{code}"
    report = warn if isinstance(error, RateLimited) else fail
    return report("api", detail, error.verdict[:1].upper() + error.verdict[1:], **numbers)
