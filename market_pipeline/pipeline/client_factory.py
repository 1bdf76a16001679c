"""Where settings, key, plan, client and the shared budget are joined: the one way to a client."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.budget import plan_limits, records
from market_pipeline.budget.credits import ticks_left
from market_pipeline.budget.rules import Account, Limits, digest, limits_of
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.portions import batches
from market_pipeline.coingecko.request_budget import RequestBudget
from market_pipeline.coingecko.retries import LONGEST_WAIT_SECONDS, RETRIES, TIME_LIMITS, TimeLimits
from market_pipeline.core.clock import DAY, from_microseconds
from market_pipeline.logs import get_logger
from market_pipeline.settings import Settings
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient
    from market_pipeline.coingecko.portions import RequestLength


logger = get_logger(__name__)

# A run that waits longer than this for one request is worth less than the next run.
MAX_WAIT_SECONDS = 300.0
# Nobody needs the limits so much that the request itself should wait for them.
_KEY_WAIT_SECONDS = 5.0
_KEY_LIMITS = TimeLimits(attempt=5.0, call=5.0)
# Of so many live requests one is expected to fail and to be sent again.
_SENT_AGAIN = 50


def budgeted_client(
    settings: Settings, database: Database, *, max_wait: float = MAX_WAIT_SECONDS
) -> "CoinGeckoClient":
    """A client of the plan and key of `settings` that keeps to the budget in `database`.

    It waits at most `max_wait` seconds for the budget, and not for a server that asks it to wait longer.
    Use it in a `with` block. On the plan pro /key is asked first if it was not asked for a day.
    """
    if plan_limits.is_due(settings, database, account_of(settings)):
        waiting = shared_budget(settings, database, _KEY_WAIT_SECONDS)
        with client_of(settings, waiting, retries=0, limits=_KEY_LIMITS) as asking:
            plan_limits.ask(settings, asking, database, account_of(settings))
    budget = shared_budget(settings, database, max_wait)
    return client_of(
        settings, budget, longest_wait=min(max_wait, LONGEST_WAIT_SECONDS),
        length=_StoredLength(database, account_of(settings).name),
    )


class _StoredLength:
    """The `RequestLength` of an account, in its budget's row: each tick is a process of its own."""

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account

    def load(self) -> int | None:
        with self._database.reading() as connection:
            now = from_microseconds(database_clock(connection))
            return records.ids_per_request(connection, self._account, now)

    def save(self, most: int) -> None:
        """Keep it for a day: what refused may be gone then. If that fails it is found out again."""
        try:
            with self._database.writing(request_budgets) as connection:
                until = from_microseconds(database_clock(connection)) + DAY
                records.keep_ids_per_request(connection, self._account, most, until)
        except (StorageError, SQLAlchemyError) as error:
            logger.warning("The length of a price request that is answered could not be stored: %s", error)


def account_of(settings: Settings) -> Account:
    """Whose limit the requests of `settings` count against."""
    parts = urlsplit(settings.base_url)
    host = parts.hostname or ""
    if parts.port:
        host = f"{host}:{parts.port}"
    key = settings.coingecko_api_key
    return Account(settings.coingecko_plan, host, digest(key.get_secret_value()) if key else "")


def limits_now(settings: Settings, database: Database) -> Limits:
    """What holds now: what `settings` set, else what /key last told, else what the plan is known for."""
    with database.reading() as connection:
        said = records.told(connection, account_of(settings).name)
    return limits_of(
        settings.coingecko_plan,
        settings.coingecko_requests_per_minute,
        settings.coingecko_monthly_credits,
        said,
    )


def live_reserve(settings: Settings) -> Callable[[datetime], int]:
    """How many requests the live ticks of the rest of the month of a time (aware, UTC) will send.

    One in fifty is expected to be sent again, and the tick before that time counts too: it may be
    under way and not have asked yet.
    """
    requests = len(list(batches((coin.asked_id for coin in settings.catalogue), settings.base_url)))

    def reserve(now: datetime) -> int:
        sent = requests * (1 + ticks_left(settings.collect_cron, now))
        return sent + sent // _SENT_AGAIN

    return reserve


def shared_budget(settings: Settings, database: Database, max_wait: float) -> SharedBudget:
    """The budget of the account of `settings` with the limits that hold now."""
    return SharedBudget(
        database,
        account_of(settings),
        limits_now(settings, database),
        live_reserve=live_reserve(settings),
        max_wait=max_wait,
    )


def client_of(
    settings: Settings,
    budget: RequestBudget,
    *,
    retries: int = RETRIES,
    longest_wait: float = LONGEST_WAIT_SECONDS,
    length: "RequestLength | None" = None,
    limits: TimeLimits | None = None,
) -> "CoinGeckoClient":
    """A client of the plan and key of `settings` that keeps to `budget`."""
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
