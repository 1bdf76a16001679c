"""Days whose anomalies have to be recomputed: prices that they depend on came later, or the detectors changed.

A day depends on the prices of all symbols on that day and the `PAST_DAYS` before it: filling an old gap of one coin
changes the scores of the others for a week.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import dagster as dg

from market_pipeline.anomalies import PAST_DAYS
from market_pipeline.core.clock import DAY
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
    any_detectors: bool = False,
) -> list[DayOfSymbol]:
    """Return those of `days` whose anomalies have to be recomputed, according to the events in `instance`.

    `symbols` are all that exist. With `any_detectors`, scores of other detectors than these count as well.
    """
    wanted = sorted(days)
    window = {day - n * DAY for day, _ in wanted for n in range(PAST_DAYS + 1)}
    collected = _latest(instance, RAW_PRICES, ((day, symbol) for day in window for symbol in symbols))
    scored = _latest(instance, PRICE_ANOMALIES, wanted)
    return outdated(collected, scored if any_detectors else _by_these(instance, scored), wanted)


def outdated(
    collected: Mapping[DayOfSymbol, int], scored: Mapping[DayOfSymbol, int], days: Iterable[DayOfSymbol]
) -> list[DayOfSymbol]:
    """Return those of `days` that were scored before prices of any symbol came, on that day or those before it.

    The mappings hold a number that grows with time. A day that was never collected has no scores.
    """
    newest: dict[date, int] = {}
    for (day, _), number in collected.items():
        newest[day] = max(number, newest.get(day, 0))
    return [
        (day, symbol)
        for day, symbol in days
        if (day, symbol) in collected
        and scored.get((day, symbol), 0) < max(newest.get(day - n * DAY, 0) for n in range(PAST_DAYS + 1))
    ]


def _by_these(instance: dg.DagsterInstance, scored: Mapping[DayOfSymbol, int]) -> dict[DayOfSymbol, int]:
    """Return those of `scored` that the present detectors scored."""
    keys = {day: str(partition_key(*day)) for day in scored}
    versions = data_versions(instance, PRICE_ANOMALIES, keys.values())
    return {day: scored[day] for day, key in keys.items() if is_of_these_detectors(versions.get(key, ""))}


def _latest(instance: dg.DagsterInstance, asset: str, days: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, int]:
    """Return the event id of the newest materialization of each of `days` that has one."""
    found = latest_storage_ids(instance, asset, [str(partition_key(*day)) for day in days])
    return dict(zip(days_of(found), found.values(), strict=True))
