"""The schedule of the daily calibration of the detectors: once a day, as soon as history is complete.

It is evaluated every hour, because a computer may be off at any hour of the day. Once the calibration is stored an
evaluation costs one query. The repair sensor starts the same job where days have no calibration at all.
"""

from datetime import date, datetime, timezone

import dagster as dg

from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import utc_now
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.ownership import Owner, own_runs
from market_pipeline.dagster_instance.runs_in_flight import end_dead_runs, runs_in_flight
from market_pipeline.defs.logging.log_fields import logged_evaluation
from market_pipeline.pipeline.calibrate import next_as_of, uncalibrated
from market_pipeline.pipeline.missing_days import days_to_repair
from market_pipeline.pipeline.names import CALIBRATE_DETECTORS, CALIBRATION_CRON, CALIBRATION_SCHEDULE, COMPLETE_DAYS
from market_pipeline.settings import Settings
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import stored_documents
from market_pipeline.storage.schema.migrate import check_schema

_AGAIN = "the next evaluation is in an hour."


def build_calibration_schedule(settings: Settings, database: Database, owner: Owner) -> dg.ScheduleDefinition:
    """Define the schedule, running as soon as the code location is loaded."""

    @dg.schedule(
        name=CALIBRATION_SCHEDULE,
        job_name=CALIBRATE_DETECTORS,
        cron_schedule=CALIBRATION_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Calibrates the detectors once a day, for the days from the coming midnight on.",
    )
    @logged_evaluation
    def calibration_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            reason = _skip_reason(context.instance, owner, database, settings, utc_now())
        except StorageError as error:
            reason = f"The stored calibrations cannot be read: {error}"
        # One key per evaluation, so that a failed run is followed by another.
        key = context.scheduled_execution_time.isoformat()
        return dg.SkipReason(reason) if reason else dg.RunRequest(run_key=key)

    return calibration_schedule


def _skip_reason(
    instance: dg.DagsterInstance, owner: Owner, database: Database, settings: Settings, now: datetime
) -> str | None:
    """Return why the detectors are not calibrated at `now` (aware UTC); None if they are."""
    check_schema(database)
    as_of = next_as_of(now)
    symbols = settings.catalogue.symbols
    stored = stored_documents(database, as_of, DETECTOR_VERSION)
    if stored and not uncalibrated(database, symbols, as_of):
        without = [symbol for symbol in symbols if symbol not in stored]
        exception = f", except for {', '.join(without)}: no quotes in the last 90 days" if without else ""
        return f"The calibration for the days from {as_of.date()} on is stored{exception}."
    jobs = (CALIBRATE_DETECTORS, COMPLETE_DAYS)
    end_dead_runs(instance, owner, jobs)
    for job in jobs:
        for run in runs_in_flight(instance, owner, job):
            return f"Run {run.run_id[:8]} of {job} is {run.status.value.lower()}; {_AGAIN}"
    missing = [day for day in days_to_repair(database, settings, now) if day.due]
    return waiting_for(len(missing), completed_on(now.date(), instance, owner))


def waiting_for(missing: int, completed: bool) -> str | None:
    """Return why to wait while days of symbols are `missing`, unless a run `completed` all that is available today.

    On a first start the history arrives within minutes, and the sensor calibrates as soon as it is there. Prices that
    the source does not have are not waited for.
    """
    if missing and not completed:
        return f"Waiting for the prices of {counted(missing, 'partition')} that may still arrive; {_AGAIN}"
    return None


def completed_on(day: date, instance: dg.DagsterInstance, owner: Owner) -> bool:
    """Return whether `owner`'s newest successful run of `COMPLETE_DAYS` ended on `day` (UTC) or later."""
    newest = next(own_runs(instance, owner, COMPLETE_DAYS, [dg.DagsterRunStatus.SUCCESS]), None)
    if newest is None or newest.end_time is None:
        return False
    return datetime.fromtimestamp(newest.end_time, timezone.utc).date() >= day
