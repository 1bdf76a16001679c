"""Facts read from a real instance with the records of daemon and runs."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._daemon.controller import DEFAULT_DAEMON_ERROR_INTERVAL_SECONDS
from dagster._utils.error import SerializableErrorInfo

from market_pipeline.alerts.leftovers import REPEATED_AFTER
from market_pipeline.core.clock import to_microseconds, utc_now
from market_pipeline.dagster_instance.facts import automation_states, failed_checks, heartbeats, job_states, read_facts
from market_pipeline.dagster_instance.failures import failure_in, is_interruption, recorded_failure
from market_pipeline.dagster_instance.failures_since import failed_evaluations, failed_runs, storage_id
from market_pipeline.dagster_instance.ownership import INSTALLATION, Owner, located, own_runs
from market_pipeline.pipeline.facts import AutomationState, JobState
from market_pipeline.pipeline.names import CONSEQUENCES, automations
from market_pipeline_tests.dagster_records import (
    FOR_GOOD,
    LOST,
    beat,
    ended,
    evaluated,
    executed,
    state_of,
    stopped_by_check,
)

MINUTE = timedelta(minutes=1)
SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
OURS = Owner("ours", "market_pipeline")
OUR_TAGS = {**OURS.tags, "dagster/code_location": "market_pipeline"}


def tick_schedule(instance: dg.DagsterInstance) -> AutomationState:
    return automation_states(instance, OURS, automations("*/5 * * * *"))[0]


def states(instance: dg.DagsterInstance, jobs: Sequence[str] = ("tick",), owner: Owner = OURS) -> list[JobState]:
    return job_states(instance, owner, jobs)


def test_a_new_instance_has_no_news(instance: dg.DagsterInstance) -> None:
    facts = read_facts(instance, OURS, "*/5 * * * *", utc_now())
    assert not facts.ever_reported and not facts.scheduler_alive
    assert {beat.daemon for beat in facts.daemons} >= {"SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING"}
    assert [state.on for state in facts.automations] == [True] * 6
    assert [(state.job, state.succeeded_at, state.failed) for state in facts.jobs] == [
        (job, None, None) for job in CONSEQUENCES
    ]


def test_daemons_report_times_and_errors(instance: dg.DagsterInstance) -> None:
    now = utc_now()
    beat(instance, 2 * MINUTE, SerializableErrorInfo("ValueError: no such thing\n", [], "ValueError"))
    for each in heartbeats(instance, now):
        assert each.alive and each.at is not None and abs(now - each.at - 2 * MINUTE) < timedelta(seconds=30)
        assert each.error == "ValueError: no such thing\n"
    assert timedelta(seconds=DEFAULT_DAEMON_ERROR_INTERVAL_SECONDS) < REPEATED_AFTER - 2 * MINUTE


def test_the_last_evaluation_of_a_schedule_and_the_last_that_worked(instance: dg.DagsterInstance) -> None:
    state = state_of(instance, "tick_schedule")
    assert tick_schedule(instance).evaluated_at is None
    evaluated(instance, state, 9 * MINUTE, TickStatus.SKIPPED, reason="still going\nmore")
    skipped = tick_schedule(instance)
    assert (skipped.on, skipped.outcome, skipped.reason) == (True, "skipped", "still going")
    for minutes in (2, 1):
        evaluated(instance, state, minutes * MINUTE, TickStatus.FAILURE, LOST)
    failed = tick_schedule(instance)
    assert (failed.outcome, failed.reason, failed.worked_at) == ("failure", "OSError: disk gone", skipped.evaluated_at)


@pytest.mark.parametrize(("status", "on"), [
    (InstigatorStatus.STOPPED, False), (InstigatorStatus.RUNNING, True), (InstigatorStatus.DECLARED_IN_CODE, True),
])
def test_a_schedule_is_on_until_stopped(status: InstigatorStatus, on: bool, instance: dg.DagsterInstance) -> None:
    state_of(instance, "tick_schedule", InstigatorStatus.STOPPED, location="theirs")
    assert tick_schedule(instance).on, "that of another code location is not ours"
    state_of(instance, "tick_schedule", status)
    assert tick_schedule(instance).on is on


def test_runs_of_others_do_not_count_once_ours_are_known(instance: dg.DagsterInstance) -> None:
    """Until then they may be ours: the same database has another name on another machine."""
    theirs = {"dagster/code_location": "theirs", INSTALLATION: "another"}
    ended(instance, FAILURE, tags=theirs)
    unknown = located(instance, Owner("ours"))
    assert unknown == Owner("") and states(instance, owner=unknown)[0].failed
    ours = ended(instance, SUCCESS, tags=OUR_TAGS)
    ended(instance, FAILURE, tags=theirs)
    assert located(instance, Owner("ours")) == OURS
    assert states(instance)[0].failed is None
    assert [record.dagster_run.run_id for record in own_runs(instance, OURS, "tick")] == [ours]


def test_ours_are_found_behind_two_pages_of_others(instance: dg.DagsterInstance) -> None:
    tags = [OUR_TAGS, OUR_TAGS, *[{INSTALLATION: "another"}] * 45]
    ours, earlier, *_ = [instance.add_run(dg.DagsterRun("tick", tags=each)).run_id for each in tags]
    assert [record.dagster_run.run_id for record in own_runs(instance, OURS, "tick")] == [earlier, ours]


def test_a_failed_job_has_the_reason_of_its_last_run(instance: dg.DagsterInstance) -> None:
    ended(instance, SUCCESS, "score_days")
    executed(instance, "complete_days", ValueError("no such coin\nat all"))
    ended(instance, FAILURE)
    executed(instance, "tick", dg.Failure("No prices for BTC: why."))
    tick, days, scores = states(instance, ("tick", "complete_days", "score_days"))
    assert tick.failed and (tick.failed.reason, tick.failed.ours) == ("No prices for BTC: why.", True)
    assert days.failed and (days.failed.reason, days.failed.ours) == ("ValueError: no such coin", False)
    assert tick.succeeded_at is None and scores.failed is None and scores.succeeded_at is not None
    ended(instance, SUCCESS)
    assert states(instance)[0].failed is None


def test_a_run_that_failed_outside_of_its_steps_has_its_own_message(instance: dg.DagsterInstance) -> None:
    run = instance.add_run(dg.DagsterRun("tick", status=dg.DagsterRunStatus.STARTED, tags=FOR_GOOD))
    instance.report_run_failed(run, "The worker was killed.")
    assert (failed := states(instance)[0].failed) and "The worker was killed." in failed.reason


def test_a_crashed_run_has_failed_once_its_last_attempt_has(instance: dg.DagsterInstance) -> None:
    first = instance.add_run(dg.DagsterRun("tick", status=dg.DagsterRunStatus.STARTED))
    instance.report_run_failed(first)
    assert states(instance)[0].failed is None, "Dagster starts it again"
    last = ended(instance, FAILURE)
    assert (failed := states(instance)[0].failed) and failed.run_id == last


def test_a_failed_check_counts_if_it_is_an_error_and_until_it_passes(instance: dg.DagsterInstance) -> None:
    def checked(passed: bool, severity: dg.AssetCheckSeverity) -> None:
        @dg.asset_check(asset="raw_prices", name="every_symbol_quoted")
        def check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=passed, severity=severity, description="ADA: no quote")

        checks = dg.Definitions(asset_checks=[check], jobs=[dg.define_asset_job(
            "checks", dg.AssetSelection.checks(check)
        )])
        checks.resolve_job_def("checks").execute_in_process(instance=instance)

    for passed, severity, found in [
        (False, dg.AssetCheckSeverity.WARN, []), (False, dg.AssetCheckSeverity.ERROR, ["ADA: no quote"]),
        (True, dg.AssetCheckSeverity.ERROR, []),
    ]:
        checked(passed, severity)
        assert [check.description for check in failed_checks(instance)] == found


def test_failures_since_a_cursor_are_those_that_last(instance: dg.DagsterInstance) -> None:
    ended(instance, FAILURE)
    before, cursor = failed_runs(instance, OURS, None)
    assert before == [] and failed_runs(instance, OURS, cursor) == ([], cursor)
    instance.report_run_failed(instance.add_run(dg.DagsterRun("tick", status=dg.DagsterRunStatus.STARTED)))
    executed(instance, "tick", dg.DagsterExecutionInterruptedError())
    executed(instance, "complete_days", dg.Failure("No prices for BTC: why."))
    by_hand = ended(instance, FAILURE, "__ASSET_JOB")
    ended(instance, SUCCESS)
    found, after = failed_runs(instance, OURS, cursor)
    assert [(one.name, one.reason) for one in found] == [
        ("complete_days", "No prices for BTC: why."), ("__ASSET_JOB", ""),
    ]
    assert found[1].run_id == by_hand and after > cursor
    assert failed_runs(instance, OURS, after) == ([], after)
    assert storage_id(instance)


def test_failed_evaluations_since_a_time(instance: dg.DagsterInstance) -> None:
    now = utc_now()
    assert failed_evaluations(instance, OURS, "* * * * *", None, now) == ([], to_microseconds(now))
    state = state_of(instance, "tick_schedule")
    for minutes, status in [(9, TickStatus.FAILURE), (5, TickStatus.FAILURE), (2, TickStatus.SUCCESS)]:
        evaluated(instance, state, minutes * MINUTE, status, LOST if status is TickStatus.FAILURE else None)
    found, cursor = failed_evaluations(instance, OURS, "* * * * *", to_microseconds(now - 7 * MINUTE), now)
    assert [one.name for one in found] == ["tick_schedule"] and cursor == to_microseconds(found[0].at)
    assert failed_evaluations(instance, OURS, "* * * * *", cursor, now) == ([], cursor)


def test_a_blocking_check_that_stopped_a_run_is_named_with_its_result(instance: dg.DagsterInstance) -> None:
    stopped_by_check(instance)
    failed = states(instance)[0].failed
    assert failed and failed.checks == (
        ("no_future_timestamps", "1 stored quote lies in the future. Delete it."),
    )


def test_an_interrupted_run_is_not_a_failure(instance: dg.DagsterInstance) -> None:
    """Ctrl-C in the middle of a tick; it is started again with the rest."""
    result = executed(instance, "tick", dg.DagsterExecutionInterruptedError())
    assert not result.success and states(instance)[0].failed is None
    assert any(is_interruption(event) for event in result.all_events)
    failed = executed(instance, "another", ValueError("no"))
    assert not any(is_interruption(event) for event in failed.all_events)
    assert failure_in(failed.all_events) == ("ValueError: no", False)


def test_a_run_that_was_interrupted_between_two_steps_is_not_a_failure(instance: dg.DagsterInstance) -> None:
    run = instance.add_run(dg.DagsterRun("tick", status=dg.DagsterRunStatus.STARTED, tags=FOR_GOOD))
    reason = RunFailureReason.UNEXPECTED_TERMINATION
    instance.report_run_failed(run, "It was interrupted.", JobFailureData(None, reason))
    assert recorded_failure(instance, run.run_id) is None and states(instance)[0].failed is None
    assert failure_in([]) == ("", False)
