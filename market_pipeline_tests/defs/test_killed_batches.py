"""A run killed while it stores a batch of events: between the file of the run and the index of all runs."""

from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.dagster_instance import event_batches
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline_tests.defs.world import World, WorldOf
from market_pipeline_tests.forking import kill_self, killed_fork

ASSETS = ("raw_prices", "rejected_prices", "price_anomalies")


@pytest.fixture
def instance(home_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """Its events are in files, and stored in batches."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
    monkeypatch.setattr(SqliteEventLogStorage, "store_event_batch", SqliteEventLogStorage.store_event_batch)
    event_batches.store_events_in_batches()
    return home_instance


def test_the_repair_marks_what_a_killed_run_stored_and_marks_nothing_else(
    world_of: WorldOf, sqlite_database: Database, simulator: Simulator
) -> None:
    """First at the prices, then at the scores: no partition is green without rows, none stays without its mark."""
    settled = last_settled_day(utc_now())
    world = world_of(sqlite_database, history_start=settled - 2 * DAY, market_symbols="BTC,ETH")
    request = world.evaluate_sensor().run_requests[0]
    killed_at(world, "raw_prices", request)
    assert len(world.prices()) == 6 * 24 and [world.materialized(asset) for asset in ASSETS] == [set()] * 3
    killed_at(world, "price_anomalies", request)
    assert [len(world.materialized(asset)) for asset in ASSETS] == [6, 6, 0]
    simulator.clear_requests()
    runs = 0
    while (evaluation := world.evaluate_sensor()).run_requests and (runs := runs + 1) < 9:
        (request,) = evaluation.run_requests
        assert world.execute(request.job_name, request.tags, request.asset_selection).success
    assert [len(world.materialized(asset)) for asset in ASSETS] == [6, 6, 6]
    assert (len(world.prices()), simulator.requests) == (6 * 24, [])


def killed_at(world: World, asset: str, request: Any) -> None:
    """Execute the run in a process that ends in the batch of materializations of `asset`."""
    store = event_batches._store

    def dying(storage: Any, connection: Any, events: Any, rows: Any) -> None:
        event = events[0].get_dagster_event()
        if event.is_step_materialization and event.asset_key == dg.AssetKey(asset):
            kill_self()
        store(storage, connection, events, rows)

    def run() -> None:
        with pytest.MonkeyPatch.context() as patched, dg.DagsterInstance.get() as own:
            patched.setattr(event_batches, "_store", dying)
            World(world.settings, own, world.simulator).execute(request.job_name, request.tags)

    killed_fork(run)
    for started in world.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        # What Dagster's run monitoring does.
        world.instance.report_run_failed(started)
