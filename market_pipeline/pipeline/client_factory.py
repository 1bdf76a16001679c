"""The one way from settings and a database to a CoinGecko client that keeps to the shared budget."""

from typing import TYPE_CHECKING

from market_pipeline.budget import plan_limits
from market_pipeline.budget.credits import live_reserve
from market_pipeline.budget.plan_limits import StoredRequestLength, account_of, current_limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.batching import RequestLength
from market_pipeline.coingecko.request_budget import RequestBudget
from market_pipeline.coingecko.retries import LONGEST_WAIT_SECONDS, RETRIES, TIME_LIMITS, TimeLimits
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient

# A run that waits longer than this for one request is worth less than the next run.
MAX_WAIT_SECONDS = 300.0
# Best effort: /key must not delay the request that it precedes.
_KEY_WAIT_SECONDS = 5.0
_KEY_LIMITS = TimeLimits(attempt=5.0, call=5.0)


def budgeted_client(
    settings: Settings, database: Database, *, max_wait: float = MAX_WAIT_SECONDS
) -> "CoinGeckoClient":
    """A client with the plan and key of `settings` that keeps to the budget in `database`.

    It waits at most `max_wait` seconds for the budget, and for a server that asks it to wait. On a paid
    plan the limits are refreshed from /key first, once a day. Close it, or use it in a `with` block.
    """
    if plan_limits.is_refresh_due(settings, database):
        impatient = shared_budget(settings, database, _KEY_WAIT_SECONDS)
        with client_of(settings, impatient, retries=0, limits=_KEY_LIMITS) as client:
            plan_limits.refresh(settings, database, client)
    return client_of(
        settings,
        shared_budget(settings, database, max_wait),
        longest_wait=min(max_wait, LONGEST_WAIT_SECONDS),
        length=StoredRequestLength(database, account_of(settings)),
    )


def shared_budget(settings: Settings, database: Database, max_wait: float) -> SharedBudget:
    """The budget of the account of `settings` with its current limits."""
    return SharedBudget(
        database,
        account_of(settings),
        current_limits(settings, database),
        live_reserve=live_reserve(settings),
        max_wait=max_wait,
    )


def client_of(
    settings: Settings,
    budget: RequestBudget,
    *,
    retries: int = RETRIES,
    longest_wait: float = LONGEST_WAIT_SECONDS,
    length: RequestLength | None = None,
    limits: TimeLimits | None = None,
) -> "CoinGeckoClient":
    """A client with the plan and key of `settings` that keeps to `budget`."""
    # It brings requests, which loading the code location can do without.
    from market_pipeline.coingecko.client import CoinGeckoClient

    key = settings.coingecko_api_key
    return CoinGeckoClient(
        base_url=settings.base_url,
        plan=settings.coingecko_plan,
        api_key=key.get_secret_value() if key else None,
        budget=budget,
        retries=retries,
        longest_wait=longest_wait,
        limits=limits or TIME_LIMITS,
        length=length,
    )
