"""What the UI says of scored partitions: outdated after a change of detectors or of prices, and only then."""

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from market_pipeline.defs.partitions import partition_key

pytestmark = pytest.mark.slow

KEY = dg.AssetKey("price_anomalies")


def status(world, day, symbol, defs=None):
    """As the UI resolves it: the status of a partition and its reasons."""
    graph = (defs or world.defs).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(world.instance, graph, LoadingContextForTest(world.instance))
    key = str(partition_key(day, symbol))
    causes = resolver.get_stale_causes(KEY, key)
    return resolver.get_status(KEY, key), {cause.reason for cause in causes}


def test_a_change_of_the_detectors_marks_every_partition_of_a_range(world_of, sqlite_database, monkeypatch):
    from market_pipeline.build import build_defs

    world = world_of(sqlite_database, MARKET_SYMBOLS="BTC,ETH")
    days = [world.days_ago(2), world.days_ago(1)]
    assert world.complete(days[0], days[1]).success
    partitions = [(day, symbol) for day in days for symbol in world.symbols]
    assert [status(world, *partition) for partition in partitions] == [(StaleStatus.FRESH, set())] * 4
    monkeypatch.setattr("market_pipeline.defs.assets.price_anomalies.DETECTOR_VERSION", "next")
    changed = build_defs(world.settings)
    for partition in partitions:
        assert status(world, *partition, changed) == (StaleStatus.STALE, {"has a new code version"})
    monkeypatch.setattr(world, "defs", changed)
    assert world.run("score_days", days[0], days[1]).success
    assert [status(world, *partition) for partition in partitions] == [(StaleStatus.FRESH, set())] * 4


def test_calibrations_do_not_mark_days_that_were_scored(world_of, sqlite_database):
    """Neither the first one nor those that follow change what the past is scored with."""
    world = world_of(sqlite_database, MARKET_SYMBOLS="BTC,ETH")
    day = world.days_ago(1)
    assert world.complete(day, day).success
    for _ in range(2):
        job = world.defs.resolve_job_def("calibrate_detectors")
        assert job.execute_in_process(instance=world.instance).success
        assert status(world, day, "BTC") == (StaleStatus.FRESH, set())
    assert world.run("score_days", day, day).success
    assert job.execute_in_process(instance=world.instance).success
    assert status(world, day, "BTC") == (StaleStatus.FRESH, set())


def test_new_prices_of_another_symbol_mark_the_day(world_of, sqlite_database):
    world = world_of(sqlite_database, MARKET_SYMBOLS="BTC,ETH")
    assert world.complete(world.days_ago(1), world.days_ago(1)).success
    assert world.complete(world.days_ago(3), world.days_ago(3), ["ETH"]).success
    found, reasons = status(world, world.days_ago(1), "BTC")
    assert found == StaleStatus.STALE
    assert all("dependency" in reason for reason in reasons)
