"""Why a run failed, according to its events."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import dagster as dg


class Failure(NamedTuple):
    """What the first failed step reported, or else the run itself; `ours` if this package wrote the text."""

    text: str
    ours: bool


def failure_in(events: "Iterable[dg.DagsterEvent]") -> Failure:
    """Return why the run with these `events`, in their order, failed; an empty text if they do not say."""
    run_message = ""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return Failure(data.user_failure_data.description, True)
            if data.error:
                return Failure((data.error.cause or data.error).message.strip(), False)
        if event.is_failure and not run_message:
            run_message = event.message or ""
    return Failure(run_message, False)


def is_interruption(event: "dg.DagsterEvent") -> bool:
    """Return whether the run was interrupted: Dagster records a failure of the step, or of the run between two steps.

    By Ctrl-C in its process, or because what had launched the process was stopped.
    """
    from dagster._core.events import JobFailureData, RunFailureReason
    from dagster._core.execution.plan.objects import ErrorSource

    if event.is_step_failure:
        return event.step_failure_data.error_source is ErrorSource.INTERRUPT
    data = event.event_specific_data
    return isinstance(data, JobFailureData) and data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION


def recorded_failure(instance: "dg.DagsterInstance", run_id: str) -> Failure | None:
    """Return why the failed run `run_id` did, by the events in `instance`; None if it was interrupted."""
    import dagster as dg

    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(run_id, of_type=kinds).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event) is not None]
    return None if any(map(is_interruption, events)) else failure_in(events)
