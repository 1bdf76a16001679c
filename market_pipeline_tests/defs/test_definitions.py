"""The code location as the server loads it: names that others rely on, what the UI shows, no secret."""

import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.workspace.autodiscovery import loadable_targets_from_python_module
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._serdes import serialize_value

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.nonpublic import ASSET_JOB
from market_pipeline.defs.freshness import longest_gaps
from market_pipeline.defs.partitions import lead_mapping, partition_key, price_partitions
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.defs.world import World, WorldOf
from market_pipeline_tests.logging_state import restored

PROJECT = Path(__file__).parents[2]
HISTORY = {f"history_is_complete_{symbol}" for symbol in ("BTC", "ETH", "SOL", "ADA", "DOT")}


@pytest.fixture(scope="module")
def repository() -> Iterator[dg.RepositoryDefinition]:
    """What workspace.yaml names, found and loaded by Dagster's own loaders with the default settings."""
    (origin,) = location_origins_from_yaml_paths([str(PROJECT / "workspace.yaml")])
    assert origin.location_name == "market_pipeline"
    target: Any = origin.loadable_target_origin
    sys.modules.pop("market_pipeline.definitions", None)
    with restored():
        (found,) = loadable_targets_from_python_module(target.module_name, working_directory=None)
        assert found.attribute == "defs"
        defs: Any = found.target_definition
        yield defs.get_repository_def()


def test_a_code_server_started_by_hand_says_once_that_there_are_too_many_partitions(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Our commands have said so before they start one; the processes of its runs inherit the variable."""
    monkeypatch.setenv("MARKET_SYMBOLS", ",".join(f"S{number}=coin-{number}" for number in range(200)))
    monkeypatch.setenv("HISTORY_START", (utc_now().date() - timedelta(days=600)).isoformat())
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    said = []
    with restored():
        for by_hand in (False, True, False):
            if by_hand:
                monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
            monkeypatch.delitem(sys.modules, "market_pipeline.definitions", raising=False)
            importlib.import_module("market_pipeline.definitions")
            said.append(caplog.text.count("there are more than the 100,000 that Dagster handles well"))
    assert said == [0, 1, 1]


def spec_of(repository: dg.RepositoryDefinition, key: dg.AssetKey) -> dg.AssetSpec:
    spec: dg.AssetSpec = repository.assets_defs_by_key[key].specs_by_key[key]
    return spec


def test_the_keys_jobs_schedules_and_checks_are_those_that_others_know(repository: dg.RepositoryDefinition) -> None:
    assert {key.to_user_string() for key in repository.assets_defs_by_key} == {
        "raw_prices", "rejected_prices", "price_anomalies", "daily_bars", "detector_calibration", "market_overview",
        "price_coverage", "request_ledger", "storage_retention",
        "coingecko/simple_price", "coingecko/market_chart_range", "coingecko/coins_list",
    }
    assert {job for job in repository.job_names if not job.startswith("__")} == {
        "tick", "complete_days", "score_days", "calibrate_detectors", "account_requests", "retention",
    }
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert {name: (schedule.cron_schedule, schedule.job_name) for name, schedule in schedules.items()} == {
        "tick_schedule": ("*/5 * * * *", "tick"),
        "completion_schedule": ("45 0 * * *", "complete_days"),
        "calibration_schedule": ("20 * * * *", "calibrate_detectors"),
        "ledger_schedule": ("2 * * * *", "account_requests"),
        "retention_schedule": ("35 3 * * *", "retention"),
    }
    assert {(one.default_status, one.execution_timezone) for one in schedules.values()} == {
        (dg.DefaultScheduleStatus.RUNNING, "UTC")
    }
    assert repository.get_implicit_global_asset_job_def().name == ASSET_JOB
    assert {(one.name, one.default_status) for one in repository.sensor_defs} == {
        ("repair_sensor", dg.DefaultSensorStatus.RUNNING)
    }


@pytest.mark.parametrize(
    ("cron", "gaps"),
    [
        ("*/5 * * * *", (5, 10)), ("7,10 * * * *", (57, 60)), ("*/30 9-17 * * *", (15.5 * 60, 16 * 60)),
        ("0 9 * * 1-5", (3 * 1440, 4 * 1440)), ("0 0 1 * *", (31 * 1440, 60 * 1440)),
    ],
)
def test_the_longest_time_between_two_and_three_ticks(cron: str, gaps: tuple[float, float]) -> None:
    assert longest_gaps(cron) == tuple(timedelta(minutes=gap) for gap in gaps)


def test_every_asset_has_a_freshness_policy_that_leaves_out_one_renewal(repository: dg.RepositoryDefinition) -> None:
    policies: dict[str, Any] = {
        key.to_user_string(): repository.asset_graph.get(key).freshness_policy
        for key in repository.asset_graph.materializable_asset_keys
    }
    minute = timedelta(minutes=1)
    tick, day = (8, 13), (26 * 60, 50 * 60)
    assert {
        name: (policy.warn_window.to_timedelta() / minute, policy.fail_window.to_timedelta() / minute)
        for name, policy in policies.items()
    } == {
        "raw_prices": tick, "rejected_prices": tick, "price_anomalies": tick, "market_overview": tick,
        "request_ledger": (63, 123), "price_coverage": day, "detector_calibration": day,
        "storage_retention": day, "daily_bars": day,
    }


def test_two_checks_block_and_each_belongs_to_the_asset_that_is_renewed_as_often_as_it_runs(
    repository: dg.RepositoryDefinition
) -> None:
    """Dagster takes a check for not evaluated once its asset is materialized again without it."""
    by_asset: dict[str, dict[str, bool]] = defaultdict(dict)
    for checks in repository.asset_checks_defs_by_key.values():
        for spec in checks.check_specs:
            by_asset[spec.asset_key.to_user_string()][spec.name] = spec.blocking
    assert by_asset["raw_prices"] == {
        "no_future_timestamps": True, "no_negative_prices": True, "no_rejected_quotes": False,
        "every_symbol_quoted": False, "quotes_are_fresh": False,
    }
    of_coverage = {"coin_ids_are_listed", "prices_are_of_one_coin", *HISTORY}
    assert by_asset["price_coverage"] == dict.fromkeys(of_coverage, False)
    assert by_asset["detector_calibration"] == {"alarms_are_rare": False}
    assert by_asset["daily_bars"] == {"bars_cover_their_days": False}
    tick, completion = (repository.get_job(name).asset_layer for name in ("tick", "complete_days"))
    of_tick = {dg.AssetKey(name) for name in ("raw_prices", "rejected_prices", "price_anomalies", "market_overview")}
    assert set(tick.executable_asset_keys) == of_tick
    assert set(completion.executable_asset_keys) - of_tick == {dg.AssetKey("price_coverage"), dg.AssetKey("daily_bars")}
    for layer in (tick, completion):
        checked = {key.name for key in layer.asset_graph.asset_check_keys}
        ran = {key.to_user_string() for key in layer.executable_asset_keys}
        assert checked == {name for asset in ran & by_asset.keys() for name in by_asset[asset]}


def test_every_asset_shows_what_it_is_and_every_table_its_columns_with_units(
    repository: dg.RepositoryDefinition
) -> None:
    known = tables.metadata.tables
    for key in repository.asset_graph.get_all_asset_keys():
        spec = spec_of(repository, key)
        # The UI shows three.
        assert spec.description and 1 <= len(spec.kinds) <= 3
        if spec.group_name != "ingest" or spec.kinds & {"table"}:
            assert spec.owners == ["team:market-data"] and spec.tags["renewed"] in ("tick", "hour", "day")
        if "write_mode" in spec.metadata:
            table = known[spec.metadata["dagster/table_name"]]
            columns = spec.metadata["dagster/column_schema"].columns
            assert [column.name for column in columns] == list(table.columns.keys())
            assert all(column.description for column in columns)
    stored = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()
              if "write_mode" in spec_of(repository, key).metadata}
    assert stored == {
        "raw_prices", "rejected_prices", "price_anomalies", "daily_bars", "detector_calibration", "request_ledger",
    }


def test_the_lineage_leads_from_coingecko_to_the_people_in_four_groups(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    groups: dict[str | None, set[str]] = {}
    for key in graph.get_all_asset_keys():
        groups.setdefault(graph.get(key).group_name, set()).add(key.to_user_string())
    endpoints = {"coingecko/simple_price", "coingecko/market_chart_range", "coingecko/coins_list"}
    assert groups == {
        "ingest": {*endpoints, "raw_prices"},
        "quality": {"rejected_prices", "price_coverage"},
        "detect": {"detector_calibration", "price_anomalies", "daily_bars"},
        "monitor": {"market_overview", "request_ledger", "storage_retention"},
    }
    assert {key.to_user_string() for key in graph.external_asset_keys} == endpoints
    # The retention concerns the storages, nothing that was requested.
    unconnected = {key.to_user_string() for key in graph.get_all_asset_keys() if not graph.get(key).parent_keys}
    assert unconnected - endpoints == {"storage_retention"}


def test_every_column_of_an_anomaly_shows_what_it_is_made_from(repository: dg.RepositoryDefinition) -> None:
    """All but the version of the detectors, which comes from the code."""
    lineage = spec_of(repository, dg.AssetKey("price_anomalies")).metadata["dagster/column_lineage"].deps_by_column
    columns = {column.name for column in tables.price_anomalies.columns}
    assert columns - set(lineage) == {"detector_version"} and set(lineage) <= columns
    table_of = {"raw_prices": tables.raw_prices, "detector_calibration": tables.detector_calibrations}
    for sources in lineage.values():
        assert sources
        assert all(source.column_name in table_of[source.asset_key.to_user_string()].columns for source in sources)


def test_partitions_go_from_the_start_of_history_to_today_for_the_coins_of_the_settings(
    world_of: WorldOf, sqlite_database: Database
) -> None:
    world = world_of(sqlite_database, market_symbols="BTC,PEPE=pepe")
    partitions = world.defs.resolve_assets_def("price_anomalies").partitions_def
    assert partitions is not None
    start = world.settings.history_start
    days = (world.today - start).days + 1
    keys = partitions.get_partition_keys()
    assert (len(keys), keys[0], keys[-1]) == (2 * days, f"{start}|BTC", f"{world.today}|PEPE")
    for day, symbol, exists in ((start, "BTC", True), (world.days_ago(-1), "BTC", False), (world.today, "ETH", False)):
        assert partitions.has_partition_key(str(partition_key(day, symbol))) is exists


def test_a_new_day_has_partitions_without_loading_the_code_location_again(world: World) -> None:
    """The server stands for weeks; the keys of a day are built once."""
    partitions = world.defs.resolve_assets_def("raw_prices").partitions_def
    assert partitions is not None
    before = partitions.get_partition_keys()
    assert partitions.get_partition_keys() is before
    tomorrow = utc_now().replace(hour=0, minute=0, second=1) + (world.days_ago(-1) - world.today)
    with dg.partition_loading_context(tomorrow):
        assert partitions.get_partition_keys()[-1] == f"{world.days_ago(-1)}|DOT"


@pytest.mark.parametrize("offset", [14, -11])
def test_a_day_has_partitions_from_its_midnight_in_utc_on_whatever_the_zone_of_the_time(offset: int) -> None:
    partitions = price_partitions(date(2026, 11, 20), ["BTC", "ETH"])
    midnight = datetime(2026, 11, 30, tzinfo=timezone.utc).astimezone(timezone(timedelta(hours=offset)))
    before, late = midnight - timedelta(microseconds=1), midnight + timedelta(hours=23)
    for moment, day in ((before, 29), (midnight, 30), (late, 30)):
        assert partitions.get_partition_keys(moment)[-2:] == [f"2026-11-{day}|BTC", f"2026-11-{day}|ETH"]


def test_a_day_reads_eight_days_before_it_of_all_symbols_and_never_beyond_the_start(world: World) -> None:
    asset = world.defs.resolve_assets_def("price_anomalies")
    mapping, partitions = asset.get_partition_mapping(dg.AssetKey("raw_prices")), asset.partitions_def
    assert mapping is not None and partitions is not None

    def upstream(day: date) -> set[str]:
        subset = partitions.subset_with_partition_keys([partition_key(day, "BTC")])
        mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, partitions, partitions)
        return set(mapped.partitions_subset.get_partition_keys())

    def of_all(days: list[date]) -> set[str]:
        return {str(partition_key(day, symbol)) for day in days for symbol in world.symbols}

    assert upstream(world.today) == of_all([world.days_ago(n) for n in range(9)])
    assert upstream(world.settings.history_start) == of_all([world.settings.history_start])


# Dagster warns of its own property when it describes a schedule.
@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning")
def test_no_secret_is_in_what_dagster_stores_of_the_code_location(
    world_of: WorldOf, sqlite_database: Database
) -> None:
    world = world_of(sqlite_database, coingecko_api_key="CG-canary")
    text = serialize_value(RepositorySnap.from_def(world.defs.get_repository_def()))
    assert "raw_prices" in text and '"coingecko"' in text
    assert "canary" not in text and str(sqlite_database.url.database) not in text


def test_the_days_that_a_run_reads_grow_with_its_symbols_and_not_with_their_square() -> None:
    """Mapped to all symbols, each of them would be mapped to those of every other."""
    symbols = [f"S{number}" for number in range(40)]
    partitions, day = price_partitions(date(2026, 11, 1), symbols), date(2026, 11, 20)
    keys = [partition_key(day, symbol) for symbol in symbols]

    def upstream(keys: list[dg.MultiPartitionKey]) -> set[str]:
        subset = partitions.subset_with_partition_keys(keys)
        mapping = lead_mapping(symbols)
        mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, partitions, partitions)
        return set(mapped.partitions_subset.get_partition_keys())

    assert len(upstream(keys)) == 9 * len(symbols)
    assert {key.split("|")[1] for key in upstream(keys[:1])} == {"S0"}
