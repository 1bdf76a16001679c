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


def partitions_to_copy(
    source: "dg.DagsterInstance", target: "dg.DagsterInstance", assets: Sequence[str]
) -> list[Materialized]:
    """Return the partitions of `assets` that `target` lacks, or has in an older version, oldest materialization first.

    A partition that was materialized in the target after the source's newest materialization stays as it is.
    """
    from market_pipeline.dagster_instance.nonpublic import latest_storage_ids, materialized_partitions

    found: list[Materialized] = []
    for asset in assets:
        here, there = materialized_partitions(source, asset), materialized_partitions(target, asset)
        wanted = here - there | _renewed(source, target, asset, here & there)
        found += [(number, asset, key) for key, number in latest_storage_ids(source, asset, wanted).items() if wanted]
    return sorted(found)


def _renewed(source: "dg.DagsterInstance", target: "dg.DagsterInstance", asset: str, keys: set[str]) -> set[str]:
    """Return the partitions of which the source has another version, materialized after that of the target."""
    from market_pipeline.dagster_instance.nonpublic import data_versions

    versions = data_versions(target, asset, keys)
    differing = [key for key, version in data_versions(source, asset, keys).items() if versions.get(key) != version]
    return {key for key in differing if _newest(source, asset, key).timestamp > _newest(target, asset, key).timestamp}


def _newest(instance: "dg.DagsterInstance", asset: str, key: str) -> "dg.EventLogRecord":
    import dagster as dg

    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    return record


def copy_partition(source: "dg.DagsterInstance", target: "dg.DagsterInstance", one: Materialized) -> None:
    """Report the newest materialization of a partition to `target` as an event without a run."""
    _, asset, key = one
    record = _newest(source, asset, key)
    if record.asset_materialization is not None:
        target.report_runless_asset_event(record.asset_materialization)
