"""Which runs have not ended, and which only look so because their process was killed."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.dagster_instance.runs_in_flight import SOON, end_dead_runs, executing_here, runs_in_flight

Status = dg.DagsterRunStatus
OURS = Owner("ours")
# Executes a run until it is killed; prints the run's id when it has begun.
COMMAND = """
import sys, time, dagster as dg
from pathlib import Path
from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.dagster_instance.runs_in_flight import executing_here
with open_instance(Path(sys.argv[1])) as instance, executing_here(instance) as tags:
    run = dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED, tags=tags)
    print(instance.add_run(run).run_id, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(tmp_path) as opened:
        yield opened


def add(instance: dg.DagsterInstance, status: Status, **tags: str) -> str:
    return instance.add_run(dg.DagsterRun(job_name="job", status=status, tags=tags)).run_id


def in_flight(instance: dg.DagsterInstance) -> list[str]:
    return [run.run_id for run in runs_in_flight(instance, OURS, "job")]


@pytest.mark.parametrize("status", Status)
def test_a_run_is_in_flight_until_it_has_ended(status: Status, instance: dg.DagsterInstance) -> None:
    run = add(instance, status)
    ended = status in (Status.SUCCESS, Status.FAILURE, Status.CANCELED, Status.MANAGED)
    assert in_flight(instance) == ([] if ended else [run])
    assert runs_in_flight(instance, OURS, "another") == []


def test_a_run_of_another_installation_is_not_ours(instance: dg.DagsterInstance) -> None:
    add(instance, Status.STARTED, **Owner("theirs").tags)
    assert in_flight(instance) == []


def test_what_was_never_queued_is_abandoned_and_a_long_queue_may_be_left_out(instance: dg.DagsterInstance) -> None:
    add(instance, Status.NOT_STARTED)
    queued, started = add(instance, Status.QUEUED), add(instance, Status.STARTED)
    later = utc_now() + SOON + timedelta(minutes=1)
    with time_machine.travel(later):
        assert in_flight(instance) == [started, queued]
        begun = runs_in_flight(instance, OURS, "job", queued_since=later - SOON)
        assert [run.run_id for run in begun] == [started]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_run_of_a_killed_process_is_dead_whichever_process_has_its_number(instance: dg.DagsterInstance) -> None:
    """Neither host name nor process id is used: in a container both may be those of another, living process."""
    command = [sys.executable, "-c", COMMAND, instance.root_directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        killed = process.stdout.readline().strip()
        assert in_flight(instance) == [killed]
        end_dead_runs(instance, OURS, ["job"])
        assert in_flight(instance) == [killed], "it lives"
        process.kill()
    with executing_here(instance) as tags:
        mine = add(instance, Status.STARTED, **tags)
        assert in_flight(instance) == [mine]
        assert (run := instance.get_run_by_id(killed)) and run.status is Status.STARTED, "the query changes nothing"
        end_dead_runs(instance, OURS, ["job"])
        assert (run := instance.get_run_by_id(killed)) and run.status is Status.FAILURE
        assert in_flight(instance) == [mine]
        assert len(list(Path(instance.root_directory, "processes").iterdir())) == 1, "the dead one's lock is gone"
    assert list(Path(instance.root_directory, "processes").iterdir()) == []


def test_a_process_that_cannot_be_seen_from_here_counts_as_alive(instance: dg.DagsterInstance) -> None:
    """It may execute its run on another machine, whose DAGSTER_HOME is another."""
    run = add(instance, Status.STARTED, **{"market_pipeline/process": "of-another-home"})
    end_dead_runs(instance, OURS, ["job"])
    assert in_flight(instance) == [run]
