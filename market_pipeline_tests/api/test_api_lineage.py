"""What Dagster knows of a price that was collected by HTTP: as much as of one that a run collected."""

import logging
import shutil
import threading
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from sqlalchemy import select

from market_pipeline.api.dagster_reports import DagsterHome, DagsterUnavailable
from market_pipeline.core.clock import utc_now
from market_pipeline.defs.partitions import partition_key, price_partitions, range_tags
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.schema import tables
from market_pipeline_tests.api.history import block_opening
from market_pipeline_tests.defs.conftest import PROJECT, World
from market_pipeline_tests.builders import wait_for

SETTINGS = load_settings(None)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def database(sqlite_database):
    """Which database the prices are in makes no difference here."""
    return sqlite_database


@pytest.fixture
def instance(dagster_home):
    """The instance of the API, opened beside it as a daemon would."""
    with dg.DagsterInstance.from_config(str(dagster_home)) as opened:
        yield opened


def events(instance, asset):
    """The materializations of an asset, newest first."""
    found = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return [(record.asset_materialization, record.event_log_entry.run_id) for record in found]


def collect(asking, symbol="BTC"):
    return asking.post(f"/collect-once/{symbol}", headers={"X-Request-ID": TRACE_ID})


def values(event):
    return {name: value.value for name, value in event.metadata.items()}


def test_a_collected_price_is_a_materialization_of_its_day_and_symbol(client, database, instance):
    document = collect(client).json()
    with database.reading() as connection:
        (stored,) = connection.execute(select(tables.raw_prices)).all()
    ((event, run_id),) = events(instance, "raw_prices")
    assert (event.partition, run_id) == (str(partition_key(stored.timestamp.date(), "BTC")), "")
    assert values(event) == {
        "dagster/row_count": 1, "quotes_accepted": 1, "prices_changed": 0, "price_usd": document["price"],
        "newest_quote": stored.timestamp.timestamp(), "trace_id": TRACE_ID,
    }
    assert events(instance, "rejected_prices") == []
    assert instance.get_materialized_partitions(dg.AssetKey("raw_prices")) == {event.partition}


def test_a_refused_price_is_a_materialization_of_the_quarantine(client, simulator, instance):
    simulator.add_fault(Fault(kind="zero_price", coin="bitcoin"))
    assert collect(client).status_code == 422
    ((event, _),) = events(instance, "rejected_prices")
    assert event.partition == str(partition_key(utc_now().date(), "BTC"))
    assert values(event) == {"dagster/row_count": 1, "refused_in_this_run": 1, "trace_id": TRACE_ID}
    assert events(instance, "raw_prices") == []


@pytest.mark.parametrize(("days_ago", "reported"), [(1, True), (2, True), (3, False)])
def test_days_before_the_first_partition_are_stored_and_not_reported(api, simulator, instance, days_ago, reported):
    """As the definition of the partitions has it."""
    start = utc_now().date() - timedelta(days=2)
    asking = api(history_start=start.isoformat())
    simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin", seconds=days_ago * 86_400))
    assert collect(asking).status_code == 200
    day = utc_now().date() - timedelta(days=days_ago)
    known = price_partitions(start, ["BTC"]).has_partition_key(str(partition_key(day, "BTC")))
    assert known == reported
    assert [event.partition for event, _ in events(instance, "raw_prices")] == [f"{day}|BTC"] * reported


def test_what_dagster_knows_is_cached_for_some_seconds(dagster_home):
    for seconds, same in ((60.0, True), (0.0, False)):
        home = DagsterHome(dagster_home, cache_seconds=seconds)
        assert (home.facts(SETTINGS, utc_now()) is home.facts(SETTINGS, utc_now())) == same
        home.close()


@pytest.fixture
def broken_home(dagster_home):
    """A home whose event log is no database any more."""
    for file in (dagster_home / "history" / "runs").iterdir():
        file.unlink()
    (dagster_home / "history" / "runs" / "index.db").write_bytes(b"no database at all " * 100)
    return dagster_home


def test_a_report_that_fails_is_an_error_in_the_log_and_nothing_else(broken_home, client, database, caplog):
    caplog.set_level(logging.INFO)
    answer = collect(client)
    assert answer.status_code == 200
    with database.reading() as connection:
        assert len(connection.execute(select(tables.raw_prices)).all()) == 1
    (told,) = [record for record in caplog.records if record.name.endswith("dagster_reports")]
    assert told.levelno == logging.ERROR and "the rows themselves are stored" in told.getMessage()
    assert (told.asset, told.partition) == ("raw_prices", f"{utc_now().date()}|BTC")


def test_a_slow_storage_is_not_waited_for(dagster_home, instance, monkeypatch, caplog):
    """The report is made later all the same, and once for those that came meanwhile."""
    caplog.set_level(logging.INFO)
    released, day = threading.Event(), (utc_now().date(), "BTC")
    block_opening(monkeypatch, released)
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
    home.close()
    assert [values(event) for event, _ in events(instance, "raw_prices")] == [
        {"dagster/row_count": 4}, {"dagster/row_count": 3},
    ]


def test_what_could_not_be_opened_is_tried_again(tmp_path, dagster_home):
    home = DagsterHome(tmp_path / "later")
    with pytest.raises(DagsterUnavailable, match="cannot be read"):
        home.facts(SETTINGS, utc_now())
    shutil.copytree(dagster_home, tmp_path / "later")
    assert {beat.at for beat in home.facts(SETTINGS, utc_now()).daemons} == {None}
    home.close()
    assert home.last_materialized("raw_prices", [(utc_now().date(), "BTC")]) is None
    home.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["api", "run"])
def test_anomalies_are_out_of_date_after_a_collect_as_after_a_run(
    way, tmp_path, monkeypatch, api, service_of, simulator
):
    """In the code location as it is, with the instance that the API reported to."""
    home = tmp_path / "dagster_home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    settings = service_of().settings
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    shutil.copy(Path(PROJECT) / "dagster.yaml", home)
    with dg.DagsterInstance.get() as opened:
        world = World(settings, opened, simulator)
        assert world.tick().success
        assert _status(world, "BTC") == (StaleStatus.FRESH, set())
        if way == "api":
            assert collect(api()).status_code == 200
        else:
            collecting = world.defs.resolve_implicit_global_asset_job_def()
            keys = [dg.AssetKey("raw_prices"), dg.AssetKey("rejected_prices")]
            tags = range_tags(world.today, world.today, ["BTC"])
            assert collecting.execute_in_process(instance=opened, asset_selection=keys, tags=tags).success
        assert _status(world, "BTC") == (StaleStatus.STALE, {"has a new dependency materialization"})


def _status(world, symbol):
    """As the UI resolves it."""
    resolver = CachingStaleStatusResolver(
        world.instance, world.defs.resolve_asset_graph(), LoadingContextForTest(world.instance)
    )
    key, partition = dg.AssetKey("price_anomalies"), str(partition_key(world.today, symbol))
    causes = resolver.get_stale_causes(key, partition)
    return resolver.get_status(key, partition), {cause.reason for cause in causes}
