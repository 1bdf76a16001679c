"""The sensor that lets history fill itself: on a first start 30 days at once, after an outage the hole.

It looks at what the stored prices lack and starts one run at a time, the newest days first; then it
has anomalies computed again that depend on what came. What it decides is in `repair_decision`.
"""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import dagster as dg

from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.budget.status import budget_status
from market_pipeline.core.clock import DAY, iso, utc_now
from market_pipeline.core.slices import Slice
from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.dagster_instance.runs_in_flight import end_dead_runs, runs_in_flight
from market_pipeline.defs.automation.repair_decision import AFTER_SUCCESS, PastRun, Situation, next_run, without_outage
from market_pipeline.defs.automation.stale_scores import outdated_days
from market_pipeline.defs.logging.log_fields import logged_evaluation
from market_pipeline.pipeline.calibrate import MADE_AGAIN
from market_pipeline.pipeline.names import COMPLETE_DAYS, REPAIR_SENSOR, SCORE_DAYS, TICK
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.settings import Settings
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import outdated_calibrations
from market_pipeline.storage.schema.migrate import check_schema

if TYPE_CHECKING:
    from market_pipeline.pipeline.missing_days import GappyDay


REPAIRED_DAYS = 30
_LOOK_ANYWAY = timedelta(hours=1)


def build_repair_sensor(
    settings: Settings, database: Database, owner: Owner, jobs: Sequence[Any]
) -> dg.SensorDefinition:
    """The sensor, running as soon as the code location is loaded; it starts two of `jobs`."""

    @dg.sensor(
        name=REPAIR_SENSOR,
        jobs=[job for job in jobs if job.name in (COMPLETE_DAYS, SCORE_DAYS)],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Completes the last {REPAIRED_DAYS} days wherever prices are missing, one run at a "
        "time, within the request budget.",
    )
    @logged_evaluation
    def repair_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        repairs = (COMPLETE_DAYS, SCORE_DAYS)
        end_dead_runs(context.instance, owner, repairs)
        for job in repairs:
            for run in runs_in_flight(context.instance, owner, job):
                return dg.SkipReason(
                    f"Run {run.run_id[:8]} of {job} is {run.status.value.lower()}; what it leaves is looked "
                    "at when it has ended. If it hangs, terminate it in the UI."
                )
        try:
            return _look(context, settings, owner, database, utc_now())
        except StorageError as error:
            return dg.SkipReason(f"What is missing cannot be told: {error}")

    return repair_sensor


def _look(
    context: dg.SensorEvaluationContext, settings: Settings, owner: Owner, database: Database, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """The next run, or why there is none; the cursor remembers when there was nothing to do."""
    # It brings NumPy, which loading the code location can do without.
    from market_pipeline.pipeline.missing_days import DAYS_MEASURED, days_with_absences, gappy_days

    last = last_settled_day(now)
    first = max(settings.history_start, last - timedelta(days=REPAIRED_DAYS - 1))
    past = _ended_runs(context.instance, owner, (COMPLETE_DAYS, SCORE_DAYS), now)
    # The days of a coin whose id was corrected are missing at once.
    coins = hashlib.sha256(repr(settings.catalogue.ids).encode()).hexdigest()[:12]
    state = f"{first} {last} {DETECTOR_VERSION} {coins} {past[0].run_id if past else ''}"
    if _seen(context.cursor, state, now):
        return dg.SkipReason(
            f"There was nothing to do from {first} to {last}; no run has ended since, it is looked at again within "
            "the hour."
        )
    check_schema(database)
    gaps = gappy_days(database, settings.catalogue, first, last, now)
    measured = max(settings.history_start, last - timedelta(days=DAYS_MEASURED - 1))
    asked = days_with_absences(database, settings.catalogue, measured, first - DAY, now)
    missing = [(one.day, one.symbol) for one in [*gaps, *asked] if one.due]
    every_day = _every_day(settings, first, last)
    # After a change of the detectors the calibrations come first, of those days that had one.
    calibrated = not outdated_calibrations(database, now - MADE_AGAIN, DETECTOR_VERSION)
    outdated = outdated_days(
        context.instance, every_day, settings.catalogue.symbols, by_version=calibrated
    )
    if not missing and not outdated and not calibrated:
        # Not remembered: the scores are computed again as soon as the calibrations are there.
        return dg.SkipReason(
            f"{_quiet(gaps, first, last)} The detectors have changed; calibration_schedule makes their "
            "calibrations within the hour, then the scores of earlier detectors are computed again."
        )
    if not missing and not outdated:
        if all(one.ask_again_at and one.ask_again_at > now + _LOOK_ANYWAY for one in gaps):
            context.update_cursor(f"{state}|{iso(now)}")
        return dg.SkipReason(_quiet(gaps, first, last))
    budget = budget_status(settings, database, now)
    if not all(run.success for run in past):
        past = without_outage(past, _ended_runs(context.instance, owner, (TICK,), now))
    return next_run(Situation(now, missing, outdated, past, budget), settings.catalogue.symbols)


def _quiet(gaps: "Sequence[GappyDay]", first: date, last: date) -> str:
    """Why nothing is asked for: nothing is missing, or CoinGecko was asked for it a short time ago."""
    waiting = [one for one in gaps if not one.explained]
    if not waiting:
        return f"Nothing was missing from {first} to {last}."
    again = min(one.ask_again_at for one in waiting if one.ask_again_at)
    return (
        f"{len(waiting):,} partitions lack prices that CoinGecko did not give when it was asked; it is asked again "
        f"from {again:%Y-%m-%d %H:%M} UTC on. source_gaps holds the evidence."
    )


def _seen(cursor: str | None, state: str, now: datetime) -> bool:
    """Whether there was nothing to do in the same `state` less than an hour before `now`."""
    seen, _, when = (cursor or "").rpartition("|")
    return seen == state and now - datetime.fromisoformat(when.replace("Z", "+00:00")) < _LOOK_ANYWAY


def _every_day(settings: Settings, first: date, last: date) -> list[tuple[date, str]]:
    slices = [Slice(symbol, first, last) for symbol in settings.catalogue.symbols]
    return [(day, part.symbol) for part in slices for day in part.days]


def _ended_runs(
    instance: dg.DagsterInstance, owner: Owner, jobs: Sequence[str], now: datetime
) -> list[PastRun]:
    """The runs of `owner`'s `jobs` that ended lately, newest first."""
    ended = [
        PastRun.of(record.dagster_run, datetime.fromtimestamp(record.end_time, timezone.utc))
        for job in jobs
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=job, updated_after=now - AFTER_SUCCESS), limit=100
        )
        if record.end_time and owner.owns(record.dagster_run)
    ]
    return sorted(ended, key=lambda run: run.ended, reverse=True)
