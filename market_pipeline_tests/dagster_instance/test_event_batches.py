"""If this fails, Dagster has changed how it stores events: see `dagster_instance/event_batches.py`."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy import URL, Connection, MetaData, event, select
from sqlalchemy.engine import Engine

from market_pipeline.dagster_instance.event_batches import store_events_in_batches
from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.defs.partitions import SINGLE_RUN

DAYS = dg.StaticPartitionsDefinition([f"day {number}" for number in range(12)])
ALL_DAYS = {"dagster/asset_partition_range_start": "day 0", "dagster/asset_partition_range_end": "day 11"}


@dg.asset(partitions_def=DAYS, backfill_policy=SINGLE_RUN, code_version="1")
def prices(context: dg.AssetExecutionContext) -> None:
    """Materialize nothing."""


@dg.asset(partitions_def=DAYS, backfill_policy=SINGLE_RUN, deps=[prices])
def scores(context: dg.AssetExecutionContext) -> None:
    """Materialize nothing."""


@dg.asset_check(asset=prices)
def prices_are_good() -> dg.AssetCheckResult:
    """Find nothing."""
    return dg.AssetCheckResult(passed=True)


@pytest.fixture(autouse=True)
def _stock_storages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave Dagster as it was."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
    for storage in (SqliteEventLogStorage, PostgresEventLogStorage):
        monkeypatch.setattr(storage, "store_event_batch", storage.store_event_batch)


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Sequence[EventLogEntry]]:
    """The batches that Dagster hands over in a run of two assets with a check."""
    found: list[Sequence[EventLogEntry]] = []
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with pytest.MonkeyPatch.context() as patched, open_instance(home) as instance:
        patched.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
        patched.setattr(SqliteEventLogStorage, "store_event_batch", lambda _, events: found.append(events))
        assert run_all_days(instance).success
    return found


def run_all_days(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Materialize all partitions of both assets in one run."""
    return dg.materialize([prices, scores, prices_are_good], instance=instance, tags=ALL_DAYS)


@pytest.fixture(params=["sqlite", "postgresql"])
def two_storages(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sequence[SqlEventLogStorage]]:
    """Two empty event logs of the same kind."""
    storages: list[SqlEventLogStorage]
    if request.param == "sqlite":
        storages = [SqliteEventLogStorage(str(tmp_path / name)) for name in ("stock", "ours")]
    else:
        databases = request.getfixturevalue("postgres_databases")
        urls: list[URL] = [databases.make() for _ in range(2)]
        storages = [PostgresEventLogStorage(url.render_as_string(hide_password=False)) for url in urls]
    yield storages
    for storage in storages:
        storage.dispose()


def test_a_batch_leaves_the_same_rows_as_its_events_one_by_one(
    batches: Sequence[Sequence[EventLogEntry]], two_storages: Sequence[SqlEventLogStorage]
) -> None:
    stock, ours = two_storages
    store_events_in_batches()
    assert [len(batch) for batch in batches] == [25, 12, 12], "planned events, then those of each asset"
    for batch in batches:
        for entry in batch:
            stock.store_event(entry)
        ours.store_event_batch(batch)
    rows = everything(ours, batches[0][0].run_id)
    assert len(rows["event_logs"]) >= 49 and rows["asset_keys"] and rows["asset_check_executions"]
    assert rows["asset_event_tags"], "their code version is one"
    assert rows == everything(stock, batches[0][0].run_id)


def everything(storage: SqlEventLogStorage, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a run's tables."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for place, opened in (("", storage.index_connection()), ("of the run", storage.run_connection(run_id))):
        with opened as connection:
            rows |= {f"{name}{place}": found for name, found in _tables(connection).items()}
    return rows


def _tables(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    known = MetaData()
    known.reflect(connection, only=["event_logs", "asset_keys", "asset_event_tags", "asset_check_executions"])
    # An upsert on PostgreSQL takes a number from the sequence even where it finds the row.
    chance = {("asset_keys", "id")} | {(table, "create_timestamp") for table in known.tables}
    return {
        table.name: [
            {name: value for name, value in row.items() if (table.name, name) not in chance}
            for row in connection.execute(select(table).order_by(table.c.id)).mappings()
        ]
        for table in known.sorted_tables
    }


def test_a_run_of_many_partitions_is_few_transactions(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    store_events_in_batches()
    with _counted() as commits:
        run = run_all_days(instance)
    assert run.success
    assert len(commits) < 80, "one by one, 48 events of partitions are two each"
    assert instance.get_materialized_partitions(dg.AssetKey("scores")) == set(DAYS.get_partition_keys())
    kept = [log.get_dagster_event().event_type for log in instance.all_logs(run.run_id) if log.is_dagster_event]
    assert kept.count(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED) == 24
    assert kept.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 24
    assert "Falling back" not in capsys.readouterr().err


@contextlib.contextmanager
def _counted() -> Iterator[list[str]]:
    commits: list[str] = []

    def count(connection: Connection) -> None:
        commits.append(str(connection.engine.url))

    event.listen(Engine, "commit", count)
    yield commits
    event.remove(Engine, "commit", count)


def test_a_batch_that_fails_in_the_middle_stores_nothing(
    batches: Sequence[Sequence[EventLogEntry]],
    two_storages: Sequence[SqlEventLogStorage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dagster then stores its events one by one: what was stored already would be there twice."""
    storage, _ = two_storages
    store_events_in_batches()

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(storage), "_store_asset_event", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.store_event_batch(batches[0])
    assert not any(everything(storage, batches[0][0].run_id).values())


def test_a_process_without_an_instance_imports_no_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, SqliteEventLogStorage.__module__)
    store_events_in_batches()
    assert SqliteEventLogStorage.__module__ not in sys.modules
