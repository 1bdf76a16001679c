"""Materializations that Dagster does not record by itself: their events, and when the last one was.

Dagster marks partitions by the outputs of its runs. A price that the API collected has no run, and a run may update
partitions that it was not started for.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from market_pipeline.core.slices import DayOfSymbol

if TYPE_CHECKING:
    from dagster import AssetMaterialization, DagsterInstance


def partition_name(day: DayOfSymbol) -> str:
    """Return the name of a partition in Dagster: `2026-11-23|BTC`."""
    return f"{day[0]}|{day[1]}"


def as_metadata(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a partition as Dagster shows them: `rows` as its row count, times as timestamps."""
    from dagster import MetadataValue

    return {
        "dagster/row_count" if name == "rows" else name:
        MetadataValue.timestamp(value) if isinstance(value, datetime) else value
        for name, value in facts.items()
    }


def materialization(asset: str, day: DayOfSymbol, metadata: dict[str, Any]) -> "AssetMaterialization":
    """Return the event that records that the partition `day` of `asset` was updated."""
    from dagster import AssetMaterialization, MultiPartitionKey

    # The dimensions of defs.partitions; a plain name would leave the event without their tags.
    key = MultiPartitionKey({"day": day[0].isoformat(), "symbol": day[1]})
    return AssetMaterialization(asset_key=asset, partition=key, metadata=metadata)


def last_materialized(
    instance: "DagsterInstance", asset: str, days: Collection[DayOfSymbol]
) -> datetime | None:
    """Return when one of the partitions `days` of `asset` was last materialized (aware UTC), None if none was."""
    from dagster import AssetKey, AssetRecordsFilter

    names = [partition_name(day) for day in days]
    wanted = AssetRecordsFilter(asset_key=AssetKey(asset), asset_partitions=names)
    found = instance.fetch_materializations(wanted, limit=1).records
    return datetime.fromtimestamp(found[0].timestamp, timezone.utc) if found else None
