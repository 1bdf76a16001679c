"""Runs that a command executes in its own process: marked with that process, so that a run whose
process was killed does not count as under way for ever."""

import os
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta

import dagster as dg

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.lanes import BACKGROUND, LANE
from market_pipeline.dagster_instance.ownership import Owner

PROCESS = "market_pipeline/process"

_WAITING = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]
# A daemon lets a run begin within seconds, or within a minute if it has many partitions.
_SOON = timedelta(minutes=2)
_AT_WORK = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tags() -> dict[str, str]:
    """Run tags that name this process. Dagster shall not retry such a run: its command is run again."""
    process = f"{socket.gethostname()}:{os.getpid()}"
    return {PROCESS: process, "dagster/max_retries": "0", LANE: BACKGROUND}


def unfinished_run(
    instance: dg.DagsterInstance, owner: Owner, job: str, *, at_work: bool = False
) -> dg.DagsterRun | None:
    """A run of `owner`'s `job` that has not ended, with `at_work` one that has begun or was created just now.

    One that waits for longer may wait for a daemon that nobody has started. Runs of dead processes are
    ended first.
    """
    since = utc_now() - _SOON if at_work else None
    waiting = dg.RunsFilter(job_name=job, statuses=_WAITING, created_after=since)
    begun = dg.RunsFilter(job_name=job, statuses=_AT_WORK)
    found = [*instance.get_runs(begun), *instance.get_runs(waiting)]
    runs = [run for run in found if owner.owns(run)]
    dead = [run for run in runs if _is_dead(run.tags)]
    for run in dead:
        instance.report_run_failed(run, "The process of this run was killed. What it had stored is kept.")
    return next((run for run in runs if run not in dead), None)


def _is_dead(tags: Mapping[str, str]) -> bool:
    """Whether the process of a run was on this host and is gone; there is no telling on Windows."""
    host, _, number = tags.get(PROCESS, "").rpartition(":")
    if host != socket.gethostname() or not number.isdecimal() or sys.platform == "win32":
        return False
    try:
        os.kill(int(number), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False
