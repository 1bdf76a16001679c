"""The schedules: the tick over today's partitions, the nightly completion of yesterday, the hourly ledger.

All are safe to repeat. What they decide is in pure functions; only the question whether the
previous run still goes needs the instance.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.clock import DAY
from market_pipeline.defs.jobs import ACCOUNT_REQUESTS, COMPLETE_DAYS, TICK
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, first_day, range_tags

# CoinGecko publishes the last completed UTC day at 00:35 and its caches expire at 00:40.
COMPLETION_CRON = "45 0 * * *"
# The hour is over and so are the requests that it began.
LEDGER_CRON = "2 * * * *"
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
    return dg.RunRequest(run_key=scheduled.isoformat(), tags=range_tags(day, day, symbols))


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


def skip_reason(job: str, unfinished: Sequence[dg.DagsterRun]) -> str | None:
    """Why `job` is not started now, or None if nothing keeps it."""
    if not unfinished:
        return None
    run = unfinished[0]
    return (
        f"Run {run.run_id[:8]} of {job} is still {run.status.value.lower()}; this one is left out, the next makes up "
        "for it. If it hangs, terminate it in the UI."
    )


def build_schedules(collect_cron: str, symbols: Sequence[str]) -> list[dg.ScheduleDefinition]:
    """The schedules, running as soon as the code location is loaded."""

    @dg.schedule(
        name="tick_schedule",
        job_name=TICK,
        cron_schedule=collect_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Collects today's prices of all symbols with one request.",
    )
    def tick_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = skip_reason(TICK, _unfinished(context, TICK))
        return dg.SkipReason(reason) if reason else tick_request(context.scheduled_execution_time, symbols)

    @dg.schedule(
        name="completion_schedule",
        job_name=COMPLETE_DAYS,
        cron_schedule=COMPLETION_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Completes yesterday from hourly history, one request a symbol.",
    )
    def completion_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = skip_reason(COMPLETE_DAYS, _unfinished(context, COMPLETE_DAYS))
        return (
            dg.SkipReason(reason)
            if reason
            else completion_request(
                context.scheduled_execution_time, symbols, _latest(context, COMPLETE_DAYS)
            )
        )

    ledger_schedule = dg.ScheduleDefinition(
        name="ledger_schedule",
        job_name=ACCOUNT_REQUESTS,
        cron_schedule=LEDGER_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Shows what the last hour's requests were and cost.",
    )
    return [tick_schedule, completion_schedule, ledger_schedule]


def _latest(context: dg.ScheduleEvaluationContext, job: str) -> dg.DagsterRun | None:
    return next(iter(context.instance.get_runs(dg.RunsFilter(job_name=job), limit=1)), None)


def _unfinished(context: dg.ScheduleEvaluationContext, job: str) -> Sequence[dg.DagsterRun]:
    return context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNFINISHED), limit=1)
