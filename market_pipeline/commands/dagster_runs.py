"""Runs of the project's jobs in this process, recorded in the project's Dagster instance.

The UI shows them like those of the schedules. Loading Dagster takes seconds, so one process executes
them all; whether `make run` is at work on the same instance does not matter.
"""

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.home import open_instance, ready_home
from market_pipeline.logs import at_least, get_logger
from market_pipeline.prices.windows import Repair
from market_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


logger = get_logger(__name__)

_POLL_SECONDS = 5.0
_PATIENCE_SECONDS = 600.0
# What a person needs of a run is said by the command; the UI has every event.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Ended:
    """How a run ended: `reason` is why it failed, `rows` and `requests` what a good one stored and sent."""

    run_id: str
    success: bool
    reason: str
    rows: int
    requests: int


class Runs:
    """Executes jobs over rectangles of partitions, one run at a time."""

    def __init__(self, settings: Settings, instance: "dg.DagsterInstance", tags: Mapping[str, str]) -> None:
        self.instance = instance
        self._settings = settings
        self._tags = tags

    @cached_property
    def _defs(self) -> "dg.Definitions":
        from market_pipeline.build import build_defs

        return build_defs(self._settings)

    def execute(self, job: str, part: Repair) -> Ended:
        """One run of `job` over the partitions of `part`.

        Interrupted, it is marked canceled, and KeyboardInterrupt is raised.
        """
        import dagster as dg

        from market_pipeline.dagster_instance.failures import is_interruption
        from market_pipeline.defs.partitions import range_tags

        run_id = str(uuid.uuid4())
        try:
            result = self._defs.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                run_id=run_id,
                tags={**range_tags(part.first, part.last, part.symbols), **self._tags},
                run_config=_QUIET,
                raise_on_error=False,
            )
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            interrupted = True
        else:
            interrupted = any(is_interruption(event) for event in result.all_events)
        if interrupted:
            self._cancel(run_id)
            raise KeyboardInterrupt
        rows, requests = (_number(result, name) for name in ("rows_written", "requests_in_this_run"))
        return Ended(run_id, result.success, _why_failed(result), rows, requests)

    def wait_for_others(self, job: str) -> None:
        """Let a run of `job` that somebody else has at work end first: it may ask for the same.

        A run that hangs is not waited for without end.
        """
        from market_pipeline.dagster_instance.ownership import owner_of
        from market_pipeline.dagster_instance.runs_in_flight import SOON, end_dead_runs, runs_in_flight

        owner = owner_of(self._settings)
        end_dead_runs(self.instance, owner, [job])
        patience = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < patience:
            others = runs_in_flight(self.instance, owner, job, queued_since=utc_now() - SOON)
            if not others:
                return
            other = others[0]
            logger.warning("Waiting for run %s of %s to end", other.run_id[:8], job, extra={"run": other.run_id})
            time.sleep(_POLL_SECONDS)

    def _cancel(self, run_id: str) -> None:
        run = self.instance.get_run_by_id(run_id)
        if run is not None and not run.is_success:
            self.instance.report_run_canceled(run, "Interrupted. What it had stored is kept.")


def _number(result: "dg.ExecuteInProcessResult", name: str) -> int:
    """A number that the run tells with each of the partitions of `raw_prices`."""
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key and event.asset_key.path[-1] == "raw_prices":
            value: Any = event.materialization.metadata.get(name)
            if value is not None:
                return int(value.value)
    return 0


def _why_failed(result: "dg.ExecuteInProcessResult") -> str:
    """What the failed step says, in its own words."""
    from market_pipeline.dagster_instance.failures import failure_in

    return failure_in(result.all_events).text or ("" if result.success else "see its events in the UI")


@contextmanager
def recorded_runs(settings: Settings) -> Iterator[Runs]:
    """Runs on the instance of the current home.

    Inside the block only warnings are logged to the terminal; the UI has every line.
    """
    from market_pipeline.dagster_instance.runs_in_flight import executing_here

    with (
        at_least(logging.WARNING), open_instance(ready_home(), capture=False) as instance,
        executing_here(instance) as tags,
    ):
        yield Runs(settings, instance, tags)
