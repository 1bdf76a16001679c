"""Materializations that Dagster lacks although the database has what they are about; reported without a run."""

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import chain

import dagster as dg

from market_pipeline.core.slices import DayOfSymbol, merge_days
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.reports import as_metadata, materialization
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.automation.partition_events import PartitionEvents
from market_pipeline.logs import get_logger
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import arrivals_of_days
from market_pipeline.storage.rows.read import rows_per_day
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices

logger = get_logger(__name__)

_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def record_stored_days(events: PartitionEvents, database: Database, days: Iterable[DayOfSymbol]) -> bool:
    """Report those of `days` whose prices are stored without an event, oldest first; return whether none is left.

    A run was killed between the two: without the event the day would never be scored, as nothing is missing.
    """
    collected = events.materialized(RAW_PRICES)
    rows = sorted(rows_per_day(database, raw_prices, merge_days(day for day in days if day not in collected)).items())
    waiting = [materialization(RAW_PRICES, day, as_metadata(day, {"rows": count})) for day, count in rows]
    reported = events.report(waiting)
    if reported:
        number = counted(reported, "partition")
        logger.warning("Recorded %s whose run was killed after it had stored prices", number)
    return reported == len(rows)


def record_complete_days(events: PartitionEvents, database: Database, complete: Iterable[DayOfSymbol]) -> bool:
    """Report those of the `complete` days whose last run failed, so that the UI shows them as what they are.

    They were materialized again by hand while CoinGecko did not answer. A day without prices has nothing to show. A run
    in progress may still do it. Return whether none is left for the next evaluation.
    """
    every = set(complete)
    failed = {asset: sorted(events.unfulfilled(asset) & every) for asset in (RAW_PRICES, REJECTED_PRICES)}
    if not any(failed.values()) or events.instance.get_run_records(dg.RunsFilter(statuses=_IN_PROGRESS), limit=1):
        return True
    stored = rows_per_day(database, raw_prices, merge_days(chain(*failed.values())))
    refused = rows_per_day(database, rejected_prices, merge_days(stored))
    renewed = [day for day in failed[RAW_PRICES] if day in stored]
    # Dagster reads 10,000 events at once at most.
    unchanged = _unchanged(events, database, renewed[: events.reports_left])
    waiting = [
        unchanged.get(day) or materialization(RAW_PRICES, day, as_metadata(day, {"rows": stored[day]}))
        for day in renewed
    ] + [
        materialization(REJECTED_PRICES, day, as_metadata(day, {"rows": refused[day]}))
        for day in failed[REJECTED_PRICES] if day in stored
    ]
    reported = events.report(waiting)
    if reported:
        logger.info("Recorded %s that failed runs left complete", counted(reported, "partition"))
    return reported == len(waiting)


def _unchanged(
    events: PartitionEvents, database: Database, days: Sequence[DayOfSymbol]
) -> dict[DayOfSymbol, dg.AssetMaterialization]:
    """Return the newest materialization of each of `days` of which no price was stored since.

    Reported again with its data version it outdates nothing that was made of it.
    """
    numbers = {number: day for day in days if (number := events.materialized(RAW_PRICES).get(day))}
    if not numbers:
        return {}
    wanted = dg.AssetRecordsFilter(dg.AssetKey(RAW_PRICES), storage_ids=list(numbers))
    arrived = arrivals_of_days(database, days)
    return {
        numbers[record.storage_id]: record.asset_materialization
        for record in events.instance.fetch_materializations(wanted, limit=len(numbers)).records
        if record.asset_materialization and arrived[numbers[record.storage_id]].timestamp() <= record.timestamp
    }


def record_open_day(events: PartitionEvents, today: date, symbols: Sequence[str]) -> bool:
    """Report once that the bars of `today` are up to date: a day that is not over has none.

    Otherwise the UI counts them as missing all day. The first prices of the day come before them. Return whether none
    is left for the next evaluation.
    """
    collected, barred = events.materialized(RAW_PRICES), events.materialized(DAILY_BARS)
    waiting = [(today, symbol) for symbol in symbols if (today, symbol) in collected and (today, symbol) not in barred]
    bars = [materialization(DAILY_BARS, day, as_metadata(day, {"rows": 0})) for day in waiting]
    return events.report(bars) == len(bars)
