"""Report to one instance what another knows of partitions: the newest materialization of each, in the same order.

Runs and their logs stay where they are: partitions show as materialized, with metadata and data version, and which are
outdated is decided by the order of the events.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from market_pipeline.dagster_instance.home import files_instance, open_instance
from market_pipeline.dagster_instance.instance_storage import InstanceStorage

if TYPE_CHECKING:
    import dagster as dg

# Of one materialization: its number in the event log, asset and partition.
Materialized = tuple[int, str, str]


@contextmanager
def instance_of(home: Path, storage: InstanceStorage) -> Iterator["dg.DagsterInstance"]:
    """Open the instance in `home` with `storage`, whatever its dagster.yaml refers to."""
    with files_instance(home) if storage.url is None else open_instance(home, storage) as instance:
        yield instance


def missing_partitions(
    source: "dg.DagsterInstance", target: "dg.DagsterInstance", assets: Sequence[str]
) -> list[Materialized]:
    """Return the partitions of `assets` that only `source` has as materialized, the oldest materialization first."""
    from market_pipeline.dagster_instance.nonpublic import latest_storage_ids, materialized_partitions

    found: list[Materialized] = []
    for asset in assets:
        missing = materialized_partitions(source, asset) - materialized_partitions(target, asset)
        found += [(number, asset, key) for key, number in latest_storage_ids(source, asset, missing).items() if missing]
    return sorted(found)


def copy_partition(source: "dg.DagsterInstance", target: "dg.DagsterInstance", one: Materialized) -> None:
    """Report the newest materialization of a partition to `target` as an event without a run."""
    import dagster as dg

    _, asset, key = one
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
    (record,) = source.fetch_materializations(wanted, limit=1).records
    if record.asset_materialization is not None:
        target.report_runless_asset_event(record.asset_materialization)
