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
    """Return whether Ctrl-C interrupted a step, which Dagster records as a failure of the step."""
    from dagster._core.execution.plan.objects import ErrorSource

    return event.is_step_failure and event.step_failure_data.error_source is ErrorSource.INTERRUPT
