"""The schedules: the tick over today's partitions, the nightly completion of yesterday, the hourly ledger.

All are safe to repeat. What they decide is in pure functions; only the question whether the
previous run still goes needs the instance.
"""

from collections.abc import Iterable, Iterator, Sequence
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
    TICK,
    TICK_SCHEDULE,
)


def tick_request(scheduled: datetime, symbols: Sequence[str]) -> dg.RunRequest:
    """One run over the day of `scheduled` (aware UTC) for all symbols."""
    day = scheduled.date()
    return dg.RunRequest(
        run_key=scheduled.isoformat(), tags={**range_tags(day, day, symbols), **LIVE_TAGS}
    )


def completion_request(scheduled: datetime, symbols: Sequence[str]) -> dg.RunRequest:
    """Return a run over the day before `scheduled` (aware UTC) for all symbols.

    Nights that were missed are the repair sensor's.
    """
    yesterday = scheduled.date() - DAY
    return dg.RunRequest(run_key=yesterday.isoformat(), tags=range_tags(yesterday, yesterday, symbols))


def skip_reason(job: str, unfinished: Iterable[dg.DagsterRun]) -> str | None:
    """Why `job` is not started now, or None if nothing keeps it."""
    run = next(iter(unfinished), None)
    return None if run is None else (
        f"Run {run.run_id[:8]} of {job} is still {run.status.value.lower()}; this one is left out, the next makes up "
        "for it. If it hangs, terminate it in the UI."
    )


def in_the_way(unfinished: Iterable[dg.DagsterRun], tick: dg.RunRequest) -> Iterator[dg.DagsterRun]:
    """Those for which `tick` is left out: at work, or queued for the same partitions, whose prices it will bring.

    A tick of yesterday that is queued still does not bring those of today.
    """
    for run in unfinished:
        same = all(run.tags.get(tag) == tick.tags[tag] for tag in (RANGE_START, RANGE_END))
        if same or run.status is not dg.DagsterRunStatus.QUEUED:
            yield run


def build_schedules(
    collect_cron: str, symbols: Sequence[str], owner: Owner
) -> list[dg.ScheduleDefinition]:
    """The schedules, running as soon as the code location is loaded."""

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
        reason = skip_reason(TICK, in_the_way(runs_in_flight(context.instance, owner, TICK), request))
        return dg.SkipReason(reason) if reason else request

    @dg.schedule(
        name=COMPLETION_SCHEDULE,
        job_name=COMPLETE_DAYS,
        cron_schedule=COMPLETION_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Completes yesterday from hourly history, one request a symbol.",
    )
    def completion_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if reason := skip_reason(COMPLETE_DAYS, runs_in_flight(context.instance, owner, COMPLETE_DAYS)):
            return dg.SkipReason(reason)
        return completion_request(context.scheduled_execution_time, symbols)

    ledger_schedule = dg.ScheduleDefinition(
        name=LEDGER_SCHEDULE,
        job_name=ACCOUNT_REQUESTS,
        cron_schedule=LEDGER_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Shows what the last hour's requests were and cost.",
    )
    return [tick_schedule, completion_schedule, ledger_schedule]
