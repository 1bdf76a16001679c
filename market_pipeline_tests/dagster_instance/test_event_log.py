"""If this fails, Dagster has changed how its SQLite event log connects: see `dagster_instance/event_log.py`."""

import sqlite3
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from sqlalchemy import event
from sqlalchemy.engine import Engine

from market_pipeline.dagster_instance.event_log import keep_event_log_connections
from market_pipeline.dagster_instance.home import open_instance


@dg.asset
def an_asset() -> None:
    """Materialize nothing."""


def test_a_run_connects_to_each_file_once_and_its_events_are_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[str] = Counter()

    def count(connection: sqlite3.Connection, record: object) -> None:
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        opened[Path(file).name] += 1

    for name in ("_connect", "dispose"):
        monkeypatch.setattr(SqliteEventLogStorage, name, getattr(SqliteEventLogStorage, name))
    keep_event_log_connections()
    keep_event_log_connections()
    event.listen(Engine, "connect", count)
    try:
        with open_instance(tmp_path) as instance:
            opened.clear()
            result = dg.materialize([an_asset], instance=instance)
            stored = instance.all_logs(result.run_id)
            assert instance.get_latest_materialization_event(dg.AssetKey("an_asset")) is not None
    finally:
        event.remove(Engine, "connect", count)
    assert [log.get_dagster_event().event_type for log in stored if log.is_dagster_event][-1] == (
        dg.DagsterEventType.RUN_SUCCESS
    )
    assert opened[f"{result.run_id}.db"] <= 2, "creating the file takes two at once"
    assert opened["index.db"] <= 1
    assert opened["runs.db"] > 1, "the run storage, which is left as it is, shows that connections are counted"


def test_few_connections_stay_open_and_none_after_the_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code server reads the events of many runs."""
    open_now: set[object] = set()

    def add(connection: object, record: object) -> None:
        open_now.add(connection)

    def remove(connection: object, record: object) -> None:
        open_now.discard(connection)

    for name in ("_connect", "dispose"):
        monkeypatch.setattr(SqliteEventLogStorage, name, getattr(SqliteEventLogStorage, name))
    with open_instance(tmp_path) as instance:
        keep_event_log_connections()
        event.listen(Engine, "connect", add)
        event.listen(Engine, "close", remove)
        try:
            for _ in range(2):
                for number in range(6):
                    assert instance.event_log_storage.get_logs_for_run(f"run-{number}") == []
            assert 0 < len(open_now) <= 4
            instance.event_log_storage.dispose()
            assert open_now == set()
        finally:
            event.remove(Engine, "connect", add)
            event.remove(Engine, "close", remove)
