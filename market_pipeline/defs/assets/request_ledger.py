"""The asset `request_ledger`: what was asked of CoinGecko and what of its limits is left."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from market_pipeline.budget.ledger import LedgerRow, requests_by_hour
from market_pipeline.budget.status import budget_status, status_numbers, status_sentence
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.defs.assets.table_metadata import GROUP, OWNERS, records_table, table_metadata
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import operations_tables
from market_pipeline.storage.schema.migrate import check_schema

REQUEST_LEDGER = "request_ledger"


def build_request_ledger(settings: Settings, kinds: set[str]) -> dg.AssetsDefinition:
    """The unpartitioned look at the ledger; every request writes it, this asset only shows it."""

    @dg.asset(
        name=REQUEST_LEDGER,
        description="Requests to CoinGecko by every process that shares this database: how many the last "
        "full hour (UTC) brought and what they cost, by endpoint, outcome and plan, as numbers that the UI "
        "plots over time; what is left of the limits; the last 24 hours as a table.",
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
        metadata=table_metadata(operations_tables.request_ledger, "added to by every request"),
    )
    @logged_step
    def request_ledger(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        check_schema(database)
        metadata = ledger_metadata(database, settings, utc_now())
        return dg.MaterializeResult(metadata=metadata)

    return request_ledger


HOUR = timedelta(hours=1)

_GOOD = "200"
# These have a number in every hour, others once they occur.
_EVERYDAY = ("/simple/price", "/coins/{id}/market_chart/range")


def ledger_metadata(store: Database, settings: Settings, now: datetime) -> dict[str, Any]:
    """The metadata of one materialization at `now` (aware, UTC)."""
    hour = now.replace(minute=0, second=0, microsecond=0) - HOUR
    rows = requests_by_hour(store, now - DAY)
    status = budget_status(settings, store)
    return {
        "summary": f"{sentence(rows, hour)} Now {status_sentence(status)}",
        **hour_numbers(rows, hour),
        **status_numbers(status),
        # Last, because it is long.
        "last_24_hours": records_table([_record(row) for row in reversed(rows)]),
    }


def hour_numbers(rows: Sequence[LedgerRow], hour: datetime) -> dict[str, int]:
    """Requests and credits of the UTC hour that begins with `hour`: in all, by endpoint, outcome and plan.

    Whatever occurs in `rows` gets its numbers, so that its line in the plot falls to zero when it ends;
    credits only where the plan has any.
    """
    numbers = {"requests_last_hour": 0, "credits_last_hour": 0, f"requests_outcome_{_GOOD}": 0}
    numbers |= {f"requests_{_key(name)}": 0 for name in _EVERYDAY}
    for row in rows:
        last = row.hour == hour
        for name in _names(row):
            key = f"requests_{name}"
            numbers[key] = numbers.get(key, 0) + (row.requests if last else 0)
            key = f"credits_{name}"
            if row.credits or key in numbers:
                numbers[key] = numbers.get(key, 0) + (row.credits if last else 0)
    return numbers


def _names(row: LedgerRow) -> list[str]:
    """What the requests of a row are counted under."""
    return ["last_hour", _key(row.endpoint), f"outcome_{_key(row.outcome)}", f"plan_{row.plan}"]


def sentence(rows: Sequence[LedgerRow], hour: datetime) -> str:
    """How many requests the hour brought, how many of them were in vain, and how many came since."""
    last = [row for row in rows if row.hour == hour]
    sent = sum(row.requests for row in last)
    vain = sum(row.requests for row in last if row.outcome != _GOOD)
    since = sum(row.requests for row in rows if row.hour > hour)
    trouble = f", {vain} of them without a good answer" if vain else ""
    return f"{sent} requests from {hour:%H:%M} to {hour + HOUR:%H:%M} UTC{trouble}, {since} since."


def _key(name: str) -> str:
    """An endpoint or outcome as part of a metadata key: market_chart_range, no_answer."""
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
