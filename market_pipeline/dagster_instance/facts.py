"""Read the facts about daemons, schedules and runs from Dagster's storage."""

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from market_pipeline.core.wording import first_line
from market_pipeline.dagster_instance.failures import failure_in, is_interruption
from market_pipeline.dagster_instance.ownership import Owner, located, own_runs
from market_pipeline.pipeline.facts import (
    AutomationState,
    DagsterFacts,
    FailedCheck,
    FailedRun,
    Heartbeat,
    JobState,
    StoredSize,
    judged,
)
from market_pipeline.pipeline.names import (
    CONSEQUENCES,
    DAGSTER_BYTES,
    ERROR_CHECKS,
    PRICES_BYTES,
    STORAGE_RETENTION,
    Automation,
    automations,
)

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorState

# On a failed run that Dagster starts again by itself; the last attempt has it no more.
_WILL_RETRY = "dagster/will_retry"

# Of a week: the nightly retention measures once a day.
_SIZES = 8


def read_facts(instance: "dg.DagsterInstance", owner: Owner, collect_cron: str, now: datetime) -> DagsterFacts:
    """Read what concerns `owner` in `instance`; errors of its storage propagate."""
    owner = located(instance, owner)
    return DagsterFacts(
        heartbeats(instance, now), automation_states(instance, owner, automations(collect_cron)),
        job_states(instance, owner, CONSEQUENCES), failed_checks(instance),
    )


def heartbeats(instance: "dg.DagsterInstance", now: datetime) -> list[Heartbeat]:
    """Read the state at `now` of the daemons that `instance` requires."""
    beats = {
        status.daemon_type: status.last_heartbeat
        for status in instance.get_daemon_statuses().values() if status.required
    }
    return judged({
        daemon: (_time(beat.timestamp), beat.errors[0].message if beat.errors else None) if beat else (None, None)
        for daemon, beat in beats.items()
    }, now)


def automation_states(
    instance: "dg.DagsterInstance", owner: Owner, wanted: Iterable[Automation]
) -> list[AutomationState]:
    """Read the state of each of `wanted`; one that `instance` has no record of is on and was never evaluated."""
    found = instigators(instance, owner)
    return [_automation(instance, automation, found.get(automation.name)) for automation in wanted]


def instigators(instance: "dg.DagsterInstance", owner: Owner) -> "dict[str, InstigatorState]":
    """Return Dagster's records of the schedules and sensors in `owner`'s code location, by name."""
    # States of renamed code locations may have the same names; the newest comes last.
    return {
        state.name: state
        for state in instance.all_instigator_state()
        if owner.location in (None, state.repository_selector.location_name)
    }


def _automation(
    instance: "dg.DagsterInstance", automation: Automation, state: "InstigatorState | None"
) -> AutomationState:
    if state is None:
        return AutomationState(automation, on=True)
    origin, selector = state.instigator_origin_id, state.selector_id
    last = next(iter(instance.get_ticks(origin, selector, limit=1)), None)
    if last is None:
        return AutomationState(automation, state.is_running)
    at, outcome = _time(last.timestamp), last.status.value.lower()
    if outcome != "failure":
        reason = first_line(last.skip_reason) if last.skip_reason else ""
        return AutomationState(automation, state.is_running, at, outcome, reason)
    from dagster._core.scheduler.instigation import TickStatus

    good = instance.get_ticks(origin, selector, limit=1, statuses=[TickStatus.SUCCESS, TickStatus.SKIPPED])
    error = first_line(last.error.message if last.error else "")
    worked_at = _time(good[0].timestamp) if good else None
    return AutomationState(automation, state.is_running, at, outcome, error, worked_at)


def job_states(instance: "dg.DagsterInstance", owner: Owner, jobs: Iterable[str]) -> list[JobState]:
    """Read how `owner`'s runs of each of `jobs` ended."""
    import dagster as dg

    success, failure = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
    states = []
    for job in jobs:
        ended = own_runs(instance, owner, job, [success, failure])
        last = next((run for run in ended if not is_retried(run.dagster_run)), None)
        if last is None or last.dagster_run.status is success:
            states.append(JobState(job, _ended(last), None))
        else:
            good = next(own_runs(instance, owner, job, [success]), None)
            states.append(JobState(job, _ended(good), _failed(instance, last)))
    return states


def is_retried(run: "dg.DagsterRun") -> bool:
    """Return whether `run` failed, and Dagster starts it again: only the last attempt counts."""
    return run.tags.get(_WILL_RETRY) == "true"


def failed_checks(instance: "dg.DagsterInstance") -> list[FailedCheck]:
    """Read which of the checks that do not block failed with an ERROR when they were last evaluated."""
    import dagster as dg
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

    failed = []
    for name, asset in ERROR_CHECKS.items():
        key, ended = dg.AssetCheckKey(dg.AssetKey(asset), name), {Status.FAILED, Status.SUCCEEDED}
        last = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=ended)
        if last and last[0].status is Status.FAILED and last[0].event and last[0].event.dagster_event:
            result = last[0].event.dagster_event.asset_check_evaluation_data
            if result.severity is dg.AssetCheckSeverity.ERROR:
                failed.append(FailedCheck(name, result.description or "see its result in the Dagster UI."))
    return failed


def _failed(instance: "dg.DagsterInstance", run: "dg.RunRecord") -> FailedRun | None:
    """Read why `run` failed; None if it was interrupted."""
    import dagster as dg

    run_id, evaluated = run.dagster_run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE, evaluated}
    records = instance.get_records_for_run(run_id, of_type=kinds).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event) is not None]
    if any(map(is_interruption, events)):
        return None
    results = [event.asset_check_evaluation_data for event in events if event.event_type is evaluated]
    checks = tuple(
        (check.check_name, check.description or "")
        for check in results
        if check.blocking and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    )
    failure = failure_in(events)
    return FailedRun(_ended(run) or run.update_timestamp, run_id, checks, first_line(failure.text), failure.ours)


def stored_sizes(instance: "dg.DagsterInstance") -> list[StoredSize]:
    """Return how much disk both stores took after each of the last retentions, newest first."""
    import dagster as dg

    found = instance.fetch_materializations(dg.AssetKey(STORAGE_RETENTION), limit=_SIZES).records
    sizes = []
    for record in found:
        metadata = record.asset_materialization.metadata if record.asset_materialization else {}
        dagster, prices = (metadata[name].value if name in metadata else None for name in (DAGSTER_BYTES, PRICES_BYTES))
        if isinstance(dagster, int) and isinstance(prices, int):
            sizes.append(StoredSize(_time(record.timestamp), dagster, prices))
    return sizes


def _ended(record: "dg.RunRecord | None") -> datetime | None:
    return _time(record.end_time) if record is not None and record.end_time else None


def _time(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, timezone.utc)
