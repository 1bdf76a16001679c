"""Make CoinGecko clients from settings and a database; all of them keep to the shared budget."""

from market_pipeline.budget import plan_limits
from market_pipeline.budget.credits import live_reserve
from market_pipeline.budget.plan_limits import StoredRequestLength, account_of, current_limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.batching import RequestLength
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.request_budget import RequestBudget
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

# A run that waits longer than this for one request is worth less than the next run.
MAX_WAIT_SECONDS = 300.0
# Best effort: /key must not delay the request that it precedes.
_KEY_WAIT_SECONDS = 5.0
_KEY_POLICY = RetryPolicy(retries=0, attempt=5.0, call=5.0)


def budgeted_client(
    settings: Settings, database: Database, *, max_wait: float = MAX_WAIT_SECONDS
) -> CoinGeckoClient:
    """Return a client with the plan and key of `settings` that keeps to the budget in `database`.

    It waits at most `max_wait` seconds for the budget, and for a server that asks it to wait. On a paid
    plan the limits are refreshed from /key first, once a day. Close it, or use it in a `with` block.
    """
    if plan_limits.is_refresh_due(settings, database):
        impatient = shared_budget(settings, database, _KEY_WAIT_SECONDS)
        with client_of(settings, impatient, _KEY_POLICY) as client:
            plan_limits.refresh(settings, database, client)
    budget = shared_budget(settings, database, max_wait)
    policy = RetryPolicy(longest_wait=min(max_wait, RetryPolicy().longest_wait))
    return client_of(settings, budget, policy, StoredRequestLength(database, account_of(settings)))


def shared_budget(settings: Settings, database: Database, max_wait: float) -> SharedBudget:
    """Return the budget of the account of `settings` with its current limits."""
    return SharedBudget(
        database,
        account_of(settings),
        current_limits(settings, database),
        live_reserve=live_reserve(settings),
        max_wait=max_wait,
    )


def client_of(
    settings: Settings, budget: RequestBudget, policy: RetryPolicy, length: RequestLength | None = None
) -> CoinGeckoClient:
    """Return a client with the plan and key of `settings` that keeps to `budget`."""
    key = settings.coingecko_api_key
    return CoinGeckoClient(
        settings.base_url,
        settings.coingecko_plan,
        key.get_secret_value() if key else None,
        budget,
        policy=policy,
        length=length,
    )
