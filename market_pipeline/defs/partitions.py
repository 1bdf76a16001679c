"""Partitions: one address per UTC day and symbol, `2026-11-23|BTC`, today included.

Also how a run's partition keys become days of symbols and how a range of them is asked for.
"""

from collections.abc import Iterable, Sequence
from datetime import date

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

DAY = "day"
SYMBOL = "symbol"

# The run tags with which Dagster makes one run cover a range of partitions.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

# One run may cover many partitions: it collects them with the fewest requests.
SINGLE_RUN = dg.BackfillPolicy.single_run()


def price_partitions(history_start: date, symbols: Sequence[str]) -> dg.MultiPartitionsDefinition:
    """Day x symbol from `history_start` to today; days begin at midnight UTC."""
    return dg.MultiPartitionsDefinition(
        {
            # Without the offset the newest partition would be yesterday's.
            DAY: dg.DailyPartitionsDefinition(
                start_date=history_start.isoformat(), timezone="UTC", end_offset=1
            ),
            SYMBOL: dg.StaticPartitionsDefinition(list(symbols)),
        }
    )


def lead_mapping() -> dg.MultiPartitionMapping:
    """A day of a symbol reads that day and the `LEAD_DAYS` before it, of all symbols, which tell the market."""
    days = dg.TimeWindowPartitionMapping(start_offset=-LEAD_DAYS, allow_nonexistent_upstream_partitions=True)
    return dg.MultiPartitionMapping(
        {
            DAY: dg.DimensionPartitionMapping(DAY, days),
            SYMBOL: dg.DimensionPartitionMapping(SYMBOL, dg.AllPartitionMapping()),
        }
    )


def partition_key(day: date, symbol: str) -> dg.MultiPartitionKey:
    """The key of one address."""
    return dg.MultiPartitionKey({DAY: day.isoformat(), SYMBOL: symbol})


def days_of(keys: Iterable[str]) -> list[tuple[date, str]]:
    """Return the (day, symbol) pairs of partition keys, in the order given."""
    parts = (key.split("|", 1) for key in keys)
    return [(date.fromisoformat(day), symbol) for day, symbol in parts]


def wanted_days(context: dg.AssetExecutionContext, symbols: Sequence[str]) -> list[tuple[date, str]]:
    """The (day, symbol) pairs that a run is over; none, which is logged, if its partitions no longer exist.

    A run that was queued keeps its range while `symbols`, those of now, may have changed.
    """
    try:
        wanted = [(day, symbol) for day, symbol in days_of(context.partition_keys) if symbol in symbols]
    except dg.DagsterInvalidInvocationError:
        wanted = []
    if not wanted:
        tags = context.run.tags
        partitions = " to ".join(tags[tag] for tag in (RANGE_START, RANGE_END, "dagster/partition") if tag in tags)
        logger.warning(
            "Not all partitions of %s exist any more: MARKET_SYMBOLS or HISTORY_START has changed since this run was "
            "queued. It collects nothing; the next one collects %s", partitions, ", ".join(symbols),
        )
    return wanted


def range_tags(first: date, last: date, symbols: Sequence[str]) -> dict[str, str]:
    """Run tags that make one run cover `first`..`last` of all `symbols` (given in configured order)."""
    return {
        RANGE_START: str(partition_key(first, symbols[0])),
        RANGE_END: str(partition_key(last, symbols[-1])),
    }
