"""The records of Dagster's daemon and its runs in an instance, written as they write them."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

# What the daemon writes has no public types.
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

LOST = SerializableErrorInfo("OSError: disk gone\nmore", [], "OSError")


def served_job(name: str) -> dict[str, Any]:
    """Arguments of `create_run_for_job` for a job of a code location that is being served; queued runs need it."""
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("market_pipeline"), "__repository__")
    code = RepositoryPythonOrigin(sys.executable, ModuleCodePointer("market_pipeline.definitions", "defs"))
    return {"remote_job_origin": RemoteJobOrigin(place, name), "job_code_origin": JobPythonOrigin(name, code)}


def beat(instance: dg.DagsterInstance, age: timedelta, *errors: SerializableErrorInfo) -> None:
    """Let every daemon have reported so long ago."""
    for daemon in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age.total_seconds(), daemon, "id", errors))


def state_of(
    instance: dg.DagsterInstance,
    schedule: str,
    status: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
    location: str = "market_pipeline",
) -> InstigatorState:
    """Let a schedule of a code location be in this state."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__"), schedule
    )
    data = ScheduleInstigatorData("*/5 * * * *")
    return instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, status, data))


def evaluated(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    age: timedelta,
    status: TickStatus = TickStatus.SUCCESS,
    error: SerializableErrorInfo | None = None,
    reason: str | None = None,
) -> None:
    """Let a schedule have been evaluated so long ago."""
    instance.create_tick(TickData(
        state.instigator_origin_id, state.instigator_name, InstigatorType.SCHEDULE, status,
        time.time() - age.total_seconds(), run_ids=[], selector_id=state.selector_id, error=error, skip_reason=reason,
    ))


# Of a run that Dagster does not start again after a crash.
FOR_GOOD = {"dagster/max_retries": "0"}


def ended(
    instance: dg.DagsterInstance,
    status: dg.DagsterRunStatus,
    job: str = "tick",
    tags: Mapping[str, str] | None = None,
) -> str:
    """Let a run of `job` have ended just now, for good; its id."""
    started = dg.DagsterRunStatus.STARTED
    run = instance.add_run(dg.DagsterRun(job_name=job, status=started, tags={**FOR_GOOD, **(tags or {})}))
    if status is dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(run)
    else:
        instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, job), run.run_id)
    return run.run_id


def executed(
    instance: dg.DagsterInstance, job: str, outcome: BaseException | None = None, tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    """Execute a run of `job`, whose only step raises `outcome`, if there is one."""

    @dg.op(name=f"op_of_{job}")
    def work() -> None:
        if outcome is not None:
            raise outcome

    @dg.job(name=job, executor_def=dg.in_process_executor)
    def built() -> None:
        work()

    return built.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def stopped_by_check(instance: dg.DagsterInstance, job: str = "tick") -> None:
    """Execute a run of `job` whose prices do not pass a blocking check, nor another that stops nothing."""

    @dg.asset
    def raw_prices() -> None:
        return None

    @dg.asset_check(asset=raw_prices, blocking=True, name="no_future_timestamps")
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description="1 stored quote lies in the future. Delete it.")

    @dg.asset_check(asset=raw_prices)
    def quotes_are_fresh() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    jobs = [dg.define_asset_job(job, executor_def=dg.in_process_executor)]
    made = dg.Definitions(assets=[raw_prices], asset_checks=[check, quotes_are_fresh], jobs=jobs)
    made.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
