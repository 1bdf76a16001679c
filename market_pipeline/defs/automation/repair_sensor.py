"""The sensor that completes history: all since `HISTORY_START` on a first start, the gap after an outage.

It checks what the stored prices lack and starts one run at a time, newest days first; then runs that calibrate the
detectors where days have no calibration, and that recompute the anomalies and bars that depend on what has arrived,
also from the UI. When all is done, assets that wait for a later hour get their first run. `repair_decision` decides
which run is next.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg

from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.budget.status import budget_status
from market_pipeline.core.clock import DAY, iso, utc_now
from market_pipeline.core.slices import DayOfSymbol, Slice
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.failures import recorded_failure
from market_pipeline.dagster_instance.nonpublic import ASSET_JOB
from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.dagster_instance.runs_in_flight import end_dead_runs, runs_in_flight
from market_pipeline.defs.assets.request_ledger import REQUEST_LEDGER
from market_pipeline.defs.automation.missing_events import (
    record_complete_days,
    record_open_day,
    record_stored_days,
)
from market_pipeline.defs.automation.partition_events import PartitionEvents
from market_pipeline.defs.automation.repair_decision import (
    AFTER_SUCCESS,
    PastRun,
    Situation,
    next_run,
    without_outage,
)
from market_pipeline.defs.automation.stale_scores import (
    morning_is_over,
    outdated_days,
    unbarred_days,
    was_collected,
)
from market_pipeline.defs.logging.log_fields import logged_evaluation
from market_pipeline.pipeline.calibrate import due_calibrations
from market_pipeline.pipeline.missing_days import DAYS_SCORED, GappyDay, days_to_repair, repaired_span
from market_pipeline.pipeline.names import (
    ACCOUNT_REQUESTS,
    CALIBRATE_DETECTORS,
    COMPLETE_DAYS,
    REPAIR_SENSOR,
    RETENTION,
    SCORE_DAYS,
    STORAGE_RETENTION,
    TICK,
)
from market_pipeline.settings import Settings
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema

_JOBS = (COMPLETE_DAYS, CALIBRATE_DETECTORS, SCORE_DAYS)
# Their schedules would leave a new installation without these for an hour, or a night.
_FIRST_RUNS = {ACCOUNT_REQUESTS: REQUEST_LEDGER, RETENTION: STORAGE_RETENTION}
_CHECK_ANYWAY = timedelta(hours=1)
# Each takes 20 to 90 ms in files, and Dagster ends an evaluation after a minute.
_MOST_REPORTS = 200
_RECORDING = (
    "Partitions whose prices are stored are being recorded in Dagster; there are too many for one evaluation, the next "
    "ones record the rest."
)


def build_repair_sensor(
    settings: Settings, database: Database, owner: Owner, jobs: Sequence[Any]
) -> dg.SensorDefinition:
    """Define the sensor, running as soon as the code location is loaded; it starts all of `jobs` but the tick."""

    @dg.sensor(
        name=REPAIR_SENSOR,
        jobs=[job for job in jobs if job.name in (*_JOBS, *_FIRST_RUNS)],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests the prices that are missing since HISTORY_START, newest days first, one run at a time "
        "within the request budget; then calibrates, scores the days that need it, and writes their bars.",
    )
    @logged_evaluation
    def repair_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        end_dead_runs(context.instance, owner, _JOBS)
        for job in _JOBS:
            for run in runs_in_flight(context.instance, owner, job):
                return dg.SkipReason(
                    f"Run {run.run_id[:8]} of {job} is {run.status.value.lower()}; what it leaves is repaired when it "
                    "has ended. If it hangs, terminate it in the UI."
                )
        try:
            return _evaluate(context, settings, owner, database, utc_now())
        except StorageError as error:
            return dg.SkipReason(f"The stored prices cannot be read: {error}")

    return repair_sensor


def _evaluate(
    context: dg.SensorEvaluationContext, settings: Settings, owner: Owner, database: Database, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Return the next run, or why there is none; the cursor records when there was nothing to do."""
    first, last = repaired_span(settings, now)
    symbols, today = settings.catalogue.symbols, now.date()
    # A person who materializes assets in the UI brings prices and scores as well.
    ended = _ended_runs(context.instance, owner, (*_JOBS, ASSET_JOB), now)
    # Yesterday is scored again when today's first prices are stored and when its morning is over.
    morning = today, was_collected(context.instance, today, symbols), morning_is_over(today, now)
    newest = ended[0].dagster_run.run_id if ended else ""
    # The days of a coin whose id was corrected are missing at once.
    parts = (first, last, DETECTOR_VERSION, settings.market_symbols, newest, *morning)
    state = " ".join(map(str, parts))
    if _was_quiet(context.cursor, state, now):
        return dg.SkipReason(
            f"There was nothing to do from {first} to {last}, and no run has ended since; the next check is within "
            "the hour."
        )
    check_schema(database)
    gaps = days_to_repair(database, settings, now)
    missing = [(one.day, one.symbol) for one in gaps if one.due]
    calibrations = due_calibrations(database, symbols, now, missing=bool(missing))
    scored_from = max(first, today - DAYS_SCORED * DAY)
    days = _days(symbols, scored_from, today - DAY)
    # Days before these are scored once, and again where prices that they depend on come later.
    older = _days(symbols, settings.first_day(now), scored_from - DAY)
    events = PartitionEvents(context.instance, _MOST_REPORTS)
    recorded = record_stored_days(events, database, [*older, *days])
    if not recorded and not missing:
        # The days that follow them would be scored again.
        return dg.SkipReason(_RECORDING)
    gappy = {(one.day, one.symbol) for one in gaps}
    settled = [one for one in (*older, *days) if one[0] <= last]
    recorded &= record_complete_days(events, database, (one for one in settled if one not in gappy))
    outdated = outdated_days(events, database, days, symbols, now, older)
    # The night's completion writes the bars of yesterday.
    unbarred = unbarred_days(events, settled)
    if not unbarred:
        # Else it would keep the bars fresh in the UI while none can be written.
        recorded &= record_open_day(events, today, symbols)
    if not missing and not outdated and not unbarred and not calibrations.at_once:
        for job, asset in _FIRST_RUNS.items():
            materialized = context.instance.get_latest_materialization_event(dg.AssetKey(asset))
            # Once, whether it succeeds or not: a run key that is used would only keep this check from ending.
            if materialized is None and not context.instance.get_run_records(dg.RunsFilter(job_name=job), limit=1):
                return dg.RunRequest(run_key=f"first {asset}", job_name=job)
        if recorded and all(one.ask_again_at and one.ask_again_at > now + _CHECK_ANYWAY for one in gaps):
            context.update_cursor(f"{state}|{iso(now)}")
        return dg.SkipReason(_quiet(gaps, first, last) if recorded else _RECORDING)
    past = _past_runs(context.instance, ended)
    if not all(run.success for run in past):
        ticks = _ended_runs(context.instance, owner, (TICK,), now)
        past = without_outage(past, _past_runs(context.instance, ticks))
    budget = budget_status(settings, database, now)
    return next_run(Situation(now, missing, outdated, calibrations, past, budget, unbarred), symbols)


def _days(symbols: Sequence[str], first: date, last: date) -> list[DayOfSymbol]:
    return [(day, symbol) for symbol in symbols for day in Slice("", first, last).days]


def _quiet(gaps: Sequence[GappyDay], first: date, last: date) -> str:
    """Return why nothing is requested: nothing is missing, or CoinGecko had no prices a short time ago."""
    waiting = [one for one in gaps if not one.explained]
    if not waiting:
        return f"Nothing was missing from {first} to {last}."
    again = min(one.ask_again_at for one in waiting if one.ask_again_at)
    return (
        f"CoinGecko did not return the prices of {counted(len(waiting), 'partition')}; they are requested again from "
        f"{again:%Y-%m-%d %H:%M} UTC on. source_gaps holds the evidence."
    )


def _was_quiet(cursor: str | None, state: str, now: datetime) -> bool:
    """Return whether there was nothing to do in the same `state` less than an hour before `now`.

    A time after `now` was recorded by a clock that was ahead.
    """
    seen, _, when = (cursor or "").rpartition("|")
    return seen == state and abs(now - datetime.fromisoformat(when.replace("Z", "+00:00"))) < _CHECK_ANYWAY


def _ended_runs(
    instance: dg.DagsterInstance, owner: Owner, jobs: Sequence[str], now: datetime
) -> list[dg.RunRecord]:
    """Return `owner`'s runs of `jobs` that ended in the last hours, newest first."""
    ended = [
        record
        for job in jobs
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=job, updated_after=now - AFTER_SUCCESS), limit=100
        )
        if record.end_time and owner.owns(record.dagster_run)
    ]
    return sorted(ended, key=lambda record: record.end_time or 0.0, reverse=True)


def _past_runs(instance: dg.DagsterInstance, ended: Sequence[dg.RunRecord]) -> list[PastRun]:
    """Return the runs that `ended`, but those that were interrupted.

    They say nothing about the source: what had started them, such as `dagster dev`, was stopped.
    """
    failed = dg.DagsterRunStatus.FAILURE
    return [
        PastRun.of(record.dagster_run, datetime.fromtimestamp(record.end_time, timezone.utc))
        for record in ended
        if record.end_time
        and not (record.dagster_run.status is failed and not recorded_failure(instance, record.dagster_run.run_id))
    ]
