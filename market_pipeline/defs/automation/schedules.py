"""The schedules without a decision of their own: the tick, the completion of yesterday, the ledger, the retention.

All are safe to repeat. They skip while a run of the same job is in progress.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import dagster as dg

from market_pipeline.core.clock import DAY
from market_pipeline.dagster_instance.lanes import LIVE_TAGS
from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.dagster_instance.runs_in_flight import runs_in_flight
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, range_tags
from market_pipeline.pipeline.names import (
    ACCOUNT_REQUESTS,
    COMPLETE_DAYS,
    COMPLETION_CRON,
    COMPLETION_SCHEDULE,
    LEDGER_CRON,
    LEDGER_SCHEDULE,
    RETENTION,
    RETENTION_CRON,
    RETENTION_SCHEDULE,
    TICK,
    TICK_SCHEDULE,
)


def build_schedules(collect_cron: str, symbols: Sequence[str], owner: Owner) -> list[dg.ScheduleDefinition]:
    """Define the schedules, running as soon as the code location is loaded."""

    @dg.schedule(
        name=TICK_SCHEDULE,
        job_name=TICK,
        cron_schedule=collect_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Collects today's prices of all symbols with one request.",
    )
    def tick_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        request = tick_request(context.scheduled_execution_time, symbols)
        reason = skip_reason(TICK, blocking(runs_in_flight(context.instance, owner, TICK), request))
        return dg.SkipReason(reason) if reason else request

    @dg.schedule(
        name=COMPLETION_SCHEDULE,
        job_name=COMPLETE_DAYS,
        cron_schedule=COMPLETION_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Completes yesterday from hourly history, one request per symbol.",
    )
    def completion_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = skip_reason(COMPLETE_DAYS, runs_in_flight(context.instance, owner, COMPLETE_DAYS))
        return dg.SkipReason(reason) if reason else completion_request(context.scheduled_execution_time, symbols)

    @dg.schedule(
        name=RETENTION_SCHEDULE,
        job_name=RETENTION,
        cron_schedule=RETENTION_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Deletes old runs that newer ones have superseded.",
    )
    def retention_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = skip_reason(RETENTION, runs_in_flight(context.instance, owner, RETENTION))
        return dg.SkipReason(reason) if reason else dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    ledger_schedule = dg.ScheduleDefinition(
        name=LEDGER_SCHEDULE,
        job_name=ACCOUNT_REQUESTS,
        cron_schedule=LEDGER_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Shows the requests of the last hour and their cost.",
    )
    return [tick_schedule, completion_schedule, ledger_schedule, retention_schedule]


def tick_request(scheduled: datetime, symbols: Sequence[str]) -> dg.RunRequest:
    """Return the run over the day of `scheduled` (aware UTC) for all symbols."""
    day = scheduled.date()
    return dg.RunRequest(run_key=scheduled.isoformat(), tags={**range_tags(day, day, symbols), **LIVE_TAGS})


def completion_request(scheduled: datetime, symbols: Sequence[str]) -> dg.RunRequest:
    """Return the run over the day before `scheduled` (aware UTC) for all symbols.

    Missed nights need no catch-up here: the repair sensor finds days that lack prices.
    """
    yesterday = scheduled.date() - DAY
    return dg.RunRequest(run_key=yesterday.isoformat(), tags=range_tags(yesterday, yesterday, symbols))


def blocking(in_flight: Iterable[dg.DagsterRun], tick: dg.RunRequest) -> list[dg.DagsterRun]:
    """Return the runs that make `tick` redundant: those in progress, and those queued for the same partitions.

    A tick of yesterday that is still queued would not bring today's prices.
    """

    def is_blocking(run: dg.DagsterRun) -> bool:
        same = all(run.tags.get(tag) == tick.tags[tag] for tag in (RANGE_START, RANGE_END))
        return same or run.status is not dg.DagsterRunStatus.QUEUED

    return [run for run in in_flight if is_blocking(run)]


def skip_reason(job: str, in_flight: Sequence[dg.DagsterRun]) -> str | None:
    """Return why `job` is not started now; None if nothing blocks it."""
    if not in_flight:
        return None
    run = in_flight[0]
    return (
        f"Run {run.run_id[:8]} of {job} has not ended (status: {run.status.value.lower()}); this run is skipped and "
        "the next one catches up. If the run hangs, terminate it in the UI."
    )
