"""The tables and files in which Dagster keeps runs: which runs carry a status, their deletion, their size.

`DagsterInstance.delete_run` deletes one run per call, leaves the results of its checks in their table, and on SQLite
leaves the run's file. These statements delete many runs at once and all that belongs to them. Interrupted between two
of them, a run is left with a part of its events, none of which carries a status; the next deletion finds it again.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.schema import RunsTable, RunStorageSqlMetadata, RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from sqlalchemy import and_, delete, func, or_, select, text

from market_pipeline.core.clock import DAY
from market_pipeline.storage.disk import compact, size_of

T = TypeVar("T")

_MATERIALIZED = dg.DagsterEventType.ASSET_MATERIALIZATION.value
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
_OBSERVED = dg.DagsterEventType.ASSET_OBSERVATION.value
# Statuses of a check that was executed; others are planned, or were skipped.
_EVALUATED = ("SUCCEEDED", "FAILED")
# Below the limit of parameters of every database.
_IDS_PER_STATEMENT = 500
_INDEX = "index"
# A file without a run may be that of a run which is just being created.
_ORPHANED_AFTER = DAY


class UnknownStorage(RuntimeError):
    """Dagster's storage is no SQL database."""


def carriers(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs without which a status would change.

    They hold the newest materialization or observation of a partition, an attempt since then (a failed one shows as
    such), or the newest result of a check. With them the run of the newest event of all: SQLite gives the number of a
    deleted last event again, and Dagster's cursors would skip the next one.
    """
    with _events(instance).index_connection() as connection:
        found = {row for statement in _carrying() for row in connection.execute(statement).scalars()}
    return found - {None, ""}


def _carrying() -> Iterator[Any]:
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c

    def newest(kind: str) -> Any:
        return (
            select(
                events.asset_key.label("asset"), func.coalesce(events.partition, "").label("part"),
                func.max(events.id).label("id"),
            )
            .where(events.dagster_event_type == kind, events.asset_key.is_not(None))
            .group_by(events.asset_key, events.partition)
            .subquery()
        )

    materialized, planned, observed = newest(_MATERIALIZED), newest(_PLANNED), newest(_OBSERVED)
    for found in (materialized, observed):
        yield select(events.run_id).join(found, found.c.id == events.id).distinct()
    same = and_(planned.c.asset == materialized.c.asset, planned.c.part == materialized.c.part)
    yield (
        select(events.run_id)
        .join(planned, planned.c.id == events.id)
        .outerjoin(materialized, same)
        .where(or_(materialized.c.id.is_(None), materialized.c.id < planned.c.id))
        .distinct()
    )
    for wanted in (checks.id.is_not(None), checks.execution_status.in_(_EVALUATED)):
        of_each = select(func.max(checks.id)).where(wanted)
        newest_ids = of_each.group_by(checks.asset_key, checks.check_name, checks.partition)
        yield select(checks.run_id).where(checks.id.in_(newest_ids)).distinct()
    yield select(AssetKeyTable.c.last_run_id)
    yield select(events.run_id).order_by(events.id.desc()).limit(1)


def delete_runs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete these runs, their events, results of checks, logs and files.

    The run itself goes last: as long as it is there, an interrupted deletion is repeated.
    """
    storage, events = _events(instance), SqlEventLogStorageTable.c
    checks = AssetCheckExecutionsTable.c
    with storage.index_connection() as connection:
        every_check = connection.execute(select(checks.asset_key, checks.check_name).distinct()).all()
    for ids in _chunks(run_ids, _IDS_PER_STATEMENT):
        with storage.index_transaction() as connection:
            of_runs = select(events.id).where(events.run_id.in_(ids))
            connection.execute(delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(of_runs)))
            for asset, check in every_check:
                # The index begins with these two; by the run alone every row would be read.
                of_check = and_(checks.asset_key == asset, checks.check_name == check, checks.run_id.in_(ids))
                connection.execute(delete(AssetCheckExecutionsTable).where(of_check))
            connection.execute(delete(SqlEventLogStorageTable).where(events.run_id.in_(ids)))
        for run_id in ids:
            delete_files(instance, run_id)
        with _runs(instance).connect() as connection:
            connection.execute(delete(RunTagsTable).where(RunTagsTable.c.run_id.in_(ids)))
            connection.execute(delete(RunsTable).where(RunsTable.c.run_id.in_(ids)))


def delete_files(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the captured output of a run, and on SQLite its database."""
    storage = instance.event_log_storage
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    if isinstance(storage, SqliteEventLogStorage):
        # The database last: its name is what an interrupted deletion is found by.
        for suffix in ("-wal", "-shm", ""):
            Path(f"{storage.path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)


def orphans(instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """Return the ids of runs that are gone and whose files are left at `now` (aware).

    Dagster leaves them when it deletes a run, and creates a file when the page of a deleted run is opened.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return []
    databases = {file.stem: file for file in Path(storage.path_for_shard(_INDEX)).parent.glob("*.db")}
    logs = {folder.name: folder for folder in Path(instance.storage_directory()).glob("*-*-*-*-*")}
    limit = (now - _ORPHANED_AFTER).timestamp()
    old = [
        name for name, path in {**logs, **databases}.items()
        if _is_run_id(name) and path.stat().st_mtime < limit
    ]
    known: set[str] = set()
    with _runs(instance).connect() as connection:
        for ids in _chunks(old, _IDS_PER_STATEMENT):
            known |= set(connection.execute(select(RunsTable.c.run_id).where(RunsTable.c.run_id.in_(ids))).scalars())
    return [name for name in old if name not in known]


def is_on_this_disk(instance: dg.DagsterInstance) -> bool:
    """Return whether Dagster's storage is SQLite files in its home."""
    return isinstance(instance.event_log_storage, SqliteEventLogStorage)


def stored_bytes(instance: dg.DagsterInstance) -> int:
    """Return how much of its disk Dagster's storage takes."""
    storage = _events(instance)
    if isinstance(storage, SqliteEventLogStorage):
        folders = (Path(instance.root_directory, name) for name in ("history", "schedules", "storage"))
        return sum(size_of(file) for folder in folders for file in folder.rglob("*"))
    metadata = (SqlEventLogStorageMetadata, RunStorageSqlMetadata, ScheduleStorageSqlMetadata)
    names = {table for tables in metadata for table in tables.tables}
    statement = text(
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class "
        "WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(:names)"
    )
    with storage.index_connection() as connection:
        # Otherwise it is in memory.
        if connection.dialect.name != "postgresql":
            return 0
        return int(connection.execute(statement, {"names": sorted(names)}).scalar_one())


def vacuum(instance: dg.DagsterInstance) -> str:
    """Make the room of deleted rows usable; return what was done.

    PostgreSQL reuses it from then on; SQLite does so by itself.
    """
    storage = _events(instance)
    if isinstance(storage, SqliteEventLogStorage):
        return compact(Path(storage.path_for_shard(_INDEX)))
    with storage.index_connection() as connection:
        if connection.dialect.name != "postgresql":
            return "not needed"
        tables = (SqlEventLogStorageTable, AssetEventTagsTable, AssetCheckExecutionsTable, RunsTable, RunTagsTable)
        for table in tables:
            connection.execute(text(f"VACUUM (ANALYZE) {table.name}"))
    return "done"


def _events(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise UnknownStorage(f"{type(storage).__name__} of Dagster is no SQL database")
    return storage


def _runs(instance: dg.DagsterInstance) -> SqlRunStorage:
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise UnknownStorage(f"{type(storage).__name__} of Dagster is no SQL database")
    return storage


def _is_run_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
