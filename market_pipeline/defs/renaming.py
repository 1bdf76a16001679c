"""Report the partitions of a renamed symbol to Dagster under the new name."""

import dagster as dg

from market_pipeline.defs.partitions import days_of_text, partition_key
from market_pipeline.defs.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.raw_prices import RAW_PRICES, REJECTED_PRICES

# Dagster's name for the tag that says which detectors were at work.
_DATA_VERSION = "dagster/data_version"


def report_renamed(instance: dg.DagsterInstance, old: str, new: str) -> int:
    """Report every partition that was materialized as `old` as `new`, unless it is; how many were reported."""
    return sum(_report(instance, asset, old, new) for asset in (RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES))


def _report(instance: dg.DagsterInstance, asset: str, old: str, new: str) -> int:
    key = dg.AssetKey(asset)
    there = instance.get_materialized_partitions(key)
    days = [day for day, symbol in days_of_text(there) if symbol == old]
    wanted = {str(partition_key(day, old)): str(partition_key(day, new)) for day in sorted(days)}
    left = {before: after for before, after in wanted.items() if after not in there}
    versions = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [_DATA_VERSION], list(left)
    )
    for before, after in left.items():
        event = dg.AssetMaterialization(
            key, partition=after, metadata={"renamed_from": old}, tags=dict(versions.get(before, {}))
        )
        instance.report_runless_asset_event(event)
    return len(left)
