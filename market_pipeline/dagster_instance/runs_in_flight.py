"""Runs that have not ended, and runs whose process was killed.

A command executes runs in its own process, which no daemon supervises. Meanwhile it holds a lock file in DAGSTER_HOME.
The operating system releases the lock however the process ends. A host name and a process id would not suffice:
containers share the first and reuse the second.
"""

import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from market_pipeline.core.clock import utc_now
from market_pipeline.core.file_lock import try_lock
from market_pipeline.dagster_instance.lanes import BACKGROUND, LANE
from market_pipeline.dagster_instance.ownership import Owner, own_runs

PROCESS = "market_pipeline/process"
_LOCKS = "processes"

_CREATED, _QUEUED = dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED
_BEGUN = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
# A daemon queues a run seconds after creating it, or within a minute if it has many partitions.
SOON = timedelta(minutes=2)


@contextmanager
def executing_here(instance: dg.DagsterInstance) -> Iterator[dict[str, str]]:
    """Yield the tags for runs that this process executes; they count as alive until the block or the process ends.

    Dagster must not retry such a run: its command is run again.
    """
    folder = Path(instance.root_directory, _LOCKS)
    folder.mkdir(exist_ok=True)
    name = uuid.uuid4().hex
    with (folder / name).open("w") as lock:
        try_lock(lock)
        yield {PROCESS: name, "dagster/max_retries": "0", LANE: BACKGROUND}
    # Not after an error: it may have left a run that has not ended, which is found dead by this file.
    (folder / name).unlink(missing_ok=True)


def runs_in_flight(
    instance: dg.DagsterInstance, owner: Owner, job: str, *, queued_since: datetime | None = None
) -> list[dg.DagsterRun]:
    """Return `owner`'s runs of `job` that have not ended, newest first.

    Left out are runs of killed processes, runs that were created but never queued, and runs queued before
    `queued_since` (aware), which may be waiting for a daemon that is not running.
    """
    oldest = {_CREATED: utc_now() - SOON, _QUEUED: queued_since}
    return [
        record.dagster_run
        for record in own_runs(instance, owner, job, [_CREATED, _QUEUED, *_BEGUN])
        if not ((since := oldest.get(record.dagster_run.status)) and record.create_timestamp < since)
        and _lock_left_by(instance, record.dagster_run) is None
    ]


def end_dead_runs(instance: dg.DagsterInstance, owner: Owner, jobs: Iterable[str]) -> None:
    """Mark `owner`'s runs of `jobs` whose process was killed as failed."""
    for job in jobs:
        for record in own_runs(instance, owner, job, _BEGUN):
            if lock := _lock_left_by(instance, record.dagster_run):
                message = "The process of this run was killed. Rows that it had stored remain."
                instance.report_run_failed(record.dagster_run, message)
                lock.unlink(missing_ok=True)


def _lock_left_by(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Path | None:
    """Return the lock file of the killed process that executed `run`; None if it lives, or cannot be seen from here.

    Another machine has its own DAGSTER_HOME. Windows has no such locks.
    """
    name = run.tags.get(PROCESS)
    if name is None or sys.platform == "win32":
        return None
    file = Path(instance.root_directory, _LOCKS, Path(name).name)
    try:
        with file.open("r+") as lock:
            return file if try_lock(lock) else None
    except OSError:
        return None
