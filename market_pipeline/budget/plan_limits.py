"""What /key tells of a paid plan: asked once a day, kept in the budget's row."""

from dataclasses import replace
from typing import TYPE_CHECKING

from market_pipeline.budget import records
from market_pipeline.budget.rules import Account, PlanTold
from market_pipeline.coingecko.errors import BadAnswer, CoinGeckoError, RequestRefused
from market_pipeline.core.clock import DAY, from_microseconds, month_of
from market_pipeline.logs import get_logger
from market_pipeline.settings import Settings
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient
    from market_pipeline.coingecko.models import KeyInfo


logger = get_logger(__name__)


def is_due(settings: Settings, database: Database, account: Account) -> bool:
    """Whether /key should be asked: only paid plans have it, and settings may say all that it would."""
    if settings.coingecko_plan != "pro":
        return False
    if settings.coingecko_requests_per_minute and settings.coingecko_monthly_credits:
        return False
    with database.reading() as connection:
        now = from_microseconds(database_clock(connection))
        said = records.told(connection, account.name)
    return said is None or not now - DAY < said.told_at <= now


def ask(settings: Settings, client: "CoinGeckoClient", database: Database, account: Account) -> None:
    """Ask /key and keep what it says.

    What was spent of the key's credits elsewhere counts too, unless `settings` set a cap of their own.
    An error is logged and nobody is kept from working: if the key is wrong, the next request says so
    where it can be shown. What /key refused once is not asked for again before the next day.
    """
    try:
        info = client.key_info()
    except CoinGeckoError as error:
        logger.warning("The limits of the plan are not known from /key: %s", error)
        if isinstance(error, (RequestRefused, BadAnswer)):
            _keep(database, account, None)
        return
    _keep(database, account, info, counts=settings.coingecko_monthly_credits is None)


def _keep(database: Database, account: Account, info: "KeyInfo | None", counts: bool = False) -> None:
    """Write what /key said, None that it has nothing to say, and when that was.

    With `counts` at least as many credits are used as /key says.
    """
    with database.writing() as connection:
        state = records.locked(connection, account.name)
        now = database_clock(connection)
        told_at = from_microseconds(now)
        if info is None:
            before = records.told(connection, account.name) or PlanTold(None, None, told_at)
            records.keep_told(connection, account.name, replace(before, told_at=told_at))
            return
        said = PlanTold(info.requests_per_minute, info.monthly_credits, told_at)
        records.keep_told(connection, account.name, said)
        used = info.monthly_credits - info.credits_left
        if counts and state.month == month_of(now) and used > state.credits_used:
            records.keep(connection, account.name, replace(state, credits_used=used))
