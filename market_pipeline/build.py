"""`build_defs`: assets, checks, jobs, schedules, sensors and resources, put together for given settings."""

import warnings

import dagster as dg

from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.defs.assets.detector_calibration import build_detector_calibration
from market_pipeline.defs.assets.market_overview import build_market_overview
from market_pipeline.defs.assets.price_anomalies import build_price_anomalies
from market_pipeline.defs.assets.price_coverage import build_price_coverage
from market_pipeline.defs.assets.raw_prices import build_raw_prices
from market_pipeline.defs.assets.request_ledger import build_request_ledger
from market_pipeline.defs.automation.calibration_schedule import build_calibration_schedule
from market_pipeline.defs.automation.repair_sensor import build_repair_sensor
from market_pipeline.defs.automation.schedules import build_schedules
from market_pipeline.defs.checks.coin_ids import build_identity_check
from market_pipeline.defs.checks.history import build_history_checks
from market_pipeline.defs.checks.raw_prices import build_checks
from market_pipeline.defs.io_manager import DatabaseIOManager
from market_pipeline.defs.jobs import build_jobs
from market_pipeline.defs.partitions import price_partitions
from market_pipeline.defs.resources import CoinGeckoResource, DatabaseResource
from market_pipeline.settings import Settings


def build_defs(settings: Settings, location: str | None = None) -> dg.Definitions:
    """Assets, checks, jobs and schedules for the coins and times that `settings` names.

    With the name of its code `location` it takes no notice of the runs of others on the same instance.
    """
    # Multi-partition mappings and backfill policies are marked beta in Dagster 1.13; this project relies
    # on them knowingly and pins the version. Remove when they are stable.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    owner = owner_of(settings, location)
    jobs = build_jobs(owner)
    catalogue = settings.catalogue
    partitions = price_partitions(settings.history_start, catalogue.symbols)
    kinds = {"python", "postgres" if settings.database.get_backend_name() == "postgresql" else "sqlite"}
    return dg.Definitions(
        assets=[
            build_raw_prices(partitions, catalogue, kinds, settings.collect_cron),
            build_detector_calibration(catalogue, kinds),
            build_price_anomalies(partitions, kinds),
            build_market_overview(catalogue),
            build_price_coverage(catalogue, settings.history_start),
            build_request_ledger(kinds),
        ],
        asset_checks=[
            build_checks(catalogue.symbols, settings.collect_cron),
            build_identity_check(catalogue),
            build_history_checks(catalogue, settings.history_start),
        ],
        jobs=jobs,
        schedules=[
            *build_schedules(settings.collect_cron, catalogue.symbols, owner),
            build_calibration_schedule(settings, owner),
        ],
        sensors=[build_repair_sensor(settings, owner, jobs)],
        resources={
            "database": DatabaseResource(),
            "coingecko": CoinGeckoResource(plan=settings.coingecko_plan, base_url=settings.base_url),
            "io_manager": DatabaseIOManager(),
        },
        # A run is one request and a few rows: a process per step would double its cost.
        executor=dg.in_process_executor,
    )
