"""The asset `price_anomalies`: the flagged moves of each day, scored with the days before it."""

from collections import Counter

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.defs.metadata import GROUP, OWNERS, lineage, table_metadata
from market_pipeline.defs.partitions import SINGLE_RUN, days_of, lead_mapping, partition_key
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.logs import traced
from market_pipeline.storage import tables
from market_pipeline.storage.columns import Columns

PRICE_ANOMALIES = "price_anomalies"

_PRICES = ["symbol", "timestamp", "price"]
_LINEAGE = lineage(
    RAW_PRICES,
    {
        "symbol": ["symbol"],
        "timestamp": ["timestamp"],
        "timestamp_before": ["timestamp"],
        "elapsed_seconds": ["timestamp"],
        "price_before": ["price"],
        "price_after": ["price"],
        "move": ["price"],
        "direction": ["price"],
        "score": ["price", "timestamp"],
        "expected_move": ["price", "timestamp"],
        "explanation": _PRICES,
    },
)


def build_price_anomalies(partitions: dg.MultiPartitionsDefinition, kinds: set[str]) -> dg.AssetsDefinition:
    """The asset over the same partitions as `raw_prices`."""

    @dg.asset(
        name=PRICE_ANOMALIES,
        description=f"Flagged moves of each day. A day is scored with its own quotes and those of the {LEAD_DAYS} days "
        "before it, so that computing it again, alone or in a range, gives the same rows. Each row says what moved, "
        "by how much, what was expected, and why it was flagged.",
        partitions_def=partitions,
        backfill_policy=SINGLE_RUN,
        ins={RAW_PRICES: dg.AssetIn(partition_mapping=lead_mapping(), metadata={"columns": _PRICES})},
        metadata={
            **table_metadata(tables.price_anomalies, write_mode="replace"),
            "dagster/column_lineage": _LINEAGE,
        },
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
    )
    def price_anomalies(context: dg.AssetExecutionContext, raw_prices: Columns) -> Columns:
        from market_pipeline.anomalies.detect import detect_days
        from market_pipeline.storage.records import columns_of

        wanted = days_of(context.partition_keys)
        with traced(context.run.run_id):
            anomalies = detect_days(raw_prices, wanted)
        counts = Counter((anomaly.timestamp.date(), anomaly.symbol) for anomaly in anomalies)
        for day in wanted:
            context.add_asset_metadata({"dagster/row_count": counts[day]}, partition_key=partition_key(*day))
        return columns_of(tables.price_anomalies, anomalies)

    return price_anomalies
