"""The ledger: every request that was sent, by hour, endpoint and outcome, and what it cost."""

import re
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Integer, bindparam, func, select, text

from market_pipeline.budget.plan_limits import Account
from market_pipeline.core.clock import next_month, start_of_day, start_of_hour
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_ledger
from market_pipeline.storage.schema.types import UtcTimestamp

# The outcome of a request that is under way, or whose process died before its end.
PENDING = "not told"

_COIN = re.compile(r"^/coins/[^/]+/")
_KEY = "hour = :hour AND account = :account AND endpoint = :endpoint AND outcome = :outcome"
_ADD = text(
    "INSERT INTO request_ledger (hour, account, endpoint, outcome, plan, requests, credits) "
    "VALUES (:hour, :account, :endpoint, :outcome, :plan, 1, :credits) "
    "ON CONFLICT (hour, account, endpoint, outcome) DO UPDATE "
    "SET requests = request_ledger.requests + 1, credits = request_ledger.credits + excluded.credits"
).bindparams(bindparam("hour", type_=UtcTimestamp()))
_TAKE = text(
    f"UPDATE request_ledger SET requests = requests - 1, credits = credits - :credits WHERE {_KEY}"
).bindparams(bindparam("hour", type_=UtcTimestamp()))
_DROP = text(f"DELETE FROM request_ledger WHERE {_KEY} AND requests <= 0").bindparams(
    bindparam("hour", type_=UtcTimestamp())
)


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
    connection: Connection, account: Account, endpoint: str, granted_at: datetime, credits: int
) -> None:
    """Enter a request, granted at `granted_at`, that is about to be sent, with its credits reserved."""
    connection.execute(
        _ADD, {**_key(account, endpoint, granted_at, PENDING), "plan": account.plan, "credits": credits}
    )


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
    """Replace 'not told' by the outcome of a request that was counted, and its reserved credits by those charged."""
    before = _key(account, endpoint, granted_at, PENDING)
    connection.execute(_TAKE, {**before, "credits": reserved})
    connection.execute(_DROP, before)
    after = _key(account, endpoint, granted_at, outcome)
    connection.execute(_ADD, {**after, "plan": account.plan, "credits": charged})


def credits_of(connection: Connection, account: str, month: date) -> int:
    """The credits that the UTC month beginning with `month` has cost so far."""
    hour = request_ledger.c.hour
    query = select(func.coalesce(func.sum(request_ledger.c.credits), 0).cast(Integer)).where(
        request_ledger.c.account == account,
        hour >= start_of_day(month),
        hour < start_of_day(next_month(month)),
    )
    return int(connection.execute(query).scalar_one())


def requests_by_outcome(database: Database, account: str, month: date) -> dict[tuple[str, str], int]:
    """The requests of the UTC month beginning with `month` by endpoint and outcome, those under way left out.

    Within a month these numbers only grow.
    """
    columns = request_ledger.c
    summed = func.sum(columns.requests).cast(Integer)
    query = (
        select(columns.endpoint, columns.outcome, summed)
        .where(
            columns.account == account,
            columns.hour >= start_of_day(month),
            columns.hour < start_of_day(next_month(month)),
            columns.outcome != PENDING,
        )
        .group_by(columns.endpoint, columns.outcome)
    )
    with database.reading() as connection:
        return {(endpoint, outcome): count for endpoint, outcome, count in connection.execute(query)}


def requests_by_hour(database: Database, since: datetime, account: str | None = None) -> list[LedgerRow]:
    """The ledger from the hour of `since` (aware) on, oldest first, of one account if it is named."""
    query = select(request_ledger).where(request_ledger.c.hour >= start_of_hour(since))
    if account is not None:
        query = query.where(request_ledger.c.account == account)
    with database.reading() as connection:
        rows = connection.execute(query.order_by(*request_ledger.primary_key.columns)).mappings()
        return [LedgerRow(**row) for row in rows]


def _key(account: Account, endpoint: str, granted_at: datetime, outcome: str) -> dict[str, object]:
    return {
        "hour": start_of_hour(granted_at),
        "account": account.name,
        "endpoint": _COIN.sub("/coins/{id}/", endpoint),
        "outcome": outcome,
    }
