"""How did the last run of each job end, and why did it fail?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from market_pipeline.clock import DAY
from market_pipeline.doctor.finding import Finding, fail, not_examined, ok
from market_pipeline.doctor.subject import Subject
from market_pipeline.doctor.words import first_line, some, span

if TYPE_CHECKING:
    import dagster as dg

# A day of ticks and the runs between them.
_LOOKED_AT = 500
# What Dagster says of a run that somebody stopped; `make run` does so with Ctrl-C.
_INTERRUPTED = "DagsterExecutionInterruptedError"


def examine_runs(subject: Subject) -> Iterator[Finding]:
    """One finding: the jobs whose newest finished run of the last 24 hours failed, with the newest reason."""
    if subject.instance is None:
        yield not_examined("runs", subject.without_instance)
        return
    newest = _newest_finished(subject, subject.instance)
    failed = [
        record
        for record in newest.values()
        if record.dagster_run.status.value == "FAILURE"
        and _INTERRUPTED not in _reason(subject.instance, record.dagster_run.run_id)
    ]
    if not newest:
        yield ok("runs", "none has finished in the last 24 hours", failed_jobs=0)
        return
    if not failed:
        yield ok("runs", f"the newest run of each job went well or was stopped: {some(sorted(newest))}", failed_jobs=0)
        return
    last = failed[0]
    run = last.dagster_run
    age = span((subject.clock().timestamp() - (last.end_time or 0.0)))
    reason = _reason(subject.instance, run.run_id)
    yield fail(
        "runs", f"{run.job_name} failed {age} ago (run {run.run_id[:8]}): {reason}",
        "Do what the reason says; the run is under Runs in the UI.",
        failed_jobs=len(failed), run_id=run.run_id,
        jobs=", ".join(record.dagster_run.job_name for record in failed),
    )


def _newest_finished(subject: Subject, instance: "dg.DagsterInstance") -> dict[str, "dg.RunRecord"]:
    """The newest finished run of each job, the newest first."""
    import dagster as dg

    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    since = subject.clock() - DAY
    wanted = dg.RunsFilter(statuses=finished, updated_after=since)
    found: dict[str, dg.RunRecord] = {}
    for record in instance.get_run_records(wanted, limit=_LOOKED_AT):
        found.setdefault(record.dagster_run.job_name, record)
    return found


def _reason(instance: "dg.DagsterInstance", run_id: str) -> str:
    """What the first failed step said, else what the run itself said."""
    import dagster as dg

    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(run_id, of_type=kinds).records
    events = [record.event_log_entry.dagster_event for record in records]
    for event in events:
        if event is not None and event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return first_line(data.user_failure_data.description)
            if data.error:
                return first_line((data.error.cause or data.error).message)
    return first_line(next((event.message or "" for event in events if event is not None), ""))
