"""Materializations that Dagster does not record by itself: their events, and when the last one was.

Dagster marks partitions by the outputs of its runs. A price that the API collected has no run, and a run may update
partitions that it was not started for.
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.pipeline.collect import CLOCK_SKEW

if TYPE_CHECKING:
    from dagster import AssetMaterialization, DagsterInstance


def partition_name(day: DayOfSymbol) -> str:
    """Return the name of a partition in Dagster: `2026-11-23|BTC`."""
    return f"{day[0]}|{day[1]}"


def as_metadata(day: DayOfSymbol, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of the partition `day` as Dagster shows them.

    The UI plots each number of all partitions as one line. So prices and ratios get the name of their symbol, and
    counts are text, except for `rows`, which is the row count of Dagster.
    """
    return dict(_entry(day, name, value) for name, value in facts.items())


def _entry(day: DayOfSymbol, name: str, value: Any) -> tuple[str, Any]:
    from dagster import MetadataValue

    if name == "rows":
        return "dagster/row_count", value
    if isinstance(value, float) and name != CLOCK_SKEW:
        return number_name(day[1], name), shown_number(value)
    if isinstance(value, datetime):
        return name, MetadataValue.timestamp(value)
    if isinstance(value, tuple):
        return name, MetadataValue.md("\n".join(f"- {markdown(line)}" for line in value))
    return name, str(value) if isinstance(value, int) else value


def number_name(symbol: str, name: str) -> str:
    """Return the name of a number of `symbol`: the UI sorts plots by name, capital letters first."""
    return f"{symbol}/{name}"


def shown_number(value: float) -> float:
    """Return `value` to the digits that a plot can show."""
    return float(f"{value:.7g}")


def markdown(text: str) -> str:
    """Return `text` so that Markdown shows it verbatim."""
    return re.sub(r"([\\`*_\[\]<>~|#])", r"\\\1", text)


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
