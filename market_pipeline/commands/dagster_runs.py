"""Runs of the project's jobs in this process, recorded in the project's Dagster instance.

The UI shows them like those of the schedules. Loading Dagster takes seconds, so one process executes them all;
`market-pipeline run` may use the same instance at the same time.
"""

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from market_pipeline.build import build_defs
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.failures import failure_in, is_interruption
from market_pipeline.dagster_instance.home import open_instance, ready_home, variables_of
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.nonpublic import cancel_run
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.dagster_instance.runs_in_flight import SOON, end_dead_runs, executing_here, runs_in_flight
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REQUESTS
from market_pipeline.defs.partitions import range_tags
from market_pipeline.logs import at_least, get_logger
from market_pipeline.pipeline.collect import ROWS_WRITTEN
from market_pipeline.prices.windows import Repair
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

logger = get_logger(__name__)

# The command prints what matters of a run; the UI has every event.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunEnd:
    """How a run ended: why it failed, or how many rows it stored and requests it sent."""

    run_id: str
    success: bool
    reason: str
    rows: int
    requests: int


class Runs:
    """Executes jobs over rectangles of partitions, one run at a time."""

    # How often another process's run is polled, and for how long: one that hangs must not block a command.
    poll_seconds = 5.0
    patience_seconds = 600.0

    def __init__(
        self, settings: Settings, database: Database, instance: dg.DagsterInstance, tags: Mapping[str, str]
    ) -> None:
        self.instance = instance
        self._settings = settings
        self._database = database
        self._tags = tags

    @cached_property
    def _defs(self) -> dg.Definitions:
        return build_defs(self._settings, resources={"database": self._database})

    def execute(self, job: str, part: Repair) -> RunEnd:
        """Execute one run of `job` over the partitions of `part`.

        An interrupted run is marked canceled, and KeyboardInterrupt is raised.
        """
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
            cancel_run(self.instance, run_id, "Interrupted. Rows that it had stored remain.")
            raise KeyboardInterrupt
        reason = failure_in(result.all_events).text or ("" if result.success else "see its events in the UI")
        rows = sum(_numbers(result, ROWS_WRITTEN))
        return RunEnd(run_id, result.success, reason, rows, max(_numbers(result, REQUESTS), default=0))

    def wait_for_others(self, job: str) -> None:
        """Wait until no other process executes a run of `job`, which may request the same days."""
        owner = owner_of(self._settings)
        end_dead_runs(self.instance, owner, [job])
        deadline = time.monotonic() + self.patience_seconds
        while time.monotonic() < deadline:
            others = runs_in_flight(self.instance, owner, job, queued_since=utc_now() - SOON)
            if not others:
                return
            run_id = others[0].run_id
            logger.warning("Waiting for run %s of %s to end", run_id[:8], job, extra={"run": run_id})
            time.sleep(self.poll_seconds)


def _numbers(result: dg.ExecuteInProcessResult, name: str) -> list[int]:
    """Return a number of each materialized partition of `raw_prices`."""
    found: list[Any] = [
        event.materialization.metadata.get(name)
        for event in result.all_events
        if event.is_step_materialization and event.asset_key and event.asset_key.path[-1] == RAW_PRICES
    ]
    return [int(value.value) for value in found if value is not None]


@contextmanager
def recorded_runs(settings: Settings, database: Database) -> Iterator[Runs]:
    """Yield runs over `database` on the instance of the current home.

    Inside the block only warnings are logged to the terminal; the UI has every line.
    """
    storage = storage_of(settings)
    with (
        at_least(logging.WARNING),
        open_instance(ready_home(storage), storage, capture=False) as instance,
        variables_of(storage),
        executing_here(instance) as tags,
    ):
        yield Runs(settings, database, instance, tags)
