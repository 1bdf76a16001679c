"""The code location, loaded as the server loads it; what others rely on by name is pinned here."""

import sys
from pathlib import Path

import dagster as dg
import pytest

from market_pipeline.defs.partitions import partition_key
from market_pipeline.storage.schema import tables

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def repository(monkeypatch):
    """What workspace.yaml names, found and loaded by Dagster's own loaders with the default settings."""
    from dagster._core.workspace.autodiscovery import loadable_targets_from_python_module
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    # A test before this one may have loaded it with settings of its own.
    monkeypatch.delitem(sys.modules, "market_pipeline.definitions", raising=False)
    origins = location_origins_from_yaml_paths([str(PROJECT / "workspace.yaml")])
    assert [origin.location_name for origin in origins] == ["market_pipeline"]
    module = origins[0].loadable_target_origin.module_name
    targets = loadable_targets_from_python_module(module, working_directory=None)
    assert [target.attribute for target in targets] == ["defs"]
    return targets[0].target_definition.get_repository_def()


def test_the_keys_jobs_schedules_and_checks_are_those_that_others_know(repository):
    assert {key.to_user_string() for key in repository.assets_defs_by_key} == {
        "raw_prices",
        "rejected_prices",
        "price_anomalies",
        "detector_calibration",
        "market_overview",
        "price_coverage",
        "request_ledger",
    }
    assert {job for job in repository.job_names if not job.startswith("__")} == {
        "tick",
        "complete_days",
        "score_days",
        "calibrate_detectors",
        "account_requests",
    }
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert {name: (schedule.cron_schedule, schedule.job_name) for name, schedule in schedules.items()} == {
        "tick_schedule": ("*/5 * * * *", "tick"),
        "completion_schedule": ("45 0 * * *", "complete_days"),
        "calibration_schedule": ("20 * * * *", "calibrate_detectors"),
        "ledger_schedule": ("2 * * * *", "account_requests"),
    }
    assert all(s.default_status == dg.DefaultScheduleStatus.RUNNING for s in schedules.values())
    assert all(s.execution_timezone == "UTC" for s in schedules.values())


def test_two_checks_block_and_the_others_do_not(repository):
    blocking = {
        spec.name: spec.blocking
        for checks in repository.asset_checks_defs_by_key.values()
        for spec in checks.check_specs
    }
    assert blocking == {
        "no_future_timestamps": True,
        "no_negative_prices": True,
        "no_rejected_quotes": False,
        "every_symbol_quoted": False,
        "quotes_are_fresh": False,
        "coin_ids_are_listed": False,
        "prices_are_of_one_coin": False,
        **{f"history_is_complete_{symbol}": False for symbol in ("BTC", "ETH", "SOL", "ADA", "DOT")},
    }


def test_a_check_belongs_to_the_asset_that_is_materialized_as_often_as_it_runs(repository):
    """Dagster takes a check for not evaluated once its asset is materialized again without it."""
    by_asset = {"raw_prices": set(), "price_coverage": set()}
    for key in repository.asset_checks_defs_by_key:
        by_asset[key.asset_key.to_user_string()].add(key)
    assert len(by_asset["raw_prices"]) == 5
    assert {key.name for key in by_asset["price_coverage"]} == {
        "coin_ids_are_listed",
        "prices_are_of_one_coin",
        *(f"history_is_complete_{symbol}" for symbol in ("BTC", "ETH", "SOL", "ADA", "DOT")),
    }
    tick, completion = (repository.get_job(name).asset_layer for name in ("tick", "complete_days"))
    assert set(tick.executable_asset_keys) == {
        dg.AssetKey(name) for name in ("raw_prices", "rejected_prices", "price_anomalies", "market_overview")
    }
    assert set(completion.executable_asset_keys) - set(tick.executable_asset_keys) == {
        dg.AssetKey("price_coverage")
    }
    for layer in (tick, completion):
        ran = set(layer.executable_asset_keys)
        assert layer.asset_graph.asset_check_keys == {
            key for keys in by_asset.values() for key in keys if key.asset_key in ran
        }


def test_every_asset_tells_what_it_is_and_whose(repository):
    for key, asset in repository.assets_defs_by_key.items():
        spec = asset.specs_by_key[key]
        assert spec.description and spec.group_name == "market_data" and spec.owners == ["team:market-data"]
        assert "python" in spec.kinds


TABLES = {
    "raw_prices": "raw_prices",
    "rejected_prices": "rejected_prices",
    "price_anomalies": "price_anomalies",
    "detector_calibration": "detector_calibrations",
}


def spec_of(repository, name):
    return repository.assets_defs_by_key[dg.AssetKey(name)].specs_by_key[dg.AssetKey(name)]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_asset_shows_its_columns_with_units(repository, name):
    metadata = spec_of(repository, name).metadata
    assert metadata["dagster/table_name"] == TABLES[name]
    columns = metadata["dagster/column_schema"].columns
    assert [column.name for column in columns] == [
        column.name for column in tables.metadata.tables[TABLES[name]].columns
    ]
    assert all(column.description for column in columns)


def test_every_column_of_an_anomaly_tells_what_it_is_made_from(repository):
    """All but the version of the detectors, which comes from the code."""
    lineage = spec_of(repository, "price_anomalies").metadata["dagster/column_lineage"].deps_by_column
    columns = {column.name for column in tables.price_anomalies.columns}
    assert columns - set(lineage) == {"detector_version"} and set(lineage) <= columns
    for sources in lineage.values():
        assert sources
        for source in sources:
            name = source.asset_key.to_user_string()
            assert source.column_name in tables.metadata.tables[TABLES[name]].columns


def test_partitions_go_from_the_start_of_history_to_today(world):
    partitions = world.defs.resolve_assets_def("raw_prices").partitions_def
    assert partitions.has_partition_key(str(partition_key(world.settings.history_start, "BTC")))
    assert partitions.has_partition_key(str(partition_key(world.today, "DOT")))
    assert not partitions.has_partition_key(str(partition_key(world.days_ago(-1), "BTC")))


def test_a_coin_of_the_settings_becomes_a_partition(world_of, sqlite_database):
    world = world_of(sqlite_database, MARKET_SYMBOLS="BTC,PEPE=pepe")
    partitions = world.defs.resolve_assets_def("price_anomalies").partitions_def
    assert partitions.has_partition_key(str(partition_key(world.today, "PEPE")))
    assert not partitions.has_partition_key(str(partition_key(world.today, "ETH")))


# Dagster warns of its own property when it describes a schedule.
@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning")
def test_no_secret_is_in_what_dagster_stores_of_the_code_location(world_of, sqlite_database):
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster._serdes import serialize_value

    world = world_of(sqlite_database, COINGECKO_API_KEY="CG-canary")
    text = serialize_value(RepositorySnap.from_def(world.defs.get_repository_def()))
    assert "raw_prices" in text
    assert "canary" not in text
    assert sqlite_database.url.database not in text


def test_a_day_reads_seven_days_before_it_of_all_symbols_and_never_beyond_the_start(world):
    asset = world.defs.resolve_assets_def("price_anomalies")
    mapping = asset.get_partition_mapping(dg.AssetKey("raw_prices"))
    partitions = asset.partitions_def

    def upstream(day):
        subset = partitions.subset_with_partition_keys([partition_key(day, "BTC")])
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(
            subset, partitions, partitions
        ).partitions_subset
        return set(found.get_partition_keys())

    def of_all(days):
        return {str(partition_key(day, symbol)) for day in days for symbol in world.symbols}

    assert upstream(world.today) == of_all(world.days_ago(n) for n in range(8))
    assert upstream(world.settings.history_start) == of_all([world.settings.history_start])
