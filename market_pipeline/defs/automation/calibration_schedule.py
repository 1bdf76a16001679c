"""The schedule that has tomorrow's calibration made: once a day, as soon as the history is there.

It looks every hour, because a computer may be off at any hour of the day; a look at what is stored
already costs one query.
"""

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.dagster_instance.runs_in_flight import runs_in_flight
from market_pipeline.defs.automation.repair_sensor import REPAIRED_DAYS
from market_pipeline.defs.logging.log_fields import logged_evaluation
from market_pipeline.pipeline.calibrate import MADE_AGAIN, next_as_of, uncalibrated
from market_pipeline.pipeline.names import CALIBRATE_DETECTORS, CALIBRATION_CRON, CALIBRATION_SCHEDULE, COMPLETE_DAYS
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.settings import Settings
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import outdated_calibrations, stored_documents
from market_pipeline.storage.schema.migrate import check_schema

_AGAIN = "this is looked at again in an hour."


def build_calibration_schedule(settings: Settings, database: Database, owner: Owner) -> dg.ScheduleDefinition:
    """The schedule, running as soon as the code location is loaded."""

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
            reason = _why_not(context.instance, owner, database, settings, utc_now())
        except StorageError as error:
            reason = f"Whether there is a calibration cannot be told: {error}"
        # A key of its own for each look, so that a run that failed is followed by another.
        key = context.scheduled_execution_time.isoformat()
        return dg.SkipReason(reason) if reason else dg.RunRequest(run_key=key)

    return calibration_schedule


def _why_not(
    instance: dg.DagsterInstance, owner: Owner, database: Database, settings: Settings, now: datetime
) -> str | None:
    """Why the detectors are not calibrated at `now`, or None."""
    check_schema(database)
    as_of = next_as_of(now)
    symbols = settings.catalogue.symbols
    stored = stored_documents(database, as_of, DETECTOR_VERSION)
    due = uncalibrated(database, symbols, as_of, DETECTOR_VERSION)
    if stored and not due and not outdated_calibrations(database, now - MADE_AGAIN, DETECTOR_VERSION):
        return f"The calibration for the days from {as_of.date()} on is stored{_but(symbols, stored)}."
    for job in (CALIBRATE_DETECTORS, COMPLETE_DAYS):
        for run in runs_in_flight(instance, owner, job):
            return f"Run {run.run_id[:8]} of {job} is {run.status.value.lower()}; {_AGAIN}"
    return waiting_for(_missing(database, settings, now), completed_on(now.date(), instance, owner))


def _but(symbols: Iterable[str], stored: Collection[str]) -> str:
    missing = [symbol for symbol in symbols if symbol not in stored]
    return f", but for {', '.join(missing)}: no quotes of the last 90 days" if missing else ""


def waiting_for(missing: Collection[tuple[date, str]], completed: bool) -> str | None:
    """Why to wait while days of symbols are `missing`, unless a run `completed` what there was to get today.

    On a first start the history comes within minutes; a calibration from what little is there before
    could not be replaced. What the source does not give is not waited for.
    """
    if missing and not completed:
        return f"{len(missing):,} partitions lack prices that may still come; {_AGAIN}"
    return None


def completed_on(day: date, instance: dg.DagsterInstance, owner: Owner) -> bool:
    """Whether a run of `owner`'s `COMPLETE_DAYS` has ended well on `day` (UTC)."""
    done = dg.RunsFilter(
        job_name=COMPLETE_DAYS, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=start_of_day(day)
    )
    return any(owner.owns(run) for run in instance.get_runs(done))


def _missing(database: Database, settings: Settings, now: datetime) -> list[tuple[date, str]]:
    """The days that complete themselves and lack prices for which CoinGecko is to be asked now."""
    # It brings NumPy, which loading the code location can do without.
    from market_pipeline.pipeline.missing_days import due_days

    last = last_settled_day(now)
    first = max(settings.history_start, last - timedelta(days=REPAIRED_DAYS - 1))
    return due_days(database, settings.catalogue, first, last, now)
