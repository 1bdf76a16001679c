"""The schedules: the tick over today's partitions, the nightly completion of yesterday, the hourly ledger.

All are safe to repeat. What they decide is in pure functions; only the question whether the
previous run still goes needs the instance.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.core.clock import DAY
from market_pipeline.dagster_instance.names import (
    ACCOUNT_REQUESTS,
    COMPLETE_DAYS,
    COMPLETION_CRON,
    COMPLETION_SCHEDULE,
    LEDGER_CRON,
    LEDGER_SCHEDULE,
    TICK,
    TICK_SCHEDULE,
)
from market_pipeline.dagster_instance.ownership import Owner, own_runs
from market_pipeline.defs.jobs import LIVE_TAGS
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, first_day, range_tags

LONGEST_COMPLETION = timedelta(days=7)

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def tick_request(scheduled: datetime, symbols: Sequence[str]) -> dg.RunRequest:
    """One run over the day of `scheduled` (aware UTC) for all symbols."""
    day = scheduled.date()
    return dg.RunRequest(
        run_key=scheduled.isoformat(), tags={**range_tags(day, day, symbols), **LIVE_TAGS}
    )


def completion_request(
    scheduled: datetime, symbols: Sequence[str], last: dg.DagsterRun | None
) -> dg.RunRequest:
    """One run for all symbols up to the day before `scheduled` (aware UTC).

    It begins where `last`, the previous run of the job, left off, at most `LONGEST_COMPLETION` back: nights that
    were missed or failed are made up for, at the same number of requests.
    """
    yesterday = scheduled.date() - DAY
    first = max(_next_day(last) or yesterday, yesterday - LONGEST_COMPLETION + DAY)
    return dg.RunRequest(
        run_key=yesterday.isoformat(), tags=range_tags(min(first, yesterday), yesterday, symbols)
    )


def _next_day(last: dg.DagsterRun | None) -> date | None:
    """The first day that `last` did not complete, or None if it does not say."""
    if last is None or RANGE_START not in last.tags or RANGE_END not in last.tags:
        return None
    if last.status == dg.DagsterRunStatus.SUCCESS:
        return first_day(last.tags[RANGE_END]) + DAY
    return first_day(last.tags[RANGE_START])


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

    def runs(
        context: dg.ScheduleEvaluationContext, job: str, statuses: Sequence[dg.DagsterRunStatus] = ()
    ) -> Iterator[dg.DagsterRun]:
        return (record.dagster_run for record in own_runs(context.instance, owner, job, statuses))

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
        reason = skip_reason(TICK, in_the_way(runs(context, TICK, _UNFINISHED), request))
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
        if reason := skip_reason(COMPLETE_DAYS, runs(context, COMPLETE_DAYS, _UNFINISHED)):
            return dg.SkipReason(reason)
        last = next(runs(context, COMPLETE_DAYS), None)
        return completion_request(context.scheduled_execution_time, symbols, last)

    ledger_schedule = dg.ScheduleDefinition(
        name=LEDGER_SCHEDULE,
        job_name=ACCOUNT_REQUESTS,
        cron_schedule=LEDGER_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Shows what the last hour's requests were and cost.",
    )
    return [tick_schedule, completion_schedule, ledger_schedule]
