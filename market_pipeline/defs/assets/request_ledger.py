"""The asset `request_ledger`: the requests sent to CoinGecko, their cost, and what is left of the limits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from market_pipeline.budget.ledger import LedgerRow, requests_by_hour
from market_pipeline.budget.status import BudgetStatus, budget_status, status_numbers, status_sentence
from market_pipeline.core.clock import DAY, start_of_hour, utc_now
from market_pipeline.core.wording import counted
from market_pipeline.defs.assets.coingecko import ANSWERED, COINS_LIST, HISTORY, LIVE_PRICES, answered
from market_pipeline.defs.assets.table_metadata import EVERY_HOUR, MONITOR, OWNERS, records_table, table_metadata
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import operations_tables
from market_pipeline.storage.schema.migrate import check_schema

REQUEST_LEDGER = "request_ledger"

HOUR = timedelta(hours=1)
# These have a number in every hour, others once they occur.
_EVERYDAY = ("/simple/price", "/coins/{id}/market_chart/range")


def build_request_ledger(settings: Settings, database_kind: str) -> dg.AssetsDefinition:
    """Define the unpartitioned view of the ledger; every request writes the ledger, the asset only reads it."""

    @dg.asset(
        name=REQUEST_LEDGER,
        description="Requests to CoinGecko by every process that shares this database: how many were sent in the last "
        "full hour (UTC) and what they cost, by endpoint, outcome and plan, as numbers that the UI plots over time; "
        "what is left of the limits; the last 24 hours as a table.",
        deps=[LIVE_PRICES, HISTORY, COINS_LIST],
        group_name=MONITOR,
        owners=OWNERS,
        tags=EVERY_HOUR,
        kinds={"report", "table", database_kind},
        metadata=table_metadata(operations_tables.request_ledger, "added to by every request"),
    )
    @logged_step
    def request_ledger(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        check_schema(database)
        now = utc_now()
        rows = requests_by_hour(database, now - DAY)
        for event in answered(rows):
            context.log_event(event)
        return dg.MaterializeResult(metadata=_metadata(rows, budget_status(settings, database), now))

    return request_ledger


def _metadata(rows: Sequence[LedgerRow], status: BudgetStatus, now: datetime) -> dict[str, Any]:
    hour = start_of_hour(now) - HOUR
    return {
        "summary": f"{hour_sentence(rows, hour)} Now {status_sentence(status)}",
        **hour_numbers(rows, hour),
        **status_numbers(status),
        # Last, because it is long.
        "last_24_hours": records_table([_record(row) for row in reversed(rows)]),
    }


def hour_numbers(rows: Sequence[LedgerRow], hour: datetime) -> dict[str, int]:
    """Return requests and credits of the UTC hour that begins with `hour`: in all, by endpoint, outcome and plan.

    Whatever occurs in `rows` gets its numbers, so that its line in the plot falls to zero when it ends; credits only
    where the plan has any.
    """
    numbers = {"requests_last_hour": 0, "credits_last_hour": 0, f"requests_outcome_{ANSWERED}": 0}
    numbers |= {f"requests_{_key(name)}": 0 for name in _EVERYDAY}
    for row in rows:
        is_last = row.hour == hour
        for name in ("last_hour", _key(row.endpoint), f"outcome_{_key(row.outcome)}", f"plan_{row.plan}"):
            key = f"requests_{name}"
            numbers[key] = numbers.get(key, 0) + (row.requests if is_last else 0)
            key = f"credits_{name}"
            if row.credits or key in numbers:
                numbers[key] = numbers.get(key, 0) + (row.credits if is_last else 0)
    return numbers


def hour_sentence(rows: Sequence[LedgerRow], hour: datetime) -> str:
    """Return how many requests were sent in the hour, how many of them failed, and how many were sent since."""
    last = [row for row in rows if row.hour == hour]
    sent = sum(row.requests for row in last)
    failed = sum(row.requests for row in last if row.outcome != ANSWERED)
    since = sum(row.requests for row in rows if row.hour > hour)
    failures = f", {failed} of them without a good answer" if failed else ""
    return f"{counted(sent, 'request')} from {hour:%H:%M} to {hour + HOUR:%H:%M} UTC{failures}, {since} since."


def _key(name: str) -> str:
    """Return an endpoint or outcome as part of a metadata key: market_chart_range, no_answer."""
    return name.removeprefix("/coins/{id}").strip("/").replace("/", "_").replace(" ", "_")


def _record(row: LedgerRow) -> dict[str, Any]:
    return {
        "hour (UTC)": f"{row.hour:%m-%d %H:%M}",
        "endpoint": row.endpoint,
        "outcome": row.outcome,
        "plan": row.plan,
        "requests": row.requests,
        "credits": row.credits,
    }
