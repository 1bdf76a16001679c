"""Materializations that Dagster lacks although the database has what they are about; reported without a run."""

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import chain

import dagster as dg

from market_pipeline.core.slices import DayOfSymbol, merge_days
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.nonpublic import latest_storage_ids, unfulfilled_partitions
from market_pipeline.dagster_instance.reports import as_metadata, materialization, partition_name
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.partitions import days_of
from market_pipeline.logs import get_logger
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import rows_per_day
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices

logger = get_logger(__name__)

_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# Each takes 20 to 90 ms in files, and Dagster ends an evaluation after a minute.
_MOST_REPORTED = 200


def latest_events(instance: dg.DagsterInstance, asset: str, days: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, int]:
    """Return the event id of the newest materialization of each of `days` that has one."""
    found = latest_storage_ids(instance, asset, map(partition_name, days))
    return dict(zip(days_of(found), found.values(), strict=True))


def record_stored_days(instance: dg.DagsterInstance, database: Database, days: Iterable[DayOfSymbol]) -> int:
    """Report those of `days` whose prices are stored without an event in `instance`; return how many.

    A run was killed between the two: without the event the day would never be scored, as nothing is missing.
    """
    wanted = list(days)
    collected = latest_events(instance, RAW_PRICES, wanted)
    rows = rows_per_day(database, raw_prices, merge_days(day for day in wanted if day not in collected))
    for day, count in sorted(rows.items()):
        instance.report_runless_asset_event(materialization(RAW_PRICES, day, as_metadata(day, {"rows": count})))
    if rows:
        logger.warning("Recorded %s whose run was killed after it had stored prices", counted(len(rows), "partition"))
    return len(rows)


def record_complete_days(instance: dg.DagsterInstance, database: Database, complete: Iterable[DayOfSymbol]) -> bool:
    """Report those of the `complete` days whose last run failed, so that the UI shows them as what they are.

    They were materialized again by hand while CoinGecko did not answer. A day without prices has nothing to show. A run
    in progress may still do it. Return whether none is left for the next evaluation.
    """
    keys = {partition_name(day): day for day in complete}
    failed = {
        asset: sorted(keys[name] for name in unfulfilled_partitions(instance, asset, keys))
        for asset in (RAW_PRICES, REJECTED_PRICES)
    }
    if not any(failed.values()) or instance.get_run_records(dg.RunsFilter(statuses=_IN_PROGRESS), limit=1):
        return True
    stored = rows_per_day(database, raw_prices, merge_days(chain(*failed.values())))
    rows = {RAW_PRICES: stored, REJECTED_PRICES: rows_per_day(database, rejected_prices, merge_days(stored))}
    waiting = [(asset, day) for asset, days in failed.items() for day in days if day in stored]
    for asset, day in waiting[:_MOST_REPORTED]:
        metadata = as_metadata(day, {"rows": rows[asset][day]})
        instance.report_runless_asset_event(materialization(asset, day, metadata))
    if waiting:
        reported = counted(len(waiting[:_MOST_REPORTED]), "partition")
        logger.info("Recorded %s that failed runs left complete", reported)
    return len(waiting) <= _MOST_REPORTED


def record_open_day(instance: dg.DagsterInstance, today: date, symbols: Sequence[str]) -> bool:
    """Report once that the bars of `today` are up to date: a day that is not over has none.

    Otherwise the UI counts them as missing all day. The first prices of the day come before them. Return whether none
    is left for the next evaluation.
    """
    days = [(today, symbol) for symbol in symbols]
    barred = latest_events(instance, DAILY_BARS, days)
    waiting = [day for day in latest_events(instance, RAW_PRICES, days) if day not in barred]
    for day in waiting[:_MOST_REPORTED]:
        instance.report_runless_asset_event(materialization(DAILY_BARS, day, as_metadata(day, {"rows": 0})))
    return len(waiting) <= _MOST_REPORTED
