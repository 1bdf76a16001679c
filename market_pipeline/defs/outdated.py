"""Days whose anomalies were computed before the quotes that they depend on: filling an old hole changes
the scores of the week after it."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.defs.partitions import days_of, partition_key
from market_pipeline.defs.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.raw_prices import RAW_PRICES

DayOfSymbol = tuple[date, str]


def outdated_days(instance: dg.DagsterInstance, days: Iterable[DayOfSymbol]) -> list[DayOfSymbol]:
    """Those of `days` whose anomalies have to be computed again, as the instance's events say."""
    wanted = sorted(days)
    with_lead = {(day - timedelta(days=n), symbol) for day, symbol in wanted for n in range(LEAD_DAYS + 1)}
    collected = _latest(instance, RAW_PRICES, with_lead)
    return outdated(collected, _latest(instance, PRICE_ANOMALIES, wanted), wanted)


def outdated(
    collected: Mapping[DayOfSymbol, int], scored: Mapping[DayOfSymbol, int], days: Iterable[DayOfSymbol]
) -> list[DayOfSymbol]:
    """Those of `days` that were collected, or of which a day before was, after they were scored.

    The mappings hold a number that grows with time. A day that was never collected has no scores.
    """
    return [
        (day, symbol)
        for day, symbol in days
        if (day, symbol) in collected
        and scored.get((day, symbol), 0)
        < max(collected.get((day - timedelta(days=n), symbol), 0) for n in range(LEAD_DAYS + 1))
    ]


def _latest(instance: dg.DagsterInstance, asset: str, days: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, int]:
    """The id of the newest materialization of each of `days` that has one."""
    keys = {partition_key(*day) for day in days}
    found = instance.get_latest_storage_id_by_partition(
        dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, {str(key) for key in keys}
    )
    materialized = [key for key in keys if str(key) in found]
    return dict(zip(days_of(materialized), (found[str(key)] for key in materialized), strict=True))
