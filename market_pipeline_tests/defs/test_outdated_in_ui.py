"""What the UI shows of scored partitions: outdated after a change of detectors or of prices, and only then."""

from datetime import date

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from market_pipeline.build import build_defs
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.defs.partitions import partition_key
from market_pipeline.storage.engine import Database
from market_pipeline_tests.defs.world import World, WorldOf

KEY = dg.AssetKey("price_anomalies")
FRESH: tuple[StaleStatus, set[str]] = (StaleStatus.FRESH, set())


def status(world: World, day: date, symbol: str) -> tuple[StaleStatus, set[str]]:
    """As the UI resolves it: the status of a partition and its reasons."""
    graph = world.defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(world.instance, graph, LoadingContextForTest(world.instance))
    key = str(partition_key(day, symbol))
    return resolver.get_status(KEY, key), {cause.reason for cause in resolver.get_stale_causes(KEY, key)}


def test_a_change_of_the_detectors_marks_every_partition_of_a_range(
    pair: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = pair.days_ago(2), pair.days_ago(1)
    assert pair.complete(first, last).success
    partitions = [(day, symbol) for day in (first, last) for symbol in pair.symbols]
    assert [status(pair, *partition) for partition in partitions] == [FRESH] * 4
    monkeypatch.setattr("market_pipeline.defs.assets.price_anomalies.DETECTOR_VERSION", "next")
    pair.defs = build_defs(pair.settings, resources={"database": pair.database})
    changed = (StaleStatus.STALE, {"has a new code version"})
    assert [status(pair, *partition) for partition in partitions] == [changed] * 4
    assert pair.run("score_days", first, last).success
    assert [status(pair, *partition) for partition in partitions] == [FRESH] * 4


def test_new_prices_of_another_symbol_mark_the_day_and_calibrations_and_ticks_of_the_next_day_do_not(
    world_of: WorldOf, sqlite_database: Database
) -> None:
    """Calibrations do not change what the past is scored with; the morning after a day is the sensor's concern."""
    start = utc_now().date() - 4 * DAY
    pair = world_of(sqlite_database, history_start=start, market_symbols="BTC,ETH", collect_cron="0 0 * * *")
    day = pair.days_ago(1)
    assert pair.complete(day, day).success
    for _ in range(2):
        assert pair.execute("calibrate_detectors").success
        assert status(pair, day, "BTC") == FRESH
    assert pair.tick().success
    assert status(pair, day, "BTC") == FRESH
    assert pair.run("score_days", day, day).success
    assert pair.execute("calibrate_detectors").success
    assert status(pair, day, "BTC") == FRESH
    assert pair.complete(pair.days_ago(3), pair.days_ago(3), ["ETH"]).success
    found, reasons = status(pair, day, "BTC")
    assert found == StaleStatus.STALE and all("dependency" in reason for reason in reasons)
