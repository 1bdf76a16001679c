"""Events of many partitions stored in one transaction.

A run stores an event for each of its partitions when it is created and again when each asset is written. Dagster 1.13
hands them over in batches where DAGSTER_EVENT_BATCH_SIZE is set. Its SQLite event log stores such a batch one by one,
with three transactions an event, and dagster-postgres does so with the events of a run's creation.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._serdes import serialize_value
from sqlalchemy import Connection

from market_pipeline.settings import EVENT_BATCH_SIZE

if TYPE_CHECKING:
    from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
    from dagster._core.events.log import EventLogEntry
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

_Row = dict[str, Any]

_SQLITE = "dagster._core.storage.event_log.sqlite.sqlite_event_log"
_POSTGRESQL = "dagster_postgres.event_log.event_log"
_SIZE = "DAGSTER_EVENT_BATCH_SIZE"

_PLANNED_CHECK = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
_OF_ASSETS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}


def store_events_in_batches() -> None:
    """Let the event logs of this process store batches in one transaction.

    Call it when the instance is open: a process without one need not pay for importing the storage.
    """
    # Dagster's own commands may have been started without it, or with an empty one, which Dagster cannot read.
    if not os.environ.get(_SIZE):
        os.environ[_SIZE] = str(EVENT_BATCH_SIZE)
    if module := sys.modules.get(_SQLITE):
        module.SqliteEventLogStorage.store_event_batch = _store_in_two_files
    if module := sys.modules.get(_POSTGRESQL):
        module.PostgresEventLogStorage.store_event_batch = _store_in_one_database


def _store_in_one_database(self: "SqlEventLogStorage", events: Sequence["EventLogEntry"]) -> None:
    if not _belong_together(events):
        return _store_one_by_one(self, events)
    with self.index_transaction() as connection:
        _store(self, connection, events, [self._event_to_row(event) for event in events])


def _store_in_two_files(self: "SqlEventLogStorage", events: Sequence["EventLogEntry"]) -> None:
    """Store in the file of the run, then in the index of all runs, as Dagster does with a single event.

    Dagster stores the events one by one if this fails. A check that is planned twice in the index could then not be
    evaluated; so the index, which other processes write to as well, comes last, and what the run's file has is undone.
    """
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as table

    if not _belong_together(events):
        return _store_one_by_one(self, events)
    rows, run_id = [self._event_to_row(event) for event in events], events[0].run_id
    with self.run_connection(run_id) as connection:
        numbers = _insert(connection, rows)
    try:
        with self.index_transaction() as connection:
            _store(self, connection, events, rows)
    except Exception:
        with self.run_connection(run_id) as connection:
            connection.execute(table.delete().where(table.c.id.between(numbers[0], numbers[-1])))
        raise


def _belong_together(events: Sequence["EventLogEntry"]) -> bool:
    of_one_run = len({event.run_id for event in events}) == 1
    return of_one_run and all(event.dagster_event_type in (*_OF_ASSETS, _PLANNED_CHECK) for event in events)


def _store_one_by_one(storage: "SqlEventLogStorage", events: Sequence["EventLogEntry"]) -> None:
    for event in events:
        storage.store_event(event)


def _store(
    storage: "SqlEventLogStorage", connection: Connection, events: Sequence["EventLogEntry"], rows: list[_Row]
) -> None:
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    numbered = list(zip(events, _insert(connection, rows), strict=True))
    of_assets = [(event, number) for event, number in numbered if event.dagster_event_type in _OF_ASSETS]
    if of_assets:
        storage._store_asset_event_tags(connection, *zip(*of_assets, strict=True))
    # Only the newest event of each asset is kept beside its key.
    newest = {event.get_dagster_event().asset_key: (event, number) for event, number in of_assets}
    for event, number in newest.values():
        storage._store_asset_event(connection, event, number)
    if checks := [
        row for event, number in numbered if event.dagster_event_type is _PLANNED_CHECK
        for row in _planned_evaluations(storage, event, number)
    ]:
        connection.execute(AssetCheckExecutionsTable.insert(), checks)


def _insert(connection: Connection, rows: list[_Row]) -> Sequence[int]:
    """Return the ids of the rows, in their order."""
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as table

    statement = table.insert().returning(table.c.id, sort_by_parameter_order=True)
    return connection.execute(statement, rows).scalars().all()


def _planned_evaluations(storage: "SqlEventLogStorage", event: "EventLogEntry", number: int) -> Iterator[_Row]:
    """Yield the rows of a planned check, one for each partition."""
    planned = cast("AssetCheckEvaluationPlanned", event.get_dagster_event().event_specific_data)
    time: datetime = storage._event_insert_timestamp(event)  # type: ignore[no-untyped-call]  # Dagster's
    for partition in planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]:
        yield {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "partition": partition,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": time,
            "evaluation_event_storage_id": number,
        }
