"""If this fails, Dagster has changed how its storages connect: see `dagster_instance/event_log.py`."""

import sqlite3
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from sqlalchemy import URL, event, text
from sqlalchemy.engine import Engine

from market_pipeline.dagster_instance.event_log import keep_event_log_connections
from market_pipeline.dagster_instance.home import create_instance, open_instance, own_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.settings import load_settings
from market_pipeline_tests.forking import in_a_fork
from market_pipeline_tests.postgres import administering


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


@pytest.fixture
def stock_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave Dagster's storages as they were."""
    for storage, names in (
        (PostgresEventLogStorage, ("_connect", "dispose", "has_table", "has_asset_key_col",
                                   "_has_asset_key_col_on_connection")),
        (PostgresRunStorage, ("connect", "dispose")),
    ):
        for name in names:
            monkeypatch.setattr(storage, name, getattr(storage, name))


@pytest.mark.usefixtures("stock_postgresql")
def test_a_run_on_postgresql_has_two_sessions_and_survives_their_end(
    tmp_path: Path, empty_postgres_url: URL
) -> None:
    """They end when the server restarts."""
    opened: list[object] = []

    def add(connection: object, record: object) -> None:
        opened.append(connection)

    url = empty_postgres_url.render_as_string(hide_password=False)
    storage = storage_of(load_settings(env_file=None, database_url=url))
    with own_home(tmp_path, storage, ours=True):
        create_instance(tmp_path, storage)
    with open_instance(tmp_path, storage) as instance:
        keep_event_log_connections()
        assert dg.materialize([an_asset], instance=instance).success
        event.listen(Engine, "connect", add)
        try:
            first = dg.materialize([an_asset], instance=instance)
            assert first.success and opened == []
            with administering(empty_postgres_url) as run:
                ended = run(_END_SESSIONS)
            assert len(ended) == 2, "one of the runs, one of the events"
            opened.clear()
            second = dg.materialize([an_asset], instance=instance)
            assert second.success and len(opened) == 2
        finally:
            event.remove(Engine, "connect", add)
        assert len(instance.all_logs(first.run_id)) == len(instance.all_logs(second.run_id))
    with administering(empty_postgres_url) as run:
        assert run(_END_SESSIONS) == [], "they end with the instance"


@pytest.mark.usefixtures("stock_postgresql")
def test_a_forked_process_opens_sessions_of_its_own(tmp_path: Path, empty_postgres_url: URL) -> None:
    """Two processes on one session would read each other's answers, and the first to end would close it."""
    url = empty_postgres_url.render_as_string(hide_password=False)
    storage = storage_of(load_settings(env_file=None, database_url=url))
    with own_home(tmp_path, storage, ours=True):
        create_instance(tmp_path, storage)
    with open_instance(tmp_path, storage) as instance:
        keep_event_log_connections()
        before = _sessions(instance)
        in_child = in_a_fork(lambda: _sessions(instance))
        assert len({*before, *in_child}) == 4, "one of the runs and one of the events in each"
        assert _sessions(instance) == before


def _sessions(instance: dg.DagsterInstance) -> list[int]:
    """The server's processes behind the storages of runs and of events."""
    runs, events = instance.run_storage, instance.event_log_storage
    assert isinstance(runs, PostgresRunStorage) and isinstance(events, PostgresEventLogStorage)
    with runs.connect() as of_runs, events.index_connection() as of_events:
        pid = text("SELECT pg_backend_pid()")
        return [connection.execute(pid).scalar_one() for connection in (of_runs, of_events)]


_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
