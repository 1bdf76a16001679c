"""`build_defs`: assets, checks, jobs, schedules, sensor and resources of given settings, put together."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.defs.assets.coingecko import build_endpoints
from market_pipeline.defs.assets.daily_bars import build_daily_bars
from market_pipeline.defs.assets.detector_calibration import build_detector_calibration
from market_pipeline.defs.assets.market_overview import build_market_overview
from market_pipeline.defs.assets.price_anomalies import build_price_anomalies
from market_pipeline.defs.assets.price_coverage import build_price_coverage
from market_pipeline.defs.assets.raw_prices import build_raw_prices
from market_pipeline.defs.assets.request_ledger import build_request_ledger
from market_pipeline.defs.assets.storage_retention import build_storage_retention
from market_pipeline.defs.automation.calibration_schedule import build_calibration_schedule
from market_pipeline.defs.automation.repair_sensor import build_repair_sensor
from market_pipeline.defs.automation.schedules import build_schedules
from market_pipeline.defs.checks.coin_ids import build_identity_check
from market_pipeline.defs.checks.derived import build_derived_checks
from market_pipeline.defs.checks.history import build_history_checks
from market_pipeline.defs.checks.raw_prices import build_price_checks
from market_pipeline.defs.freshness import with_freshness
from market_pipeline.defs.io_manager import DatabaseIOManager
from market_pipeline.defs.jobs import build_jobs
from market_pipeline.defs.partitions import price_partitions
from market_pipeline.defs.resources import CoinGeckoResource
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database


def build_defs(
    settings: Settings, *, resources: Mapping[str, Any] | None = None, location: str | None = None
) -> dg.Definitions:
    """Define the code location of `settings` without touching the process, its environment or the database.

    `resources` replace those that would be made from the settings: `database` (a `Database`), which schedules and
    sensor use too, `coingecko` and `io_manager`. With the name of its code `location` it ignores the runs of other
    locations on the same instance.
    """
    given = dict(resources or {})
    database: Database = given.setdefault("database", Database(settings.database, settings.catalogue.ids))
    with warnings.catch_warnings():
        # Beta in Dagster 1.13, which is pinned: multi-partition mappings and backfill policies.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _definitions(settings, database, given, location)


def _definitions(
    settings: Settings, database: Database, given: Mapping[str, Any], location: str | None
) -> dg.Definitions:
    owner = owner_of(settings, location)
    jobs = build_jobs(owner)
    catalogue = settings.catalogue
    first_day = settings.first_day(utc_now())
    partitions = price_partitions(first_day, catalogue.symbols)
    kind = "postgres" if database.dialect == "postgresql" else "sqlite"
    assets = [
        build_raw_prices(partitions, settings, kind),
        build_detector_calibration(settings, kind),
        build_price_anomalies(partitions, settings, kind),
        build_daily_bars(partitions, settings, kind),
        build_market_overview(settings),
        build_price_coverage(catalogue, first_day),
        build_request_ledger(settings, kind),
        build_storage_retention(settings),
    ]
    return dg.Definitions(
        assets=[*build_endpoints(), *with_freshness(assets, settings.collect_cron)],
        asset_checks=[
            build_price_checks(catalogue.symbols, settings.collect_cron),
            build_identity_check(catalogue),
            build_history_checks(catalogue, first_day),
            *build_derived_checks(catalogue),
        ],
        jobs=jobs,
        schedules=[
            *build_schedules(settings.collect_cron, catalogue.symbols, owner),
            build_calibration_schedule(settings, database, owner),
        ],
        sensors=[build_repair_sensor(settings, database, owner, jobs)],
        resources={
            "coingecko": CoinGeckoResource(settings, database),
            "io_manager": DatabaseIOManager(database),
            **given,
        },
        # A run is one request and a few rows: a process per step would double its cost.
        executor=dg.in_process_executor,
    )
