"""The job `retention`: what it reports, and that a dry run changes nothing."""

from datetime import timedelta
from typing import Any

import pytest

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.core.clock import DAY, start_of_day, utc_now
from market_pipeline.pipeline.missing_days import DAYS_SCORED
from market_pipeline.settings import SettingsError, load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import AlertMessage, add_messages
from market_pipeline_tests.defs.world import World, WorldOf

SHORTEST = 200


def retain(world: World, *, dry_run: bool) -> dict[str, Any]:
    config = {"ops": {"storage_retention": {"config": {"dry_run": dry_run}}}}
    job = world.defs.resolve_job_def("retention")
    assert job.execute_in_process(instance=world.instance, run_config=config).success
    return world.latest_metadata("storage_retention")


def test_old_prices_are_thinned_and_old_runs_counted(world_of: WorldOf, sqlite_database: Database) -> None:
    world = world_of(sqlite_database, market_symbols="BTC", raw_prices_keep_days=SHORTEST)
    edge = start_of_day(utc_now().date()) - SHORTEST * DAY
    for minutes in (-10, -5, 5, 10):
        world.insert(symbol="BTC", timestamp=edge + timedelta(minutes=minutes), price=1.0)
    with sqlite_database.writing() as connection:
        for days in (91, 90, 89):
            message = AlertMessage(f"{days} days ago", "opened", "tick-failed", "alert", "Ticks fail", "")
            add_messages(connection, [message], utc_now() - days * DAY)
    assert retain(world, dry_run=True)["prices_to_thin"] == 1 and len(world.prices()) == 4
    numbers = retain(world, dry_run=False)
    assert numbers["prices_thinned"] == 1 and len(world.prices()) == 3
    assert numbers["alerts_deleted"] == 2
    assert (numbers["runs_deleted"], numbers["runs_kept_unfinished"], numbers["runs_kept_of_other_code"]) == (0, 1, 0)
    assert numbers["prices_bytes"] > 100_000 and numbers["dry_run"] is False


def test_no_day_that_is_scored_or_calibrated_by_itself_is_thinned() -> None:
    """A calibration of a past day is at most a week older than it, and reads the days before its own time."""
    read = DAYS_SCORED + max(LEAD_DAYS, 7 + PARAMETERS.calibration_days)
    assert read <= SHORTEST
    with pytest.raises(SettingsError, match="RAW_PRICES_KEEP_DAYS=199: allowed is a whole number from 200"):
        load_settings(None, raw_prices_keep_days=SHORTEST - 1)
