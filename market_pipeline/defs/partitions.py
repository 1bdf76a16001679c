"""Partitions: one per UTC day and symbol, `2026-11-23|BTC`, today included; and how a run's partitions become days."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timezone
from typing import Any

import dagster as dg

from market_pipeline.anomalies import PAST_DAYS
from market_pipeline.core.clock import start_of_day
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

DAY = "day"
SYMBOL = "symbol"

# The run tags with which Dagster makes one run cover a range of partitions.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"

# Dagster compares the versions of fewer upstream partitions of a partition only, and works out the keys of more than
# that in seconds (250 symbols) or minutes (1,000).
_MOST_MAPPED = 100

# One run may cover many partitions: it collects them with the fewest requests.
SINGLE_RUN = dg.BackfillPolicy.single_run()


class PricePartitions(dg.MultiPartitionsDefinition):
    """Day x symbol, whose keys are built once per UTC day.

    Dagster caches them by time and enumerates all of them three times in every run that checks `raw_prices` or renews
    the overview: 0.1 s at 1,675 keys, seconds at 100,000.
    """

    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: Any = None
    ) -> Sequence[dg.MultiPartitionKey]:
        """Return the keys of all partitions that exist on the day of `current_time`, by default today."""
        with dg.partition_loading_context(current_time, dynamic_partitions_store) as context:
            return super().get_partition_keys(start_of_day(context.effective_dt.astimezone(timezone.utc).date()))


def price_partitions(history_start: date, symbols: Sequence[str]) -> dg.MultiPartitionsDefinition:
    """Return day x symbol from `history_start` to today; days begin at midnight UTC."""
    # Without the offset the newest partition would be yesterday's.
    days = dg.DailyPartitionsDefinition(start_date=history_start.isoformat(), timezone="UTC", end_offset=1)
    return PricePartitions({DAY: days, SYMBOL: dg.StaticPartitionsDefinition(list(symbols))})


def lead_mapping(symbols: Sequence[str]) -> dg.MultiPartitionMapping:
    """Map a day of a symbol to that day and the `PAST_DAYS` before it, of all symbols, which make the market.

    Of its own symbol only if they would be too many for Dagster; the IO manager reads those of all symbols anyway. The
    morning after the day is read too, but not mapped: every tick of a day would mark the day before as outdated.
    """
    days = dg.TimeWindowPartitionMapping(start_offset=-PAST_DAYS, allow_nonexistent_upstream_partitions=True)
    few = (PAST_DAYS + 1) * len(symbols) < _MOST_MAPPED
    return dg.MultiPartitionMapping(
        {
            DAY: dg.DimensionPartitionMapping(DAY, days),
            SYMBOL: dg.DimensionPartitionMapping(
                SYMBOL, dg.AllPartitionMapping() if few else dg.IdentityPartitionMapping()
            ),
        }
    )


def partition_key(day: date, symbol: str) -> dg.MultiPartitionKey:
    """Return the key of one partition."""
    return dg.MultiPartitionKey({DAY: day.isoformat(), SYMBOL: symbol})


def days_of(keys: Iterable[str]) -> list[DayOfSymbol]:
    """Return the (day, symbol) pairs of partition keys, in the order given."""
    parts = (key.split("|", 1) for key in keys)
    return [(date.fromisoformat(day), symbol) for day, symbol in parts]


def days_of_run(context: dg.AssetExecutionContext, symbols: Sequence[str]) -> list[DayOfSymbol]:
    """Return the (day, symbol) pairs that a run covers; none, with a warning, if its partitions no longer exist.

    `symbols` are the present ones: they may have changed while the run was queued.
    """
    try:
        days = [(day, symbol) for day, symbol in days_of(context.partition_keys) if symbol in symbols]
    except dg.DagsterInvalidInvocationError:
        days = []
    if not days:
        tags = context.run.tags
        logger.warning(
            "Not all partitions of %s exist any more: MARKET_SYMBOLS or HISTORY_START has changed since this run was "
            "queued. It collects nothing; the next one collects %s",
            " to ".join(tags[tag] for tag in (RANGE_START, RANGE_END, PARTITION) if tag in tags),
            ", ".join(symbols),
        )
    return days


def checked_days(context: dg.AssetCheckExecutionContext) -> list[DayOfSymbol]:
    """Return the (day, symbol) pairs that a check's run covers; none if checks are executed alone from the UI."""
    has_any = context.has_partition_key_range or context.has_partition_key
    return days_of(context.partition_keys) if has_any else []


def range_tags(first: date, last: date, symbols: Sequence[str]) -> dict[str, str]:
    """Return the run tags that make one run cover `first`..`last` of all `symbols`, given in configured order."""
    return {RANGE_START: str(partition_key(first, symbols[0])), RANGE_END: str(partition_key(last, symbols[-1]))}
