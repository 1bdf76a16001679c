"""Simulated runs: the rows that real runs left in Dagster's tables, written again with other ids, days and times.

A tick takes a second. Written again as rows it takes a hundredth, so that ninety days take minutes.
"""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from sqlalchemy import func, insert, select, text, update

EVENTS, TAGS, CHECKS = SqlEventLogStorageTable, AssetEventTagsTable, AssetCheckExecutionsTable
# Each table's rows are written at once; SQLite and PostgreSQL take so many parameters.
_TABLES = (EVENTS, TAGS, CHECKS)
Rows = dict[Any, list[dict[str, Any]]]


@dataclass(frozen=True)
class Template:
    """What a real run over the partitions of `day` left behind: rows by table, and its SQLite file."""

    run_id: str
    day: date
    started: float
    rows: Mapping[Any, Sequence[Mapping[str, Any]]]
    file: Path | None


def recorded(instance: dg.DagsterInstance, run_id: str, day: date, folder: Path) -> Template:
    """Read what a run left behind."""
    rows: dict[Any, list[Mapping[str, Any]]] = {}
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]  # SQL storages
        of_run = select(EVENTS.c.id).where(EVENTS.c.run_id == run_id)
        conditions = {
            EVENTS: EVENTS.c.run_id == run_id, CHECKS: CHECKS.c.run_id == run_id, TAGS: TAGS.c.event_id.in_(of_run)
        }
        for table, condition in conditions.items():
            rows[table] = [dict(row._mapping) for row in connection.execute(select(table).where(condition))]
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # SQL storages
        for table in (RunsTable, RunTagsTable):
            found = connection.execute(select(table).where(table.c.run_id == run_id))
            rows[table] = [dict(row._mapping) for row in found]
    (run,) = rows[RunsTable]
    file = folder / f"{run_id}.db"
    return Template(run_id, day, run["start_time"], rows, file if file.exists() else None)


class Writer:
    """Writes runs like the recorded ones into the storage of `instance`."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance = instance
        self.folder = folder
        self.runs = 0
        self.partitions: dict[tuple[str, str], str] = {}
        self._pending: Rows = {}

    def add(self, template: Template, at: datetime, day: date) -> str:
        """Add a run that started at `at` over the partitions of `day`; it is there after `flush`."""
        run_id, shift = str(uuid.uuid4()), at.timestamp() - template.started
        old_day, new_day = template.day.isoformat(), day.isoformat()

        def renamed(value: Any) -> Any:
            if isinstance(value, str):
                return value.replace(template.run_id, run_id).replace(old_day, new_day)
            return value + timedelta(seconds=shift) if isinstance(value, datetime) else value

        for table, rows in template.rows.items():
            for row in rows:
                copy = {name: renamed(value) for name, value in row.items()}
                if table in (RunsTable, RunTagsTable):
                    copy.pop("id")
                if table is RunsTable:
                    copy |= {name: row[name] and row[name] + shift for name in ("start_time", "end_time")}
                self._pending.setdefault(table, []).append(copy)
                if table is EVENTS and row["dagster_event_type"] == "ASSET_MATERIALIZATION":
                    self.partitions[row["asset_key"], copy["partition"] or ""] = run_id
        if template.file:
            shutil.copyfile(template.file, self.folder / f"{run_id}.db")
        self.runs += 1
        return run_id

    def flush(self) -> None:
        """Write what was added, numbered in its order."""
        pending, self._pending = self._pending, {}
        with self.instance.event_log_storage.index_transaction() as connection:  # type: ignore[attr-defined]  # SQL
            number = (connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0) + 1
            check = (connection.execute(select(func.max(CHECKS.c.id))).scalar() or 0) + 1
            numbers: dict[tuple[str, int], int] = {}
            for row in pending.get(EVENTS, []):
                numbers[row["run_id"], row["id"]] = row["id"] = number
                number += 1
            self._renumber(pending, numbers)
            for row in pending.get(CHECKS, []):
                row["id"], check = check, check + 1
            for table in _TABLES:
                if rows := pending.get(table):
                    connection.execute(insert(table), rows)
            self._renew_assets(connection, pending.get(EVENTS, []))
            if connection.dialect.name == "postgresql":
                for table in (EVENTS, CHECKS):
                    sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                    connection.execute(text(f"SELECT setval({sequence}, (SELECT max(id) FROM {table.name}))"))
        with self.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # SQL storages
            for table in (RunsTable, RunTagsTable):
                if rows := pending.get(table):
                    connection.execute(insert(table), rows)

    @staticmethod
    def _renumber(pending: Rows, numbers: Mapping[tuple[str, int], int]) -> None:
        """Let tags and results of checks refer to the new numbers; tags have no run, but are in the order of runs."""
        olds: dict[int, list[int]] = {}
        for (_, old), new in numbers.items():
            olds.setdefault(old, []).append(new)
        seen: dict[tuple[int, str, str], int] = {}
        for row in pending.get(TAGS, []):
            place = seen.get((row["event_id"], row["asset_key"], row["key"]), 0)
            seen[row["event_id"], row["asset_key"], row["key"]] = place + 1
            row["event_id"] = olds[row["event_id"]][place]
            row.pop("id")
        for row in pending.get(CHECKS, []):
            for name in ("evaluation_event_storage_id", "materialization_event_storage_id"):
                row[name] = numbers.get((row["run_id"], row[name]), row[name])

    @staticmethod
    def _renew_assets(connection: Any, events: Sequence[Mapping[str, Any]]) -> None:
        newest = {row["asset_key"]: row["run_id"] for row in events if row["asset_key"]}
        for asset, run_id in newest.items():
            of_asset = AssetKeyTable.c.asset_key == asset
            connection.execute(update(AssetKeyTable).where(of_asset).values(last_run_id=run_id))
