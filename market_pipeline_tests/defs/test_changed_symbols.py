"""A run that was queued before the settings changed."""

# How a queued run is executed once the daemon lets it begin has no public name.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from market_pipeline.defs.partitions import range_tags


def test_a_tick_queued_before_its_last_symbol_was_removed_ends_without_failing(world_of, sqlite_database, caplog):
    before = world_of(sqlite_database)
    tags = range_tags(before.today, before.today, before.symbols)
    run = before.instance.create_run_for_job(before.defs.resolve_job_def("tick"), tags=tags)
    world = world_of(sqlite_database, MARKET_SYMBOLS="BTC,ETH")
    result = execute_run(InMemoryJob(world.defs.resolve_job_def("tick")), run, world.instance)
    assert result.success
    assert "It collects nothing; the next one collects BTC, ETH" in caplog.text
    assert world.simulator.requests == [] and world.prices() == []
    assert world.tick().success
    assert {row["symbol"] for row in world.prices()} == {"BTC", "ETH"}
