"""Accounts and their limits: those of the plan, set by the operator, reported by /key, or learned from refusals.

The last two are stored in the budget's row, because every tick is a new process.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.budget import records
from market_pipeline.coingecko.errors import BadAnswer, CoinGeckoError, RequestRefused
from market_pipeline.core.clock import DAY, from_microseconds, month_of
from market_pipeline.logs import get_logger
from market_pipeline.settings import Plan, Settings
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient
    from market_pipeline.coingecko.models import KeyInfo

logger = get_logger(__name__)

# More requests per minute than this are sent only if COINGECKO_REQUESTS_PER_MINUTE is set.
MOST_PER_MINUTE = 100

_PER_MINUTE: dict[Plan, int] = {"keyless": 5, "demo": 30, "pro": MOST_PER_MINUTE}
_MONTHLY: dict[Plan, int | None] = {"keyless": None, "demo": 10_000, "pro": None}

_COLUMNS = request_budgets.c


@dataclass(frozen=True)
class Account:
    """A plan at a host, with its port where the URL names one; `key_digest` distinguishes keys."""

    plan: Plan
    host: str
    key_digest: str = ""

    @property
    def name(self) -> str:
        """The account in tables and messages; it reveals no usable part of the key."""
        key = f"#{self.key_digest}" if self.key_digest else ""
        return f"{self.plan}@{self.host}{key}"


@dataclass(frozen=True)
class Limits:
    """Requests in any minute, and credits in a UTC month (None where the plan has no cap)."""

    requests_per_minute: int
    monthly_credits: int | None


@dataclass(frozen=True)
class ReportedLimits:
    """The limits that /key reported at `reported_at` (aware, UTC); None where it reported none."""

    requests_per_minute: int | None
    monthly_credits: int | None
    reported_at: datetime


def account_of(settings: Settings) -> Account:
    """Return the account whose limits the requests of `settings` count against."""
    parts = urlsplit(settings.base_url)
    host = parts.hostname or ""
    if parts.port:
        host = f"{host}:{parts.port}"
    key = settings.coingecko_api_key
    return Account(settings.coingecko_plan, host, _digest(key.get_secret_value()) if key else "")


def limits_of(settings: Settings, reported: ReportedLimits | None) -> Limits:
    """Return the limits that `settings` set, else those that /key reported, else the plan's."""
    plan = settings.coingecko_plan
    per_minute = (reported.requests_per_minute if reported else None) or _PER_MINUTE[plan]
    monthly = (reported.monthly_credits if reported else None) or _MONTHLY[plan]
    return Limits(
        requests_per_minute=settings.coingecko_requests_per_minute or min(per_minute, MOST_PER_MINUTE),
        monthly_credits=settings.coingecko_monthly_credits or monthly,
    )


def current_limits(settings: Settings, database: Database) -> Limits:
    """Return the current limits of the account of `settings`."""
    if not _reads_key(settings):
        return limits_of(settings, None)
    with database.reading() as connection:
        return limits_of(settings, _reported(connection, account_of(settings)))


def is_refresh_due(settings: Settings, database: Database) -> bool:
    """Return whether /key was not read for a day and can report a limit that `settings` leave open."""
    if not _reads_key(settings):
        return False
    with database.reading() as connection:
        now = from_microseconds(database_clock(connection))
        reported = _reported(connection, account_of(settings))
    return reported is None or not now - DAY < reported.reported_at <= now


def refresh(settings: Settings, database: Database, client: "CoinGeckoClient") -> None:
    """Read /key and store the limits that it reports.

    Credits that the key spent elsewhere count too, unless `settings` set a cap. Errors are logged, never
    raised: if the key is wrong, the next request fails with the reason. After a refusal /key is not read
    again for a day.
    """
    account = account_of(settings)
    try:
        info = client.key_info()
    except CoinGeckoError as error:
        logger.warning("The limits of the plan could not be read from /key: %s", error)
        if isinstance(error, (RequestRefused, BadAnswer)):
            _store(database, account, None)
        return
    _store(database, account, info, counts_credits=settings.coingecko_monthly_credits is None)


class StoredRequestLength:
    """The `RequestLength` of an account, stored for a day: the cause of a refusal may be gone then."""

    def __init__(self, database: Database, account: Account) -> None:
        self._database = database
        self._account = account.name

    def load(self) -> int | None:
        """Return how many ids a request may name, None if no length was refused in the last day."""
        with self._database.reading() as connection:
            now = from_microseconds(database_clock(connection))
            query = select(_COLUMNS.ids_per_request).where(
                _COLUMNS.account == self._account, _COLUMNS.ids_per_request_until > now
            )
            return connection.execute(query).scalar()

    def save(self, most: int) -> None:
        """Store `most`. Best effort: without it the length is found again."""
        try:
            with self._database.writing(request_budgets) as connection:
                until = from_microseconds(database_clock(connection)) + DAY
                _update(connection, self._account, ids_per_request=most, ids_per_request_until=until)
        except (StorageError, SQLAlchemyError) as error:
            logger.warning("The accepted length of a price request could not be stored: %s", error)


def _digest(key: str) -> str:
    """Return 12 hexadecimal digits that distinguish keys and cannot be reversed."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _reads_key(settings: Settings) -> bool:
    """Return whether /key exists for the plan and `settings` leave a limit open."""
    both_set = settings.coingecko_requests_per_minute and settings.coingecko_monthly_credits
    return settings.coingecko_plan == "pro" and not both_set


def _reported(connection: Connection, account: Account) -> ReportedLimits | None:
    query = select(_COLUMNS.told_per_minute, _COLUMNS.told_monthly, _COLUMNS.told_at)
    row = connection.execute(query.where(_COLUMNS.account == account.name)).first()
    return None if row is None or row.told_at is None else ReportedLimits(*row)


def _store(database: Database, account: Account, info: "KeyInfo | None", counts_credits: bool = False) -> None:
    """Store what /key reported and when; None leaves the earlier limits in place.

    With `counts_credits` the number of credits used is raised to what /key reports.
    """
    with database.writing() as connection:
        state, now = records.load_for_update(connection, account.name)
        if info is None:
            _update(connection, account.name, told_at=from_microseconds(now))
            return
        _update(
            connection,
            account.name,
            told_per_minute=info.requests_per_minute,
            told_monthly=info.monthly_credits,
            told_at=from_microseconds(now),
        )
        used = info.monthly_credits - info.credits_left
        if counts_credits and state.month == month_of(now) and used > state.credits_used:
            records.save(connection, account.name, replace(state, credits_used=used))


def _update(connection: Connection, account: str, **values: object) -> None:
    connection.execute(update(request_budgets).where(_COLUMNS.account == account).values(**values))
