"""Runs that have not ended, and runs whose process was killed.

A command executes runs in its own process, which no daemon supervises. Where Dagster's storage is in DAGSTER_HOME, it
holds a lock file there meanwhile, which the operating system releases however the process ends. Where it is in a
database, other machines and containers do not see that folder: there the process reports to the storage that it lives.
A host name and a process id would not suffice: containers share the first and reuse the second.
"""

import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from market_pipeline.core.clock import utc_now
from market_pipeline.core.file_lock import try_lock
from market_pipeline.dagster_instance.home import configures_storage, open_instance
from market_pipeline.dagster_instance.instance_storage import InstanceStorage
from market_pipeline.dagster_instance.lanes import BACKGROUND, LANE
from market_pipeline.dagster_instance.nonpublic import delete_reports, last_report, report_alive, silent_processes
from market_pipeline.dagster_instance.ownership import Owner, own_runs
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

PROCESS = "market_pipeline/process"
_LOCKS = "processes"
_REPORT_SECONDS = 30.0
# So long without a report a process counts as dead. Clocks of two machines may differ by a minute.
SILENT = timedelta(minutes=5)

_CREATED, _QUEUED = dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED
_BEGUN = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
# A daemon queues a run seconds after creating it, or within a minute if it has many partitions.
SOON = timedelta(minutes=2)


@contextmanager
def executing_here(instance: dg.DagsterInstance) -> Iterator[dict[str, str]]:
    """Yield the tags for runs that this process executes; they count as alive until the block or the process ends.

    Dagster must not retry such a run: its command is run again.
    """
    name = uuid.uuid4().hex
    shared = configures_storage(Path(instance.root_directory))
    with _reporting(instance, name) if shared else _holding_lock(instance, name):
        yield {PROCESS: name, "dagster/max_retries": "0", LANE: BACKGROUND}


@contextmanager
def _holding_lock(instance: dg.DagsterInstance, name: str) -> Iterator[None]:
    folder = Path(instance.root_directory, _LOCKS)
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as lock:
        try_lock(lock)
        yield
    # Not after an error: it may have left a run that has not ended, which is found dead by this file.
    (folder / name).unlink(missing_ok=True)


@contextmanager
def _reporting(instance: dg.DagsterInstance, name: str) -> Iterator[None]:
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(_REPORT_SECONDS):
            try:
                report_alive(instance, name, utc_now())
            # The storage may be any of several; it may answer the next time.
            except Exception as error:
                logger.warning("This process could not report to Dagster's storage that it lives: %r", error)

    report_alive(instance, name, utc_now())
    thread = threading.Thread(target=report, name="liveness", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    # Not after an error, as with the lock. What is left is deleted by `forget_silent_processes`.
    try:
        delete_reports(instance, [name])
    except Exception as error:
        logger.warning("The reports of this process could not be deleted from Dagster's storage: %r", error)


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
        and not _is_dead(instance, record.dagster_run)
    ]


def end_dead_runs(instance: dg.DagsterInstance, owner: Owner, jobs: Iterable[str]) -> None:
    """Mark `owner`'s runs of `jobs` whose process was killed as failed."""
    locks, processes = set(), set()
    for job in jobs:
        # One that was killed before its run began leaves it created.
        for record in own_runs(instance, owner, job, [_CREATED, *_BEGUN]):
            if _is_dead(instance, record.dagster_run):
                message = "The process of this run was killed. Rows that it had stored remain."
                instance.report_run_failed(record.dagster_run, message)
                locks.add(_lock_of(instance, record.dagster_run))
                processes.add(record.dagster_run.tags[PROCESS])
    # Last: by its lock or its report the other runs of the same process are found dead.
    for lock in locks:
        lock.unlink(missing_ok=True)
    if processes:
        delete_reports(instance, processes)


def forget_silent_processes(instance: dg.DagsterInstance, since: datetime) -> int:
    """Delete the reports of processes that were last alive before `since` and have no run left; return how many."""
    silent = set(silent_processes(instance, since))
    if silent:
        unended = instance.get_runs(dg.RunsFilter(statuses=[_CREATED, _QUEUED, *_BEGUN]))
        silent -= {run.tags[PROCESS] for run in unended if PROCESS in run.tags}
        delete_reports(instance, silent)
    return len(silent)


def cancel_launched_runs(home: Path, storage: InstanceStorage) -> None:
    """Request that the runs which this machine's daemon has launched be canceled: their processes are about to end.

    Terminated after that they end as canceled. Otherwise they count as failed, although nothing was wrong.
    """
    with open_instance(home, storage) as instance:
        for run in _launched(instance, _BEGUN):
            instance.report_run_canceling(run, "`market-pipeline` was stopped.")


def end_canceled_runs(home: Path, storage: InstanceStorage) -> None:
    """Mark the runs whose cancellation was requested as canceled, now that all processes have ended.

    One that had not begun, or was killed, has not done so itself, and would make its schedule skip for minutes.
    """
    with open_instance(home, storage) as instance:
        for run in _launched(instance, [dg.DagsterRunStatus.CANCELING]):
            instance.report_run_canceled(run, "Its process has ended.")


def _launched(instance: dg.DagsterInstance, statuses: Sequence[dg.DagsterRunStatus]) -> list[dg.DagsterRun]:
    """Return the runs that are processes on this machine, by Dagster's own launcher, and not of a command."""
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return []
    return [run for run in instance.get_runs(dg.RunsFilter(statuses=statuses)) if PROCESS not in run.tags]


def _is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether the process that executes `run` was killed; False for one that cannot be seen from here.

    Another machine may have its own DAGSTER_HOME and storage in files there. Windows has no such locks.
    """
    name = run.tags.get(PROCESS)
    if name is None:
        return False
    if sys.platform != "win32":
        try:
            with _lock_of(instance, run).open("r+") as lock:
                return try_lock(lock)
        except OSError:
            pass
    reported = last_report(instance, name)
    return reported is not None and utc_now() - reported > SILENT


def _lock_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Path:
    return Path(instance.root_directory, _LOCKS, Path(run.tags[PROCESS]).name)
