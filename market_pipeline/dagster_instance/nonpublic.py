"""The parts of Dagster that the code location needs and that are not public, one function each.

Each has a test that fails when Dagster changes the part.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from typing import Any

import dagster as dg
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator

from market_pipeline.logs import get_logger

_MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
# Of all tags of a materialization, this one can be read for many partitions at once.
DATA_VERSION = "dagster/data_version"
# The data version that Dagster assumes where there is no materialization.
NEVER_MATERIALIZED = "INITIAL"
# Each is a parameter of a statement, of which SQLite takes 32,766: those of 90 days of 335 symbols.
_KEYS_AT_ONCE = 10_000
# The job of the runs that a person starts from an asset in the UI or with `dagster asset materialize`.
ASSET_JOB = "__ASSET_JOB"
_REPORT = "market_pipeline/alive/"
_AGAIN_SECONDS = 2.0

logger = get_logger(__name__)


def code_location_name() -> str | None:
    """Return the name of the code location that is being loaded; None outside of a code server."""
    return DefinitionsLoadContext.get().code_location_name


def replace_console_logger(create: Callable[[dg.InitLoggerContext], logging.Logger]) -> None:
    """Let every run of this process log to the console through the logger that `create` returns.

    Dagster chooses the console logger in the run config only, and runs started in the UI have none. Remove this
    when the loggers of `Definitions` hold for every run (`create_log_manager` in
    dagster/_core/execution/context_creation_job.py).
    """
    dg.colored_console_logger._logger_fn = create


def run_of(context: dg.InputContext | dg.OutputContext) -> dg.DagsterRun | None:
    """Return the run that loads the input or stores the output; None for a context built by hand."""
    try:
        return context.step_context.dagster_run
    except dg.DagsterInvariantViolationError:
        return None


def describe_partitions(
    context: dg.AssetExecutionContext, asset: str, metadata: Mapping[str, Mapping[str, Any]]
) -> None:
    """Set the metadata of partitions of this run, by their keys, as `add_asset_metadata` does for one.

    For each of them that method enumerates all partitions of the run and copies the metadata of all: more than half of
    the processor time of a run of 450 whose events are stored in batches.
    """
    step = context.get_step_execution_context()
    described = dict(step._metadata_accumulator.per_output_metadata)
    for key, of_partition in metadata.items():
        described[AssetMetadataHandle(asset_key=dg.AssetKey(asset), partition_key=key)] = of_partition
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=described)


def latest_storage_ids(
    instance: dg.DagsterInstance, asset: str, keys: Iterable[str] | None = None
) -> dict[str, int]:
    """Return the event id of the newest materialization of each partition of `asset` that has one; of `keys` only."""
    if keys is None:
        return dict(instance.get_latest_storage_id_by_partition(dg.AssetKey(asset), _MATERIALIZATION))
    found: dict[str, int] = {}
    for some in _chunks(keys):
        found |= instance.get_latest_storage_id_by_partition(dg.AssetKey(asset), _MATERIALIZATION, set(some))
    return found


def planned_storage_ids(instance: dg.DagsterInstance, asset: str) -> dict[str, int]:
    """Return the event id with which a run was last planned to materialize each partition of `asset`."""
    return dict(instance.get_latest_storage_id_by_partition(dg.AssetKey(asset), _PLANNED))


def data_versions(
    instance: dg.DagsterInstance, asset: str, keys: Iterable[str] | None = None
) -> dict[str, str]:
    """Return the data version of the newest materialization of each partition of `asset`, or of those of `keys`."""
    versions: dict[str, str] = {}
    for some in [None] if keys is None else _chunks(keys):
        tags = instance.event_log_storage.get_latest_tags_by_partition(
            dg.AssetKey(asset), _MATERIALIZATION, [DATA_VERSION], some
        )
        versions |= {key: found[DATA_VERSION] for key, found in tags.items() if DATA_VERSION in found}
    return versions


def version_storage_ids(instance: dg.DagsterInstance, asset: str, keys: Iterable[str]) -> dict[str, int]:
    """Return the id of the event that brought the data version of the newest materialization of each partition.

    Later events of the same version reported the partition again. A partition without a version is left out.
    """
    from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
    from sqlalchemy import func, select

    storage, events, tags = instance.event_log_storage, SqlEventLogStorageTable.c, AssetEventTagsTable.c
    if not isinstance(storage, SqlEventLogStorage):
        return {}
    first = select(events.partition, tags.value, func.min(events.id)).where(
        events.asset_key == dg.AssetKey(asset).to_string(), events.dagster_event_type == _MATERIALIZATION.value,
        tags.event_id == events.id, tags.key == DATA_VERSION,
    ).group_by(events.partition, tags.value)
    found: dict[str, int] = {}
    for some in _chunks(keys):
        newest = data_versions(instance, asset, some)
        with storage.index_connection() as connection:
            for key, version, number in connection.execute(first.where(events.partition.in_(some))):
                if newest.get(key) == version:
                    found[key] = number
    return found


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    every = list(keys)
    for first in range(0, len(every), _KEYS_AT_ONCE):
        yield every[first : first + _KEYS_AT_ONCE]


def materialized_partitions(instance: dg.DagsterInstance, asset: str) -> set[str]:
    """Return the partitions of `asset` that were ever materialized."""
    return instance.get_materialized_partitions(dg.AssetKey(asset))


def keep_reporting_dead_runs() -> None:
    """Let the code server of this process, if it is one, report runs whose process died also after an outage.

    Its thread would end with the first error of Dagster's storage: a run that died while PostgreSQL was down, and all
    that die later, would stay in progress until their time limit, and their schedule would skip meanwhile.
    """
    if (module := sys.modules.get("dagster._grpc.server")) is None:
        return
    stock = module.DagsterApiServer._check_for_orphaned_runs
    if hasattr(stock, "__wrapped__"):
        return

    @wraps(stock)
    def check(self: Any) -> None:
        try:
            stock(self)
        # The storage may be any of several.
        except Exception as error:
            logger.warning("Runs whose process has ended cannot be reported yet: %r", error)
            self._server_termination_event.wait(_AGAIN_SECONDS)

    module.DagsterApiServer._check_for_orphaned_runs = check


def count_runs(instance: dg.DagsterInstance) -> int:
    """Return how many runs `instance` has."""
    return instance.get_runs_count()


def cancel_run(instance: dg.DagsterInstance, run_id: str, message: str) -> None:
    """Mark a run of this process as canceled, unless it succeeded or was never created."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_success:
        instance.report_run_canceled(run, message)


def report_alive(instance: dg.DagsterInstance, process: str, now: datetime) -> None:
    """Store that `process`, a name that no other has, was alive at `now`."""
    instance.daemon_cursor_storage.set_cursor_values({f"{_REPORT}{process}": now.isoformat()})


def last_report(instance: dg.DagsterInstance, process: str) -> datetime | None:
    """Return when `process` last reported that it is alive; None if it never did."""
    key = f"{_REPORT}{process}"
    found = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    return datetime.fromisoformat(found) if found else None


def silent_processes(instance: dg.DagsterInstance, since: datetime) -> list[str]:
    """Return the processes that reported before `since` (UTC) and not after it."""
    from dagster._core.storage.runs.schema import KeyValueStoreTable
    from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
    from sqlalchemy import select

    storage, columns = instance.run_storage, KeyValueStoreTable.c
    if not isinstance(storage, SqlRunStorage):
        return []
    reports = select(columns.key).where(columns.key.startswith(_REPORT), columns.value < since.isoformat())
    with storage.connect() as connection:
        return [key.removeprefix(_REPORT) for key in connection.execute(reports).scalars()]


def delete_reports(instance: dg.DagsterInstance, processes: Iterable[str]) -> None:
    """Delete what these processes reported."""
    from dagster._core.storage.runs.schema import KeyValueStoreTable
    from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
    from sqlalchemy import delete

    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        return
    for keys in _chunks(f"{_REPORT}{process}" for process in processes):
        with storage.connect() as connection:
            connection.execute(delete(KeyValueStoreTable).where(KeyValueStoreTable.c.key.in_(keys)))
