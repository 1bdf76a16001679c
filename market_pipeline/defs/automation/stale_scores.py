"""Days whose anomalies have to be computed again: prices that they depend on came later, or the
detectors have changed.

A day depends on the prices of all symbols on that day and the `LEAD_DAYS` before it, so filling an
old hole of one coin changes what the week after it says of the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.dagster_instance.nonpublic import data_versions, latest_storage_ids
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES, is_of_these_detectors
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.partitions import days_of, partition_key



def outdated_days(
    instance: dg.DagsterInstance,
    days: Iterable[DayOfSymbol],
    symbols: Sequence[str],
    *,
    by_version: bool = True,
) -> list[DayOfSymbol]:
    """Those of `days` whose anomalies have to be computed again, as the instance's events say.

    `symbols` are all that there are. Without `by_version` what other detectors than these have scored
    is as good.
    """
    wanted = sorted(days)
    window = {day - timedelta(days=n) for day, _ in wanted for n in range(LEAD_DAYS + 1)}
    collected = _latest(instance, RAW_PRICES, ((day, symbol) for day in window for symbol in symbols))
    scored = _latest(instance, PRICE_ANOMALIES, wanted)
    return outdated(collected, _by_these(instance, scored) if by_version else scored, wanted)


def outdated(
    collected: Mapping[DayOfSymbol, int], scored: Mapping[DayOfSymbol, int], days: Iterable[DayOfSymbol]
) -> list[DayOfSymbol]:
    """Those of `days` that were scored before prices came of any symbol on that day or those before it.

    The mappings hold a number that grows with time. A day that was never collected has no scores.
    """
    newest: dict[date, int] = {}
    for (day, _), number in collected.items():
        newest[day] = max(number, newest.get(day, 0))
    return [
        (day, symbol)
        for day, symbol in days
        if (day, symbol) in collected
        and scored.get((day, symbol), 0)
        < max(newest.get(day - timedelta(days=n), 0) for n in range(LEAD_DAYS + 1))
    ]


def _by_these(instance: dg.DagsterInstance, scored: Mapping[DayOfSymbol, int]) -> dict[DayOfSymbol, int]:
    """Return those of `scored` that these detectors have scored."""
    versions = data_versions(instance, PRICE_ANOMALIES, [str(partition_key(*day)) for day in scored])
    return {
        day: number
        for day, number in scored.items()
        if is_of_these_detectors(versions.get(str(partition_key(*day)), ""))
    }


def _latest(instance: dg.DagsterInstance, asset: str, days: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, int]:
    """Return the event id of the newest materialization of each of `days` that has one."""
    found = latest_storage_ids(instance, asset, [str(partition_key(*day)) for day in days])
    return dict(zip(days_of(found), found.values(), strict=True))
