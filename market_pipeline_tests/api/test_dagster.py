"""What Dagster knows of a price that the API collected: as much as of one that a run collected."""

import logging
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from starlette.testclient import TestClient

from market_pipeline.api.service import Service
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.connection import DagsterHome, DagsterUnavailable
from market_pipeline.defs.partitions import partition_key, price_partitions
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.api.serving import Response
from market_pipeline_tests.builders import stored_rows, wait_for
from market_pipeline_tests.defs.conftest import PROJECT
from market_pipeline_tests.defs.world import World

SETTINGS = load_settings(None)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def events(instance: dg.DagsterInstance, asset: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """Partition, run id and metadata of the materializations of an asset, newest first."""
    found = []
    for record in instance.fetch_materializations(dg.AssetKey(asset), limit=100).records:
        event = record.asset_materialization
        assert event is not None
        metadata = {name: value.value for name, value in event.metadata.items()}
        found.append((event.partition, record.event_log_entry.run_id, metadata))
    return found


def collect(client: TestClient, symbol: str = "BTC") -> Response:
    return client.post(f"/collect-once/{symbol}", headers={"X-Request-ID": TRACE_ID})


def test_a_collected_price_is_a_materialization_of_its_day_and_symbol(
    client: TestClient, database: Database, instance: dg.DagsterInstance
) -> None:
    document = collect(client).json()
    (stored,) = stored_rows(database, tables.raw_prices)
    partition = str(partition_key(stored["timestamp"].date(), "BTC"))
    assert events(instance, "raw_prices") == [(partition, "", {
        "dagster/row_count": 1, "quotes_accepted": "1", "rows_written": "1", "prices_changed": "0",
        "BTC/price_usd": pytest.approx(document["price"], rel=1e-6),
        "newest_quote": stored["timestamp"].timestamp(), "trace_id": TRACE_ID,
    })]
    assert events(instance, "rejected_prices") == []
    assert instance.get_materialized_partitions(dg.AssetKey("raw_prices")) == {partition}


def test_a_refused_price_is_a_materialization_of_the_quarantine(
    client: TestClient, simulator: Simulator, instance: dg.DagsterInstance
) -> None:
    simulator.add_fault(Fault(kind="zero_price", coin="bitcoin"))
    assert collect(client).status_code == 422
    metadata = {"dagster/row_count": 1, "refused_in_this_run": "1", "trace_id": TRACE_ID}
    assert events(instance, "rejected_prices") == [(str(partition_key(utc_now().date(), "BTC")), "", metadata)]
    assert events(instance, "raw_prices") == []


def test_days_before_the_first_partition_are_stored_and_not_reported(
    api: Callable[..., TestClient], simulator: Simulator, instance: dg.DagsterInstance
) -> None:
    """By the same rule as the definition of the partitions."""
    start = utc_now().date() - timedelta(days=2)
    client, known = api(history_start=start.isoformat()), price_partitions(start, ["BTC"])
    for days_ago, reported in ((3, []), (2, [2]), (1, [1, 2])):
        simulator.clear_faults()
        simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin", seconds=days_ago * 86_400))
        assert collect(client).status_code == 200
        day = utc_now().date() - timedelta(days=days_ago)
        assert known.has_partition_key(f"{day}|BTC") == (days_ago in reported)
        expected = [f"{utc_now().date() - timedelta(days=days)}|BTC" for days in reported]
        assert [partition for partition, _, _ in events(instance, "raw_prices")] == expected


def test_what_dagster_knows_is_cached_for_some_seconds(dagster_home: Path) -> None:
    for seconds, same in ((60.0, True), (0.0, False)):
        home = DagsterHome(dagster_home, read_seconds=60, cache_seconds=seconds)
        assert (home.facts(SETTINGS, utc_now()) is home.facts(SETTINGS, utc_now())) == same
        home.close()


def test_a_report_that_fails_is_an_error_in_the_log_and_nothing_else(
    dagster_home: Path, client: TestClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for file in (dagster_home / "history" / "runs").iterdir():
        file.unlink()
    (dagster_home / "history" / "runs" / "index.db").write_bytes(b"no database at all " * 100)
    caplog.set_level(logging.INFO)
    assert collect(client).status_code == 200
    assert len(stored_rows(database, tables.raw_prices)) == 1
    (record,) = [record for record in caplog.records if record.name.endswith("dagster_instance.connection")]
    assert record.levelno == logging.ERROR
    assert (vars(record)["asset"], vars(record)["partition"]) == ("raw_prices", f"{utc_now().date()}|BTC")


def test_a_slow_storage_is_not_waited_for(
    dagster_home: Path, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture,
    block_dagster: Callable[[threading.Event], None], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report is made later all the same, and once for those that came meanwhile; a read that timed out is not."""
    caplog.set_level(logging.INFO)
    reads: list[object] = []
    monkeypatch.setattr("market_pipeline.dagster_instance.connection.read_facts", lambda *given: reads.append(given))
    released, day = threading.Event(), (utc_now().date(), "BTC")
    block_dagster(released)
    home = DagsterHome(dagster_home, read_seconds=0.0, report_seconds=0.0)
    home.open_soon()
    for rows in (1, 2, 3):
        home.report("raw_prices", day, {"rows": rows})
    assert caplog.text.count("will be reported later") == 3
    with pytest.raises(DagsterUnavailable, match="no answer within 0 s"):
        home.facts(SETTINGS, utc_now())
    released.set()
    wait_for(lambda: events(instance, "raw_prices"), 20, "the report")
    home.report("raw_prices", day, {"rows": 4})
    wait_for(lambda: len(events(instance, "raw_prices")) == 2, 20, "the second report")
    assert [metadata["dagster/row_count"] for _, _, metadata in events(instance, "raw_prices")] == [4, 3]
    assert reads == []
    home.close()


def test_an_instance_that_could_not_be_opened_is_tried_again(tmp_path: Path, dagster_home: Path) -> None:
    home = DagsterHome(tmp_path / "later", read_seconds=60)
    with pytest.raises(DagsterUnavailable, match="cannot be read"):
        home.facts(SETTINGS, utc_now())
    shutil.copytree(dagster_home, tmp_path / "later")
    assert {beat.at for beat in home.facts(SETTINGS, utc_now()).daemons} == {None}
    home.close()
    assert home.last_materialized("raw_prices", [(utc_now().date(), "BTC")]) is None
    home.close()


@pytest.mark.slow
def test_anomalies_are_out_of_date_after_a_collect(
    dagster_home: Path, monkeypatch: pytest.MonkeyPatch, api: Callable[..., TestClient],
    service_of: Callable[..., Service], simulator: Simulator,
) -> None:
    """In the code location as it is, with the instance that the API reported to."""
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    settings = service_of().settings
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    shutil.copy(Path(PROJECT) / "dagster.yaml", dagster_home)
    with dg.DagsterInstance.get() as opened:
        world = World(settings, opened, simulator)
        assert world.tick().success
        assert stale_status(world, "BTC") == (StaleStatus.FRESH, set())
        assert collect(api()).status_code == 200
        assert stale_status(world, "BTC") == (StaleStatus.STALE, {"has a new dependency materialization"})


def stale_status(world: World, symbol: str) -> tuple[StaleStatus, set[str]]:
    """As the UI resolves it."""
    loading = LoadingContextForTest(world.instance)
    resolver = CachingStaleStatusResolver(world.instance, world.defs.resolve_asset_graph(), loading)
    key, partition = dg.AssetKey("price_anomalies"), str(partition_key(world.today, symbol))
    causes = resolver.get_stale_causes(key, partition)
    return resolver.get_status(key, partition), {cause.reason for cause in causes}
