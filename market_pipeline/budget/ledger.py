"""The ledger: every request that was sent, by hour, endpoint and outcome, and what it cost."""

import re
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, func, select, text

from market_pipeline.budget.plan_limits import Account
from market_pipeline.core.clock import next_month, start_of_day, start_of_hour
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_ledger
from market_pipeline.storage.schema.types import UtcTimestamp

# The outcome of a request that is under way, or whose process died before its end.
PENDING = "not told"

_COIN = re.compile(r"^/coins/[^/]+/")
_HOUR = bindparam("hour", type_=UtcTimestamp())
_ADD = (
    "INSERT INTO request_ledger (hour, account, endpoint, outcome, plan, requests, credits) VALUES {} "
    "ON CONFLICT (hour, account, endpoint, outcome) DO UPDATE "
    "SET requests = request_ledger.requests + excluded.requests, credits = request_ledger.credits + excluded.credits"
)
_ADD_PENDING = text(
    _ADD.format("(:hour, :account, :endpoint, :pending, :plan, 1, :reserved)")
).bindparams(_HOUR)
_MOVE = text(
    _ADD.format(
        "(:hour, :account, :endpoint, :pending, :plan, -1, -:reserved), "
        "(:hour, :account, :endpoint, :outcome, :plan, 1, :charged)"
    )
).bindparams(_HOUR)
_DROP_EMPTY = text(
    "DELETE FROM request_ledger WHERE hour = :hour AND account = :account AND endpoint = :endpoint "
    "AND outcome = :pending AND requests <= 0"
).bindparams(_HOUR)


@dataclass(frozen=True)
class LedgerRow:
    """The requests of one UTC hour (aware) to one endpoint that had one outcome."""

    hour: datetime
    account: str
    endpoint: str
    outcome: str
    plan: str
    requests: int
    credits: int


def record_sent(
    connection: Connection, account: Account, endpoint: str, granted_at: datetime, *, reserved: int
) -> None:
    """Record a request, granted at `granted_at`, that is about to be sent, with its reserved credits."""
    connection.execute(_ADD_PENDING, {**_key(account, endpoint, granted_at), "reserved": reserved})


def record_outcome(
    connection: Connection,
    account: Account,
    endpoint: str,
    granted_at: datetime,
    outcome: str,
    *,
    reserved: int,
    charged: int,
) -> None:
    """Replace `PENDING` by the outcome of a recorded request, and its reserved credits by those charged."""
    key = _key(account, endpoint, granted_at)
    connection.execute(_MOVE, {**key, "outcome": outcome, "reserved": reserved, "charged": charged})
    connection.execute(_DROP_EMPTY, key)


def credits_of(connection: Connection, account: str, month: date) -> int:
    """Return the credits that the UTC month beginning with `month` has cost so far."""
    query = select(func.coalesce(func.sum(request_ledger.c.credits), 0).cast(Integer)).where(
        request_ledger.c.account == account, *_within(month)
    )
    return int(connection.execute(query).scalar_one())


def requests_by_outcome(database: Database, account: str, month: date) -> dict[tuple[str, str], int]:
    """Return the completed requests of the UTC month beginning with `month` by endpoint and outcome.

    Within a month these numbers only grow.
    """
    columns = request_ledger.c
    query = (
        select(columns.endpoint, columns.outcome, func.sum(columns.requests).cast(Integer))
        .where(columns.account == account, *_within(month), columns.outcome != PENDING)
        .group_by(columns.endpoint, columns.outcome)
    )
    with database.reading() as connection:
        return {(endpoint, outcome): number for endpoint, outcome, number in connection.execute(query)}


def requests_by_hour(database: Database, since: datetime, account: str | None = None) -> list[LedgerRow]:
    """Return the ledger from the hour of `since` (aware) on, oldest first, of one account or of all."""
    query = select(request_ledger).where(request_ledger.c.hour >= start_of_hour(since))
    if account is not None:
        query = query.where(request_ledger.c.account == account)
    with database.reading() as connection:
        rows = connection.execute(query.order_by(*request_ledger.primary_key.columns)).mappings()
        return [LedgerRow(**row) for row in rows]


def _within(month: date) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    hour = request_ledger.c.hour
    return hour >= start_of_day(month), hour < start_of_day(next_month(month))


def _key(account: Account, endpoint: str, granted_at: datetime) -> dict[str, object]:
    return {
        "hour": start_of_hour(granted_at),
        "account": account.name,
        "endpoint": _COIN.sub("/coins/{id}/", endpoint),
        "pending": PENDING,
        "plan": account.plan,
    }
